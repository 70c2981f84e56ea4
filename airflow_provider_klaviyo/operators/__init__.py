"""One operator per sync type."""
