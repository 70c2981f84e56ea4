"""Rows to events."""
