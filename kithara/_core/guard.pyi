"""Nothing here is for Python; see guard.pxd."""
