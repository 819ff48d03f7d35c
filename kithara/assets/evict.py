"""Which assets go when room is needed: those not kept and not leased, the least recently used first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .index import AssetRow, Index

MAX_BYTES = 2 << 30
MAX_ASSETS = 100_000
PAGE = 50
"""Candidates looked at in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a cache may take. What is leased or pinned may exceed them; nothing else does for long."""

    max_bytes: int = MAX_BYTES
    max_assets: int = MAX_ASSETS

    def __post_init__(self) -> None:
        if self.max_bytes < 0 or self.max_assets < 0:
            raise ValueError("a limit cannot be negative")


def make_room(
    index: Index, limits: Limits, drop: Callable[[AssetRow], int | None], *, size: int = 0, pressing: bool = False
) -> int:
    """Drop assets until *size* more bytes keep the *limits*, or nothing more can go.

    Args:
        drop: Removes an asset and answers the bytes it freed, or None when somebody holds it. It is asked once for
            each candidate, so what cannot be removed never makes this loop.
        pressing: The disk is full whatever the limits say: *size* bytes have to go.

    Returns:
        The bytes freed.
    """
    count, held = index.totals()
    freed = 0
    after: AssetRow | None = None
    while held + size > limits.max_bytes or count > limits.max_assets or (pressing and freed < size):
        page = index.oldest(PAGE, after=after)
        for row in page:
            gone = drop(row)
            if gone is not None:
                count, held, freed = count - 1, held - row.size, freed + gone
            if held + size <= limits.max_bytes and count <= limits.max_assets and not (pressing and freed < size):
                return freed
        if len(page) < PAGE:
            break
        after = page[-1]
    return freed
