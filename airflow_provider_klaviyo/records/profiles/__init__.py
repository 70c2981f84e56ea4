"""Rows to profiles."""
