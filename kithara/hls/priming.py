"""What a new decoder is primed with where the variant changes, and between which variants there is a new one."""

from __future__ import annotations

from collections.abc import Sequence

from .catalogue import Catalogue
from .ladder import HlsVariant
from .slots import Shelf

PRIMED = 1.0
"""Seconds of a variant after which no decoder remembers where it began."""

SHARE = 0.25
"""Of what is there to be heard meanwhile, the most that fetching what primes a decoder may take."""

SOON = 0.3
"""Seconds that it may take in any case: less than a player holds decoded."""


def is_worth(seconds: float, ahead: float) -> bool:
    """Whether a decoder may be primed with what comes in *seconds*, while *ahead* seconds are there to be heard: a
    change without a step is nothing against one without a gap.
    """
    return seconds <= max(SHARE * ahead, SOON)


class Primers:
    """Which segment comes along with the first one of another variant. Used under the engine's lock.

    Args:
        exact: Whether one does, too, where the decoder could go on.
    """

    def __init__(self, variants: Sequence[HlsVariant], catalogue: Catalogue, shelf: Shelf, *, exact: bool) -> None:
        self._variants = variants
        self._catalogue = catalogue
        self._shelf = shelf
        self._exact = exact
        self._strangers: set[frozenset[int]] = set()

    def learn(self, one: int, other: int) -> None:
        """No decoder can go on between these variants, though nothing said so."""
        self._strangers.add(frozenset((one, other)))

    def place(self, last: int, variant: int, index: int, stop: float) -> int | None:
        """Which segment of *variant* primes a decoder for its segment *index*, heard behind *last* from *stop* seconds
        on. None where none can, or none is needed: the decoder goes on, or the segment begins so long before that it
        primes itself.
        """
        timeline = self._catalogue.timelines[variant]
        if last == variant or not index or timeline.starts[index] <= stop - PRIMED:
            return None
        before, segment = timeline.segment(index - 1), timeline.segment(index)
        if before.gap or before.discontinuity != segment.discontinuity:
            return None
        return index - 1 if self._exact or not self._goes_on(last, variant) else None

    def lacks(self, last: int, variant: int, index: int, stop: float) -> bool:
        """Whether what `place` tells is not in the cache."""
        place = self.place(last, variant, index, stop)
        return place is not None and not self._shelf.holds(self._catalogue.timelines[variant], variant, place)

    def _goes_on(self, variant: int, other: int) -> bool:
        """Whether one decoder can go on from *variant* to *other*, as far as codecs and suffixes tell, or decoders."""
        if frozenset((variant, other)) in self._strangers:
            return False
        one, two = self._variants[variant], self._variants[other]
        timelines = self._catalogue.timelines
        return one.codecs == two.codecs and one.media(timelines[variant].segment(-1).uri) == two.media(
            timelines[other].segment(-1).uri
        )
