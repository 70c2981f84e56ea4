"""What requests carry, read as strictly as Klaviyo reads it."""
