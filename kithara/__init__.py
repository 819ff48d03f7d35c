"""Kithara: a seekable file, sample-exact PCM and an offline cache from the first second of a URL."""
