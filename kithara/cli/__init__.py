"""The command line: ``kithara play | decode | fetch | info | cache | demo``."""

from __future__ import annotations

from collections.abc import Sequence

from .interrupts import INTERRUPTED, orderly


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on *arguments*, ``sys.argv`` when None; returns the exit code."""
    with orderly(until_exit=arguments is None):
        try:
            from .app import run  # what it imports takes a moment, in which Ctrl-C is to be orderly, too

            return run(arguments)
        except KeyboardInterrupt:
            return INTERRUPTED
