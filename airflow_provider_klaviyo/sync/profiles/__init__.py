"""The profiles sync."""
