"""Where in time the segments of a media playlist lie, and which segment of another variant lies there too.

Time is the sum of ``EXTINF`` from the session's origin, not the timestamps of the containers: those start over,
wrap at 33 bits and differ between variants. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

from ..errors import PlaylistInvalid
from .model import MediaPlaylist, MediaSegment

HOLDBACK = 3
"""Target durations that a live listener stays behind the end (RFC 8216, 6.3.3)."""

_TOLERANCE = 0.025
"""Seconds by which lists of the same programme may disagree on a boundary: a packet of AAC, less than one of FLAC."""

_ROUNDED = 0.1
"""Part of a segment by which they may where ``EXTINF`` is rounded to seconds (RFC 8216, 4.3.2.1: below version 3)."""


class Timeline:
    """The segments of *playlist* on the session's clock, of which the first begins at *origin* seconds.

    Of a live list it keeps what slid out of the window, so that a segment's index never changes. A server that starts
    over begins a new *run* of sequence numbers, behind what there was.

    Attributes:
        starts: Second at which each segment begins; ascending.
        stop: Second at which the last one ends.
        window: Index of the first segment that the server still offers.
        runs: How often the server started over.
        behind: The last reading lay wholly before the window: a stale copy, or the server has started over.
    """

    __slots__ = ("_first", "_run", "_shift", "_slack", "behind", "playlist", "runs", "starts", "stop", "window")

    def __init__(self, playlist: MediaPlaylist, origin: float = 0.0, *, window: int = 0) -> None:
        *starts, stop = accumulate((segment.duration for segment in playlist.segments), initial=origin)
        self.playlist: MediaPlaylist = playlist
        self.starts: list[float] = starts
        self.stop: float = stop
        self.window: int = window
        self.runs: int = 0
        self.behind: bool = False
        self._run = 0  # index of the first segment of this run
        self._first = playlist.media_sequence  # its sequence number
        self._shift = 0  # what its discontinuity numbers lack to go on from the run before
        rounded = playlist.version < 3 and all(segment.duration.is_integer() for segment in playlist.segments)
        self._slack = _ROUNDED if rounded else 0.0

    @property
    def origin(self) -> float:
        """Second at which the first segment begins."""
        return self.starts[0] if self.starts else self.stop

    def __len__(self) -> int:
        return len(self.starts)

    def segment(self, index: int) -> MediaSegment:
        """Segment number *index* of the list, counted from 0."""
        return self.playlist.segments[index]

    def index_at(self, seconds: float) -> int:
        """The segment that sounds at *seconds*; the first or last one for a time outside the list.

        Of several that begin at once (an empty one before a real one) it is the last. Raises IndexError for a list
        without segments.
        """
        if not self.starts:
            raise IndexError("a playlist without segments")
        return max(0, bisect_right(self.starts, seconds) - 1)

    def index_of(self, sequence: int) -> int | None:
        """The segment with media sequence number *sequence*, or None when the list does not hold it."""
        index = sequence - self._first + self._run
        return index if self._run <= index < len(self.starts) else None

    def boundary_near(self, seconds: float) -> int:
        """Where to go on at *seconds* when changing to this list: the segment that begins there, give or take what
        packets and rounding do, else the one that sounds there (its beginning overlaps what was played).
        """
        index = self.index_at(seconds)
        following = index + 1
        if following < len(self.starts):
            slack = max(_TOLERANCE, self._slack * self.playlist.segments[following].duration)
            if self.starts[following] - seconds <= slack:
                return following
        return index

    @property
    def beginning(self) -> float:
        """Where playing begins: `EXT-X-START` (RFC 8216, 4.3.5.2), else the first segment that is offered; of a live
        list three target durations before its end. What lies outside the list means its first or last segment, and what
        is not precise the start of the segment that sounds there. Raises IndexError for a list without segments.
        """
        playlist = self.playlist
        first = self.starts[self.window]
        if playlist.start is not None:
            wished = playlist.start + (self.stop if playlist.start < 0 else first)
        elif playlist.ended or playlist.kind == "event":
            return first
        else:
            wished = self.stop - HOLDBACK * playlist.target_duration
        wished = max(wished, first)
        return wished if playlist.start_precise and wished < self.stop else self.starts[self.index_at(wished)]

    def updated(self, playlist: MediaPlaylist, beside: Iterable[Timeline] = ()) -> Timeline:
        """This timeline with what *playlist*, a later reading of the same list, adds.

        Segments that were never seen are gaps of the target duration. Sequence numbers must not go back (RFC 8216,
        6.2.2). Where they do, a single reading from before the window is taken for a stale copy. The second in a row,
        or the first where one of the timelines *beside* has started over, says that the server has: its segments go on
        behind a discontinuity. Raises PlaylistInvalid where that cannot be, as in an EVENT.
        """
        start = playlist.media_sequence
        if start + len(playlist.segments) <= self._first + self.window - self._run:
            ahead = next((other for other in beside if other.runs > self.runs), None)
            if not self.behind and ahead is None:
                return self._copy(self.playlist, self.window, behind=True)
            return self._restarted(playlist, self.stop if ahead is None else ahead._time_of(playlist))
        ours = self.playlist.segments
        passed = max(0, start - self._first)
        fresh = playlist.segments[max(0, self._first - start) :]
        if passed + len(fresh) < len(ours) - self._run:  # an older copy, from a lazy mirror
            return self
        kept = ours[: self._run + passed]
        lost = range(self._first + len(kept) - self._run, start)
        holes = tuple(MediaSegment("", self.playlist.target_duration, sequence, gap=True) for sequence in lost)
        return self._copy(_listing(playlist, (*kept, *holes, *_shifted(fresh, self._shift))), self._run + passed)

    def _copy(self, playlist: MediaPlaylist, window: int, *, behind: bool = False) -> Timeline:
        timeline = Timeline(playlist, self.origin, window=window)
        timeline.runs, timeline.behind = self.runs, behind
        timeline._run, timeline._first, timeline._shift = self._run, self._first, self._shift
        return timeline

    def _restarted(self, playlist: MediaPlaylist, seconds: float) -> Timeline:
        """This timeline with a new run of segments from *seconds* on."""
        ours = self.playlist.segments
        if playlist.kind != "live" or not playlist.segments:
            raise PlaylistInvalid("the live playlist started over", url=playlist.url)
        last = ours[-1]
        missing = seconds - self.stop
        hole = (MediaSegment("", missing, last.sequence + 1, gap=True),) if missing > 0 else ()
        shift = last.discontinuity + 1 - playlist.segments[0].discontinuity
        run = len(ours) + len(hole)
        timeline = Timeline(
            _listing(playlist, (*ours, *hole, *_shifted(playlist.segments, shift))), self.origin, window=run
        )
        timeline.runs = self.runs + 1
        timeline._run, timeline._first, timeline._shift = run, playlist.media_sequence, shift
        return timeline

    def aligned(self, playlist: MediaPlaylist) -> Timeline:
        """The timeline of *playlist*, another variant of the same programme.

        Lists that are complete begin together. Live ones are matched by program date where both have one, else by
        sequence number, which packagers keep equal.
        """
        if self.playlist.kind != "live" and playlist.kind != "live":
            return Timeline(playlist, self.origin)
        shift = _date_shift(self.playlist.segments[self._run :], playlist.segments)
        if shift is None:
            return Timeline(playlist, self._time_of(playlist))
        ours, theirs, seconds = shift
        lead = sum(segment.duration for segment in playlist.segments[:theirs])
        return Timeline(playlist, self.starts[self._run + ours] + seconds - lead)

    def _time_of(self, playlist: MediaPlaylist) -> float:
        """Second at which *playlist* begins, judged by sequence numbers; across a hole by the target duration."""
        first = playlist.media_sequence
        index = self.index_of(first)
        if index is not None:
            return self.starts[index]
        beyond = first - (self._first + len(self.starts) - self._run)
        if beyond >= 0:
            return self.stop + beyond * self.playlist.target_duration
        lead = sum(segment.duration for segment in playlist.segments[: self._first - first])
        return self.starts[self._run] - lead


def _listing(playlist: MediaPlaylist, segments: tuple[MediaSegment, ...]) -> MediaPlaylist:
    return replace(playlist, segments=segments, media_sequence=segments[0].sequence)


def _shifted(segments: Sequence[MediaSegment], shift: int) -> Sequence[MediaSegment]:
    """*segments* with discontinuity numbers that are higher by *shift*."""
    if not shift:
        return segments
    return [replace(segment, discontinuity=segment.discontinuity + shift) for segment in segments]


def _date_shift(ours: Sequence[MediaSegment], theirs: Sequence[MediaSegment]) -> tuple[int, int, float] | None:
    """Index of the first dated segment in each, and the seconds from ours to theirs; None where one has no date."""
    dated = [
        next(
            ((index, date) for index, segment in enumerate(segments) if (date := segment.program_date_time)),
            None,
        )
        for segments in (ours, theirs)
    ]
    if dated[0] is None or dated[1] is None:
        return None
    (our_index, our_date), (their_index, their_date) = dated[0], dated[1]
    if (our_date.tzinfo is None) != (their_date.tzinfo is None):
        return None
    return our_index, their_index, (their_date - our_date).total_seconds()
