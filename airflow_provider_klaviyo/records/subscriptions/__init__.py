"""Rows to people whose consent is to change."""
