"""PCM that lies in a file as it is: the place of every frame is arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from .track import Demuxer, Landing, Packet, Track
from .view import ByteView

__all__ = ["LinearDemuxer"]

BLOCK = 4096
"""Frames in one packet."""


class LinearDemuxer(Demuxer):
    """Frames of one size, one behind the other. A subclass reads the header, sets the track and says where they lie."""

    def __init__(self, view: ByteView) -> None:
        self._view = view
        self._align = 1  # bytes of a frame
        self._first, self._size = 0, -1
        self._frame = 0

    def describe(self, container: str, codec: str, rate: int, channels: int) -> None:
        """Set the track; its frames are of `_align` bytes."""
        self.track: Track = Track(
            codec=codec,
            container=container,
            rate=rate,
            channels=channels,
            lead=0,
            lead_source=container,
            packet=BLOCK,
            bitrate=rate * self._align * 8,
        )

    def lie(self, first: int, size: int) -> None:
        """The frames lie from *first* on, in *size* bytes; a negative number is not known."""
        self._first, self._size = first, size
        self.end: int | None = size // self._align if size >= 0 else None

    def packets(self) -> Iterator[Packet]:
        view, align = self._view, self._align
        at = self._first + self._frame * align
        stop = self._first + self._size if self._size >= 0 else None
        while True:
            most = BLOCK * align * 4 if stop is None else min(BLOCK * align * 4, stop - at)
            if most < align:
                return
            # `some` gives what is here: the first block of a slow link is a small one.
            data = view.some(at, align, most)
            frames = len(data) // align
            if not frames:
                return
            yield memoryview(data)[: frames * align], frames
            at += frames * align

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        self._frame = max(tick, 0) if self.end is None else min(max(tick, 0), self.end)
        start = self._first + self._frame * self._align
        self._view.plan(start, start + 2 * BLOCK * self._align)
        return Landing(self._frame)
