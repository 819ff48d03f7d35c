"""How far ahead a body may come that comes in order, and how much is kept of one that may have no end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from ..storage import StreamingResource
from .schedule import Schedule
from .transfer import Need, Transfer

GLANCE_EVERY = 0.05
"""Seconds between two looks at whether another process misses something, or has left; and whether to save."""

UNBOUNDED = 64 << 20
"""A body without a length is fetched for its own sake, and kept, up to here. From here on it may have no end: only the
last bytes are kept, and more are fetched as somebody reads."""

BROADCAST = 4 << 20
"""Bytes that are kept of a body that is known to have no end."""

AMPLE_ROOM = 1 << 20
"""Bytes at least in the room that is made for the last bytes of a body: more than come at once."""

LEFT_BEHIND = 2.0
"""Seconds that others wait, where only the last bytes are kept, for a reader that has stopped; then it has to see."""


class Bounds(Schedule):
    """The part of a `Filler` that holds back what comes unasked, and lets go of what cannot be kept."""

    _shared: StreamingResource | None
    """The store as other processes see it; None where they do not."""
    _outgrown: Callable[[], Awaitable[bool]] | None
    """Awaited once, when only the last bytes are to be kept: whether they are."""
    _passing = False
    """Only the last bytes are kept."""

    async def _check_bounds(self, transfer: Transfer, size: int) -> None:
        """Wait until *size* bytes more are asked for, and there is room for them."""
        if transfer.at >= UNBOUNDED:
            await self._outgrow(UNBOUNDED + self._look_ahead)
        if self._is_ahead(transfer.at) or not self._has_room(size):
            await self._hold_back(transfer, size)

    async def _outgrow(self, capacity: int) -> bool:
        """Keep only the last *capacity* bytes of a body that may have no end, and all that are here; False: not."""
        store, outgrown = self.store, self._outgrown
        if outgrown is None or store.length is not None:
            return False
        self._outgrown = None
        head = store.head
        if not capacity and head < AMPLE_ROOM:
            return False
        if not await outgrown():
            return False
        self._shared = None  # what no cache holds is no other process's
        ring = max(store.head, capacity + AMPLE_ROOM if capacity else 0)
        store.keep_last(ring)
        self._look_ahead = min(self._look_ahead, ring - min(AMPLE_ROOM, ring // 2))
        self._passing = True
        return True

    def _is_ahead(self, at: int) -> bool:
        """Whether a body that comes in order, wanted or not, is further ahead than anybody asks for."""
        if self.complete and not self._passing and (self.store.length is not None or at < UNBOUNDED):
            return False
        if any(need == Need.WAITING for _, _, need in self._demands()):
            return False
        return all(at - position >= self._look_ahead for position in self.store.cursors)

    def _has_room(self, size: int) -> bool:
        """Whether *size* bytes more take the place of none that somebody has yet to read."""
        return not self._passing or self.store.room >= size

    def _is_missed(self, at: int) -> bool:
        """Whether somebody has read all that came before *at*, and has nothing to do but to wait for it."""
        waits = any(need == Need.WAITING for _, _, need in self._demands())
        return waits or any(position >= at for position in self.store.cursors)

    async def _hold_back(self, transfer: Transfer, size: int) -> None:
        """Wait until more is asked for and there is room for *size* bytes of it.

        Nothing is coming meanwhile, so whoever misses a byte must say so. A reader that stands still while others
        have nothing left to read is left behind.
        """
        store = self.store
        store.transfer(transfer.slot, 0, 0)
        slowest, since = store.slowest, self._loop.time()
        while (ahead := self._is_ahead(transfer.at)) or not self._has_room(size):
            self._drawn.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if ahead else GLANCE_EVERY):
                    await self._drawn.wait()
            if ahead or store.slowest != slowest:
                slowest, since = store.slowest, self._loop.time()
            elif slowest is not None and self._loop.time() - since >= LEFT_BEHIND and self._is_missed(transfer.at):
                store.pass_by(slowest + 1)
        store.transfer(transfer.slot, transfer.at, transfer.stop)
