"""Streams of frames that say their own size, with nothing around them: an index grown from those that went by.

A constant bitrate makes the place of every frame arithmetic. A variable one is known up to where frames have been
seen; beyond that an exact seek reads on, and an approximate one goes by a table or the mean size so far.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Generator, Iterator
from itertools import pairwise

from .._core.frames import split
from ..errors import DecodeError
from ..media import id3_size
from . import tags as tagging
from .track import Demuxer, Landing, Mark, Packet, Track
from .view import ByteView, Feed

__all__ = ["ENOUGH", "ElementaryDemuxer", "another_kind", "first_frames"]

STEP = 16
"""Frames between two entries of the index."""
MAX_LOST = 4096
"""Frames that a damaged stretch is taken for, at most."""
ENOUGH = 1 << 13
"""Bytes without a frame that are looked at for frames of another kind."""
FIRST_LOOK = 1 << 12
"""Bytes asked for to find the first frame."""


class ElementaryDemuxer(Demuxer):
    """What such streams share: splitting, the index, landing in a place.

    Attributes:
        kind: What `split` is to look for.
        frame: Ticks in a frame.
        mean: Bytes of a frame where all tell the same bitrate, else 0.
    """

    kind: int
    frame: int
    mean: float = 0.0

    def __init__(self, view: ByteView, first: int, fixed: int) -> None:
        self._view = view
        self._fixed = fixed
        self._index = array("q", [first])  # offset of every STEP-th frame
        self._offset, self._number = first, 0
        self._seen, self._seen_bytes = 0, 0  # frames known to lie without a gap from the first on

    def packets(self) -> Iterator[Packet]:
        feed = Feed(self._view, self._offset, least=0)
        number, frame, fixed, synced = self._number, self.frame, self._fixed, False
        learning = True
        end = -1  # of the last frame, in the view
        while True:
            frames, at, fixed, synced = split(feed.data, 0, self.kind, fixed, feed.ended, synced)
            if frames:
                base = feed.offset
                whole = memoryview(feed.data)
                if lost := self._lost(end, base + frames[0][0]):
                    number += lost
                    yield Mark(lost=lost * frame), -1
                end = base + frames[-1][0] + frames[-1][1]
                if learning and base + frames[0][0] + sum(size for _, size in frames) == end:
                    self._learn(number, base, frames)
                    for start, size in frames:
                        yield whole[start : start + size], frame
                    number += len(frames)
                else:
                    number = yield from self._broken(number, base, whole, frames, frame, learning)
            strange = frames[-1][0] + frames[-1][1] if frames else 0  # from here on no such frame is
            if strange < at <= len(feed.data):
                if (found := another_kind(feed.data, strange, self.kind, fixed, feed.ended)) is not None:
                    at, fixed = found
                    track = self.track_of(feed.data[at : at + 16])
                    if track is not None:
                        self.mean, learning, synced, end = 0.0, False, False, -1
                        frame = round(track.packet * self.track.rate / track.rate)
                        yield Mark(track=track, fresh=True), -1
                        feed.drop(at)
                        continue
                elif at - strange < ENOUGH and not feed.ended:
                    at = strange  # too little to tell what it is
            if feed.ended and at >= len(feed.data) - 10:
                return
            feed.drop(at)
            if feed.ended:
                return
            feed.more()

    @abstractmethod
    def track_of(self, head: bytes) -> Track | None:
        """What a stream of frames is of whose first begins with *head*, 16 bytes."""

    def _broken(
        self, number: int, base: int, whole: memoryview, frames: list[tuple[int, int]], frame: int, learning: bool
    ) -> Generator[Packet, None, int]:
        """The packets of frames between which something lies."""
        end = base + frames[0][0]
        for start, size in frames:
            if lost := self._lost(end, base + start):
                number += lost
                yield Mark(lost=lost * frame), -1
            if learning:
                self._learn(number, base, [(start, size)])
            yield whole[start : start + size], frame
            number += 1
            end = base + start + size
        return number

    def _lost(self, end: int, start: int) -> int:
        """How many frames lie unreadable between two that are fine; a tag between them is no loss."""
        gap = start - end
        if end < 0 or gap < 24 or self._view.get(end, 3) in (b"ID3", b"TAG"):
            return 0
        mean = self._seen_bytes / self._seen if self._seen else gap
        return min(round(gap / mean), MAX_LOST)

    def _learn(self, number: int, base: int, frames: list[tuple[int, int]]) -> None:
        count = len(frames)
        if number <= self._seen < number + count:
            index = self._index
            for k in range(len(index) * STEP, number + count, STEP):
                index.append(base + frames[k - number][0])
            self._seen = number + count
            self._seen_bytes = base + frames[-1][0] + frames[-1][1] - index[0]

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        number = max(tick, 0) // self.frame
        if number >= self._seen:
            if (landing := self._leap(number, exact=exact)) is not None:
                return landing
            self._scan(number)
        entry = min(number // STEP, len(self._index) - 1)
        return self._land(self._index[entry], entry * STEP)

    def _land(self, offset: int, number: int, *, sure: bool = True) -> Landing:
        self._offset, self._number = offset, number
        return Landing(number * self.frame, sure, self.track)

    def frame_mean(self, head: bytes) -> float:
        """Bytes of the mean frame at the bitrate that the frame beginning with *head* tells; 0 if it tells none."""
        return 0.0

    def table_place(self, number: int) -> int | None:
        """About where frame *number* lies, where a table tells it."""
        return None

    def _leap(self, number: int, *, exact: bool) -> Landing | None:
        """Land near frame *number* without reading what lies before it, or None."""
        if not self._view.seekable:
            return None
        if self.mean and (landing := self._land_constant(number)) is not None:
            return landing
        if exact:
            return None
        if (place := self.table_place(number)) is not None:
            return self._settle(place, number)
        if self._seen < 2:
            return None
        return self._settle(self._index[0] + int(number * self._seen_bytes / self._seen), number)

    def _land_constant(self, number: int) -> Landing | None:
        """Land where arithmetic says; None, and no arithmetic from then on, where a frame there says otherwise."""
        view, first = self._view, self._index[0]
        guess = first + int(number * self.mean) - 2
        if view.length is not None and guess >= view.length:
            return self._land(view.length, number)
        view.plan(guess, guess + int(24 * self.mean))
        data = view.some(guess, min(FIRST_LOOK * 2, int(18 * self.mean)))
        frames, _, _, _ = split(data, 0, self.kind, self._fixed, False, False)
        if not frames:
            return None
        start = frames[0][0]
        if abs(self.frame_mean(data[start : start + 16]) - self.mean) >= 0.5:
            self.mean = 0.0
            return None
        return self._land(guess + start, round((guess + start - first) / self.mean))

    def _settle(self, guess: int, number: int) -> Landing | None:
        """Land at the first frame from *guess* on, and take it for *number*."""
        data = self._view.some(guess, FIRST_LOOK)
        frames, _, _, _ = split(data, 0, self.kind, self._fixed, len(data) < FIRST_LOOK, False)
        return self._land(guess + frames[0][0], number, sure=False) if frames else None

    def _scan(self, number: int) -> None:
        """Read on from the last known frame until *number* is known or the end comes."""
        self._land(self._index[-1], (len(self._index) - 1) * STEP)
        for _ in self.packets():
            if self._seen > number:
                return


    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        """What an ID3v2 tag at the very start says."""
        size = id3_size(self._view.get(0, 10))
        return tagging.id3(self._view.get(0, size)) if size else ({}, ())


def another_kind(data: bytes, at: int, kind: int, fixed: int, final: bool) -> tuple[int, int] | None:
    """Where in *data* from *at* on frames begin that do not share *fixed*, and what they share; None where none do.

    Four in a row are believed.
    """
    if len(data) - at < ENOUGH and not final:
        return None
    frames, _, shared, _ = split(data, at, kind, 0, final, False)
    steady = len(frames) >= 4 and all(here + size == there for (here, size), (there, _) in pairwise(frames[:4]))
    return (frames[0][0], shared) if steady and shared != fixed else None


def first_frames(view: ByteView, offset: int, kind: int) -> tuple[Feed, list[tuple[int, int]], int]:
    """The feed at the first frames, them, and what all share. Looks at 256 KiB at most."""
    feed = Feed(view, offset, least=FIRST_LOOK)
    at, limit = 0, offset + (1 << 18)
    while True:
        frames, at, fixed, _ = split(feed.data, at, kind, 0, feed.ended, False)
        if frames:
            return feed, frames, fixed
        if feed.ended or feed.offset + at > limit:
            raise DecodeError("no audio frame found", range=(offset, feed.offset + len(feed.data)))
        feed.more()
