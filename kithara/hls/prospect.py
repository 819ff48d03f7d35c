"""What a choice is told of the coming segments: how large they are, and which of them the cache has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .catalogue import Catalogue
from .ladder import HlsVariant
from .model import MediaSegment
from .slots import Shelf
from .timeline import Timeline

SIGHT = 10
"""Coming segments whose sizes are told."""


class Prospect:
    """What lies ahead in *variants*. Used under the engine's lock."""

    def __init__(self, variants: Sequence[HlsVariant], catalogue: Catalogue, shelf: Shelf) -> None:
        self._variants = variants
        self._catalogue = catalogue
        self._shelf = shelf

    def held(self, places: Mapping[int, int]) -> list[int]:
        """Of several variants those of which the segment in *places* is in the cache."""
        if len(places) < 2:
            return []
        timelines = self._catalogue.timelines
        return [
            variant
            for variant, index in places.items()
            if index < len(timelines[variant]) and self._shelf.holds(timelines[variant], variant, index)
        ]

    def typical(self, variant: int, seconds: float) -> int:
        """Bytes that *seconds* of *variant* have by its bandwidth."""
        return int(self._variants[variant].rate * seconds / 8)

    def sizes(self, coming: Sequence[MediaSegment], stop: float) -> list[list[int]] | None:
        """Bytes of each variant for each of the *coming* segments, the first at *stop* seconds: from byte ranges where
        a list has them, else by bandwidth. None where no list tells any.
        """
        lists = {index: line for index, line in self._catalogue.timelines.items() if line.segment(-1).byterange}
        if not lists:
            return None
        rows = []
        for segment in coming:
            rows.append(
                [
                    (variant in lists and _size_at(lists[variant], stop, segment.duration))
                    or self.typical(variant, segment.duration)
                    for variant in range(len(self._variants))
                ]
            )
            stop += segment.duration
        return rows or None


def _size_at(timeline: Timeline, seconds: float, duration: float) -> int:
    """Bytes of *duration* seconds of *timeline* from *seconds* on, as the segment there has them; 0 if untold."""
    segment = timeline.segment(timeline.boundary_near(seconds))
    start, stop = segment.byterange or (0, 0)
    return round((stop - start) * duration / segment.duration) if segment.duration else stop - start
