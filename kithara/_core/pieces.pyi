"""Nothing here is for Python; see pieces.pxd."""
