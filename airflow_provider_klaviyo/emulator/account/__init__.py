"""The account that requests change."""
