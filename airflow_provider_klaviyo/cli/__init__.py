"""Commands for those who look after syncs."""
