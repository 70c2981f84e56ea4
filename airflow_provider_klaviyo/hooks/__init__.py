"""The Klaviyo hook and its connection type."""
