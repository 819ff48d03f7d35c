"""Where in time the segments of a media playlist lie, and which segment of another variant lies there too.

Time is the sum of ``EXTINF`` from the session's origin, not the timestamps of the containers: those start over,
wrap at 33 bits and differ between variants. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate

from ..errors import PlaylistInvalid
from .model import MediaPlaylist, MediaSegment

HOLDBACK = 3
"""Target durations that a live listener stays behind the end (RFC 8216, 6.3.3)."""

_TOLERANCE = 0.1
"""Part of a segment by which lists of the same programme may disagree on a boundary: EXTINF is rounded."""


class Timeline:
    """The segments of *playlist* on the session's clock, of which the first begins at *origin* seconds.

    Of a live list it keeps what slid out of the window, so that a segment's index never changes.

    Attributes:
        starts: Second at which each segment begins; ascending.
        stop: Second at which the last one ends.
        window: Index of the first segment that the server still offers.
    """

    __slots__ = ("playlist", "starts", "stop", "window")

    def __init__(self, playlist: MediaPlaylist, origin: float = 0.0, *, window: int = 0) -> None:
        *starts, stop = accumulate((segment.duration for segment in playlist.segments), initial=origin)
        self.playlist: MediaPlaylist = playlist
        self.starts: list[float] = starts
        self.stop: float = stop
        self.window: int = window

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
        index = sequence - self.playlist.media_sequence
        return index if 0 <= index < len(self.starts) else None

    def boundary_near(self, seconds: float) -> int:
        """Where to go on at *seconds* when changing to this list: the segment that begins there, give or take a tenth
        of its length, else the one that sounds there (its beginning overlaps what was played).
        """
        index = self.index_at(seconds)
        following = index + 1
        if following < len(self.starts):
            slack = _TOLERANCE * self.playlist.segments[following].duration
            if self.starts[following] - seconds <= slack:
                return following
        return index

    @property
    def live_start(self) -> float:
        """Where to begin: `EXT-X-START`, else the beginning, of a live list three target durations before its end."""
        playlist = self.playlist
        first = self.starts[self.window] if self.starts else self.stop
        if playlist.start is not None:
            wished = playlist.start + (self.stop if playlist.start < 0 else first)
        elif playlist.ended or playlist.kind == "event":
            return first
        else:
            wished = self.stop - HOLDBACK * playlist.target_duration
        return min(max(wished, first), self.stop)

    def updated(self, playlist: MediaPlaylist) -> Timeline:
        """This timeline with what *playlist*, a later reading of the same list, adds.

        Segments that were never seen are gaps of the target duration. Raises PlaylistInvalid for a list that went back
        to before everything known: it started over.
        """
        ours = self.playlist
        first, known = playlist.media_sequence, ours.media_sequence
        if first + len(playlist.segments) <= known:
            raise PlaylistInvalid("the live playlist started over", url=playlist.url)
        fresh = playlist.segments[max(0, known - first) :]
        kept = ours.segments[: max(0, first - known)]
        if len(fresh) + max(0, first - known) < len(ours.segments):  # an older copy, from a lazy mirror
            return self
        lost = range(known + len(kept), first)
        holes = tuple(MediaSegment("", ours.target_duration, sequence, gap=True) for sequence in lost)
        merged = replace(playlist, segments=(*kept, *holes, *fresh), media_sequence=known)
        return Timeline(merged, self.origin, window=max(0, first - known))

    def aligned(self, playlist: MediaPlaylist) -> Timeline:
        """The timeline of *playlist*, another variant of the same programme.

        Lists that are complete begin together. Live ones are matched by program date where both have one, else by
        sequence number, which packagers keep equal.
        """
        if self.playlist.kind != "live" and playlist.kind != "live":
            return Timeline(playlist, self.origin)
        shift = _date_shift(self.playlist, playlist)
        if shift is None:
            return Timeline(playlist, self._time_of(playlist))
        ours, theirs, seconds = shift
        lead = sum(segment.duration for segment in playlist.segments[:theirs])
        return Timeline(playlist, self.starts[ours] + seconds - lead)

    def _time_of(self, playlist: MediaPlaylist) -> float:
        """Second at which *playlist* begins, judged by sequence numbers; across a hole by the target duration."""
        first = playlist.media_sequence
        index = self.index_of(first)
        if index is not None:
            return self.starts[index]
        beyond = first - (self.playlist.media_sequence + len(self.starts))
        if beyond >= 0:
            return self.stop + beyond * self.playlist.target_duration
        known = self.playlist.media_sequence - first
        lead = sum(segment.duration for segment in playlist.segments[:known])
        return self.origin - lead


def _date_shift(ours: MediaPlaylist, theirs: MediaPlaylist) -> tuple[int, int, float] | None:
    """Index of the first dated segment in each, and the seconds from ours to theirs; None where one has no date."""
    dated = [
        next(
            ((index, date) for index, segment in enumerate(playlist.segments) if (date := segment.program_date_time)),
            None,
        )
        for playlist in (ours, theirs)
    ]
    if dated[0] is None or dated[1] is None:
        return None
    (our_index, our_date), (their_index, their_date) = dated[0], dated[1]
    if (our_date.tzinfo is None) != (their_date.tzinfo is None):
        return None
    return our_index, their_index, (their_date - our_date).total_seconds()
