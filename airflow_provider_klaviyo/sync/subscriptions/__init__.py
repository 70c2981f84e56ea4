"""The subscriptions sync: who consents, and who no longer does."""
