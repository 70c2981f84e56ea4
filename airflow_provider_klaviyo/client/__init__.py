"""Klaviyo over HTTP: configuration, endpoints, rate limits, retries and errors."""
