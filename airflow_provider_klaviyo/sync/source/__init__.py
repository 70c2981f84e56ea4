"""Where rows come from: a query, streamed from any SQL connection."""
