"""The run: rows, batches, deliveries, outcomes and the report."""
