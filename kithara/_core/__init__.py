"""The compiled core: ranges, stores and readers that never need the GIL to move bytes."""
