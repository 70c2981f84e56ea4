"""Triggers that wait for Klaviyo without a worker."""
