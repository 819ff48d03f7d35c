"""Reloads the playlist that is being heard while it grows (RFC 8216, 6.3.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import KitharaError, NetTimeout
from .catalogue import Catalogue

STUCK = 3.5
"""Target durations without a change after which a live list is given up."""

LEAST = 0.5
"""Seconds between two questions at least, whatever target duration a list claims."""


async def follow(catalogue: Catalogue, heard: Callable[[], int], grown: Callable[[int], None]) -> None:
    """Ask for the playlist of the variant that is `heard` again and again, until it has ended.

    Args:
        heard: Gives the variant.
        grown: Called with it when its playlist has changed.

    Raises:
        KitharaError: it has not changed for too long, cannot be had for as long, or started over where it must not.
    """
    clock = asyncio.get_running_loop().time
    asked = changed = clock()
    patience = 1.0
    while not (timeline := catalogue.timelines[heard()]).playlist.ended:
        target = max(timeline.playlist.target_duration, LEAST)
        await asyncio.sleep(max(0.0, asked + patience * target - clock()))
        variant, asked = heard(), clock()
        before = catalogue.timelines[variant]
        failure: KitharaError | None = None
        try:
            after = await catalogue.reload(variant)
        except KitharaError as exc:
            if not exc.retryable and not exc.category == "recoverable":
                raise
            failure, after = exc, before
        if len(after) != len(before) or after.playlist.ended:
            patience, changed = 1.0, clock()
            grown(variant)
        elif clock() - changed > STUCK * target:
            raise failure or NetTimeout(
                f"the live playlist has not changed for {clock() - changed:.0f} s", kind="idle", url=before.playlist.url
            )
        else:
            patience = 0.5
