"""The events sync."""
