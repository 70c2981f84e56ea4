"""The emulator's settings, faults, windows, errors and ids."""
