"""Nothing here is for Python; see outcome.pxd."""
