"""The variant that a listener wishes for, while its playlist is still on its way and after."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from .._core.memory_resource import MemoryResource
from ..errors import KitharaError
from .catalogue import Catalogue
from .choice import Mode
from .model import MediaSegment
from .slots import Slot, State, instead

WISH = 1.0
"""Seconds that a wish for another variant may hold up the bytes of the next segment."""


class Wish:
    """What is to be played, and who waits for it to be possible. Lives on one loop; used from any thread under *lock*.

    Whoever asks for the next segment in that moment is given one whose store waits in its place; when the wish is
    settled, one way or the other, that store tells `Interrupted`, and the question is asked again.

    Args:
        play: Called, under the lock, with a mode to play by from now on.
        failed: Called with a variant whose playlist cannot be had, and why.

    Attributes:
        mode: What the listener wants.
        pending: Whether it waits for a playlist.
    """

    def __init__(
        self,
        mode: Mode,
        catalogue: Catalogue,
        *,
        lock: threading.RLock,
        play: Callable[[Mode], None],
        failed: Callable[[int, KitharaError], None],
    ) -> None:
        self.mode: Mode = mode
        self.pending: bool = False
        self._catalogue = catalogue
        self._lock = lock
        self._play = play
        self._failed = failed
        self._waiting: list[Slot] = []
        self._number = 0

    def begin(self, mode: Mode) -> int | None:
        """Want *mode* from now on. The number of this wish, to be given to `fulfil`, where it waits for a playlist."""
        with self._lock:
            self.mode = mode
            if mode == "auto" or mode in self._catalogue.timelines:
                self.settle()
                self._play(mode)
                return None
            self.pending = True
            self._number += 1
            return self._number

    async def fulfil(self, number: int) -> None:
        """Have the playlist that wish *number* waits for, and play by it. Nobody waits longer than `WISH` seconds."""
        with self._lock:
            mode = self.mode
        if number != self._number or mode == "auto":
            return  # another came meanwhile
        patience = asyncio.get_running_loop().call_later(WISH, self.settle, number)
        try:
            await self.have(mode)
        except KitharaError as exc:
            self._failed(mode, exc)
        finally:
            patience.cancel()
            self.settle(number)

    async def have(self, variant: int) -> None:
        """Have the playlist of *variant*, fresh, and play it if that is still wanted. Raises what keeps it away."""
        await self._catalogue.load(variant)
        with self._lock:
            if self.mode == variant:
                self._play(variant)

    def place(self, variant: int, index: int, stop: float) -> Slot | None:
        """What stands for the segment behind *index* of *variant*, which ends at *stop*; None where none is pending."""
        if not self.pending:
            return None
        segment = MediaSegment("", 0.0, 0)
        slot = Slot(variant, index + 1, stop, segment, None, MemoryResource(), None, None, state=State.AWAITED)
        self._waiting.append(slot)
        return slot

    def settle(self, number: int | None = None) -> None:
        """The wish *number*, or whichever there is, is fulfilled or given up: let who waits ask again."""
        with self._lock:
            if number is not None and number != self._number:
                return
            self.pending = False
            waiting, self._waiting = self._waiting, []
            for slot in waiting:
                slot.state = State.FAILED
                slot.store.fail(instead("the variant that was wished for is here, or cannot be had"))
