"""Klaviyo's endpoints."""
