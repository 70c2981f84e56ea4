"""Sensors that wait for Klaviyo."""
