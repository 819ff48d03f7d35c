"""The command line: ``kithara play | decode | fetch | info | cache | demo``."""

from .app import main as main
