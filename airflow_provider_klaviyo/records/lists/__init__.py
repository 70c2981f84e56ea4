"""Rows to members of a list."""
