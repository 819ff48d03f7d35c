"""``kithara cache``: what is kept, pinning, removing, verifying."""

from __future__ import annotations

import click


@click.group()
def cache() -> None:
    """Look after what is kept for offline use."""
