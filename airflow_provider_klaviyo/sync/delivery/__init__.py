"""From batches to verdicts: requests in flight, refusals, Klaviyo's jobs."""
