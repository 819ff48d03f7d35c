"""A limit on how much happens at once, with the more urgent served first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..errors import Closed

Priority = int | Callable[[], int]
"""Who goes first: smaller is sooner. A function is asked again whenever a place is free, for what was fetched in
advance may have become urgent meanwhile."""


class Slots:
    """*limit* places; who waits is let in by priority, then in order of arrival. One event loop."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: dict[asyncio.Future[None], Priority] = {}  # in order of arrival
        self._closed = False

    def take_now(self) -> Slot | None:
        """A place if one is free now. Raises `Closed`."""
        if self._closed:
            raise Closed("the HTTP client is closed")
        if self._free > 0:
            self._free -= 1
            return Slot(self)
        return None

    async def take(self, priority: Priority) -> Slot:
        """A place, as soon as there is one. Raises `Closed` when the slots are closed meanwhile."""
        if (slot := self.take_now()) is not None:
            return slot
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = priority
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back()  # the place was handed over in the same moment
            raise
        finally:
            self._waiting.pop(turn, None)
        return Slot(self)

    def _give_back(self) -> None:
        waiting = [turn for turn in self._waiting if not turn.done()]
        if not waiting:
            self._free += 1
            return
        turn = min(waiting, key=self._urgency)  # the first of several equals
        del self._waiting[turn]
        turn.set_result(None)

    def _urgency(self, turn: asyncio.Future[None]) -> int:
        priority = self._waiting[turn]
        return priority() if callable(priority) else priority

    def close(self) -> None:
        """Whoever waits gets `Closed`."""
        self._closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(Closed("the HTTP client was closed"))
        self._waiting.clear()


class Slot:
    """One place, held until `release` or the end of its ``with`` block.

    The block's end gives it back in the loop's next turn, when the socket of a connection that was closed with it
    is closed as well: so there are never more of them than places.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    def release(self) -> None:
        """Give the place to the next one. A second call does nothing."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots._give_back()

    def release_soon(self) -> None:
        """As the end of the block."""
        asyncio.get_running_loop().call_soon(self.release)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release_soon()
