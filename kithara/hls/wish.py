"""The variant that a listener wishes for while its playlist is still on its way."""

from __future__ import annotations

from .._core.memory_resource import MemoryResource
from .choice import Mode
from .model import MediaSegment
from .slots import Slot, State, instead


class Wish:
    """What is to be played, and who waits for it to be possible. Used under the engine's lock.

    Whoever asks for the next segment in that moment is given one whose store waits in its place; when the wish is
    settled, one way or the other, that store tells `Interrupted`, and the question is asked again.

    Attributes:
        mode: What the listener wants.
        pending: Whether it waits for a playlist.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self.pending: bool = False
        self._waiting: list[Slot] = []
        self._number = 0

    def begin(self, mode: Mode) -> int:
        """Wait for the playlist of *mode* from now on; the number of this wish."""
        self.mode = mode
        self.pending = True
        self._number += 1
        return self._number

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
        if number is not None and number != self._number:
            return
        self.pending = False
        waiting, self._waiting = self._waiting, []
        for slot in waiting:
            slot.state = State.FAILED
            slot.store.fail(instead("the variant that was wished for is here, or cannot be had"))
