"""The emulator as a server, and as an object for tests."""
