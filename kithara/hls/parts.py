"""What readers of one variant's bytes have open, and the segments that follow it."""

from __future__ import annotations

from collections.abc import Callable

from .catalogue import Catalogue
from .slots import Slot


class Parts:
    """Slots by variant and index, for readers that go through a variant's bytes. Used under the engine's lock.

    Args:
        make: Makes the slot of a segment.
        seconds: How far ahead of a reader segments are wanted.
        size: How many bytes ahead of it.
    """

    def __init__(self, catalogue: Catalogue, make: Callable[[int, int], Slot], *, seconds: float, size: int) -> None:
        self.slots: dict[tuple[int, int], Slot] = {}
        self._catalogue = catalogue
        self._make = make
        self._seconds = seconds
        self._size = size
        self._open: dict[tuple[int, int], int] = {}

    def take(self, variant: int, index: int) -> Slot:
        """The slot of a segment that a reader is about to read."""
        slot = self.slots.get((variant, index))
        if slot is None or not slot.usable:
            slot = self.slots[variant, index] = self._make(variant, index)
        slot.taken = True
        self._open[variant, index] = self._open.get((variant, index), 0) + 1
        return slot

    def leave(self, variant: int, index: int) -> None:
        """One reader less in that segment."""
        left = self._open.get((variant, index), 0) - 1
        if left > 0:
            self._open[variant, index] = left
        else:
            self._open.pop((variant, index), None)

    def reads(self, slot: Slot) -> bool:
        """Whether a reader of bytes has, or is near to, what *slot* of the listener brings."""
        init = None if slot.init is None or slot.init.store.status == "committed" else slot.init
        return any(part.store is slot.store or (init is not None and part.init is init) for part in self.slots.values())

    def prune(self) -> None:
        """Forget what no reader is near to."""
        for place in [place for place in self.slots if not self._is_near(*place)]:
            del self.slots[place]

    def extend(self) -> bool:
        """Want one more segment behind those that are open. False when enough is wanted."""
        for variant, index in sorted(self._open):
            timeline = self._catalogue.timelines[variant]
            size = 0
            for after in range(index, len(timeline)):
                if timeline.starts[after] - timeline.starts[index] > self._seconds or size > self._size:
                    break
                slot = self.slots.get((variant, after))
                if slot is None and not timeline.segment(after).gap:
                    self.slots[variant, after] = self._make(variant, after)
                    return True
                size += 0 if slot is None else slot.store.total
        return False

    def _is_near(self, variant: int, index: int) -> bool:
        starts = self._catalogue.timelines[variant].starts
        return any(
            other == variant and 0 <= starts[index] - starts[opened] <= self._seconds for other, opened in self._open
        )
