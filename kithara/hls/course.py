"""Which segment of which variant comes next: by what is here, what can be had, and what the controller advises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .catalogue import Catalogue
from .choice import Choice
from .priming import Primers
from .prospect import SIGHT, Prospect

Place = tuple[int, int]
"""A variant, and the index of a segment in it."""

OVER = 1e-3
"""Seconds by which a list must go on for there to be something to hear: durations do not add up to the bit."""


class Course:
    """Decides among the playlists that are here. Used under the engine's lock.

    Args:
        choice: Which variant is best.
        prospect: What that is told.
        primers: What comes along with a change.
    """

    def __init__(self, catalogue: Catalogue, choice: Choice, prospect: Prospect, primers: Primers) -> None:
        self._catalogue = catalogue
        self._choice = choice
        self._prospect = prospect
        self._primers = primers

    def first(self, allowed: Sequence[int], now: float) -> int:
        """Which of *allowed* to begin with."""
        first = self._choice.first(now)
        return first if first in allowed else allowed[0]

    def offered(self, seconds: float, allowed: Sequence[int], now: float, *, begun: bool) -> float:
        """*seconds*, moved to what a live presentation offers: its live point until it has *begun*, then its window."""
        timeline = self._catalogue.timelines[self.first(allowed, now)]
        if timeline.playlist.ended:
            return max(0.0, seconds)
        if not begun and seconds <= 0:
            return timeline.beginning
        return min(max(seconds, timeline.starts[timeline.window]), timeline.starts[-1])

    def has_gap(self, variant: int, index: int) -> bool:
        """Whether segment *index* of *variant* is there and a gap."""
        timeline = self._catalogue.timelines[variant]
        return index < len(timeline) and timeline.segment(index).gap

    def at(self, seconds: float, last: int | None, allowed: Sequence[int], now: float) -> Place | None:
        """What sounds at *seconds*, where nothing is buffered, for who heard variant *last*; None past the end."""
        lists = self._catalogue.timelines
        allowed = [variant for variant in allowed if self._goes_on(variant, seconds)] or allowed
        places = {variant: lists[variant].index_at(seconds) for variant in allowed}
        held = self._choice.best_held(self._prospect.held(places))
        if held is not None:
            variant = held
        elif last is None or not self._choice.controller.estimator.count:
            variant = self.first(allowed, now)
        else:
            variant = self._advised(last, lists[last].index_at(seconds), seconds, allowed, places, 0.0)
        if seconds >= lists[variant].stop and lists[variant].playlist.ended:
            return None
        return self._around_gaps(variant, lists[variant].index_at(seconds), seconds, allowed)

    def behind(self, variant: int, index: int, stop: float, allowed: Sequence[int], buffer: float) -> Place | None:
        """What comes behind segment *index* of *variant*, which ends at *stop* seconds, with *buffer* seconds at hand;
        None where nothing does yet.
        """
        lists = self._catalogue.timelines
        if index + 1 >= len(lists[variant]):
            return None
        if not (allowed := self._reaching(variant, stop, allowed)):
            return None
        chosen = self.chosen(variant, index + 1, stop, allowed, buffer)
        place = index + 1 if chosen == variant else lists[chosen].boundary_near(stop)
        return self._around_gaps(chosen, place, stop, allowed)

    def chosen(self, last: int, index: int, stop: float, allowed: Sequence[int], buffer: float) -> int:
        """The best of *allowed* to go on with as segment *index* of *last*, at *stop* seconds: what the cache has
        is not fetched again in another variant, and nothing is fetched only to leave for one that it has.
        """
        lists = self._catalogue.timelines
        allowed = self._reaching(last, stop, allowed) or [last]
        places = {
            other: index if other == last else lists[other].boundary_near(stop) for other in allowed if other in lists
        }
        held = self._prospect.held(places)
        if last in held:
            held = [other for other in held if not self._primers.lacks(last, other, places[other], stop)]
        best = self._choice.best_held(held)
        return self._advised(last, index, stop, allowed, places, buffer) if best is None else best

    def instead(self, variant: int, heard: float, *, sought: bool) -> int | None:
        """Which segment of *variant* can stand in for one that is heard from *heard* seconds on; None where none can:
        the list does not reach so far, or has a gap there.

        Args:
            sought: A seek went there: what sounds there counts, else where one begins, give or take a packet.
        """
        timeline = self._catalogue.timelines.get(variant)
        if timeline is None or not self._goes_on(variant, heard):
            return None
        # Not from where it begins: what lies before that was heard already, and would be no gain.
        index = timeline.index_at(heard) if sought else timeline.boundary_near(heard)
        return None if timeline.segment(index).gap else index

    def _reaching(self, last: int, stop: float, allowed: Sequence[int]) -> list[int]:
        """Those of *allowed* that may have something to hear behind *stop*, where *last* ends."""
        lists = self._catalogue.timelines
        return [other for other in allowed if other == last or other not in lists or self._goes_on(other, stop)]

    def _goes_on(self, variant: int, seconds: float) -> bool:
        """Whether the list of *variant* has something to hear behind *seconds*."""
        return self._catalogue.timelines[variant].stop > seconds + OVER

    def _around_gaps(self, variant: int, index: int, stop: float, allowed: Sequence[int]) -> Place | None:
        """Another variant where this one has a gap; past the gap where all have one."""
        lists = self._catalogue.timelines
        while index < len(lists[variant]):
            segment = lists[variant].segment(index)
            if not segment.gap:
                return variant, index
            for other in allowed:
                if (place := self.instead(other, stop, sought=False)) is not None:
                    return other, place
            stop += segment.duration
            index += 1
        return None

    def _advised(
        self, last: int, index: int, stop: float, allowed: Sequence[int], places: Mapping[int, int], buffer: float
    ) -> int:
        playlist = self._catalogue.timelines[last].playlist
        return self._choice.best(
            buffer,
            last=last,
            index=index,
            count=len(playlist.segments) if playlist.ended else None,
            allowed=allowed,
            next_sizes=self._prospect.sizes(
                playlist.segments[index : index + SIGHT], places, stop, self._choice.duration
            ),
        )
