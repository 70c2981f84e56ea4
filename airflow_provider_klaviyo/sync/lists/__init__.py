"""The list syncs: add, remove, mirror; and how a list is found or created."""
