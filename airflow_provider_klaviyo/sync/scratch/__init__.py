"""What a run keeps on its own disk, so that memory stays flat; gone after it."""
