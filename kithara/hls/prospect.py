"""What a choice is told of the coming segments: how large they are, and which of them the cache has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .catalogue import Catalogue
from .choice import weight
from .ladder import HlsVariant
from .model import MediaSegment
from .slots import Shelf
from .timeline import Timeline

SIGHT = 10
"""Coming segments whose sizes are told."""

ALIKE = 0.1
"""Part of a segment by which lists that are cut alike may differ."""


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
        return [variant for variant, index in places.items() if self.holds(variant, index)]

    def holds(self, variant: int, index: int) -> bool:
        """Whether the cache has segment *index* of *variant*."""
        timeline = self._catalogue.timelines[variant]
        return index < len(timeline) and self._shelf.holds(timeline, variant, index)

    def typical(self, variant: int, seconds: float) -> int:
        """Bytes that *seconds* of *variant* have by its bandwidth."""
        return int(self._variants[variant].rate * seconds / 8)

    def sizes(
        self, coming: Sequence[MediaSegment], places: Mapping[int, int], stop: float, duration: float
    ) -> list[list[int]] | None:
        """Bytes of each variant for each of the *coming* segments, the first at *stop* seconds: from byte ranges where
        a list has them, else by bandwidth. None where nothing comes.

        The first row is what would be fetched next, all of the segment in *places*, times its `weight`. The others are
        of the same piece of time in each variant.
        """
        rows = []
        for number, segment in enumerate(coming):
            row = []
            for variant in range(len(self._variants)):
                timeline, place = self._catalogue.timelines.get(variant), places.get(variant)
                if timeline is None:
                    row.append(self.typical(variant, segment.duration))
                elif number or place is None or place >= len(timeline):
                    there = timeline.segment(timeline.boundary_near(stop))
                    share = segment.duration / there.duration if there.duration else 1.0
                    row.append(round(self.size(variant, there) * share))
                else:
                    share = self.weight(variant, place, stop, duration)
                    row.append(round(self.size(variant, timeline.segment(place)) * share))
            rows.append(row)
            stop += segment.duration
        return rows or None

    def weight(self, variant: int, index: int, stop: float, duration: float) -> float:
        """How much larger segment *index* of *variant*, heard from *stop* seconds on, is reckoned among such that bring
        *duration* seconds: 1 where the lists are cut alike.
        """
        lists = self._catalogue.timelines
        gains = [_gain(line, line.boundary_near(stop), stop) for line in lists.values()]
        alike = max(gains) - min(gains) <= ALIKE * max(gains)
        return 1.0 if alike else weight(_gain(lists[variant], index, stop), duration)

    def size(self, variant: int, segment: MediaSegment) -> int:
        """Bytes of *segment* of *variant*: by its range where it has one, else by bandwidth."""
        start, stop = segment.byterange or (0, self.typical(variant, segment.duration))
        return stop - start


def _gain(timeline: Timeline, index: int, stop: float) -> float:
    """Seconds of segment *index* that lie behind *stop*."""
    begin = timeline.starts[index]
    return begin + timeline.segment(index).duration - max(begin, stop)
