"""Where the fragments of a fragmented mp4 are: its boxes, read by their headers alone (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from .._core.store import Store

INDEX_LIMIT = 100_000
"""Boxes at the top level after which a file is not believed."""

_MEDIA = frozenset({b"moof", b"mdat", b"styp", b"sidx", b"emsg", b"prft", b"free", b"skip"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSegment:
    """One fragment: ``[start, stop)`` of the file, from its first box to the end of its media data.

    *time* and *duration* are in seconds where the file has a segment index (``sidx``), else None.
    """

    start: int
    stop: int
    time: float | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSegmentIndex:
    """The layout of a fragmented mp4: ``[0, init_stop)`` starts a decoder, then come *segments*."""

    init_stop: int
    segments: tuple[FileSegment, ...]

    @classmethod
    def build(cls, store: Store, *, limit: int = INDEX_LIMIT) -> Self | None:
        """The index of the whole file in *store*, or None when it is no fragmented mp4. Never raises for bad bytes."""
        boxes = list(_boxes(store, limit))
        kinds = [kind for kind, _, _ in boxes]
        if b"moov" not in kinds or b"moof" not in kinds or not boxes or boxes[-1][2] != store.length:
            return None
        first = min(index for index, kind in enumerate(kinds) if kind == b"moof")
        while first and kinds[first - 1] in _MEDIA and kinds[first - 1] != b"mdat":
            first -= 1
        if kinds.index(b"moov") >= first:
            return None
        segments = tuple(_fragments(boxes[first:]))
        times = next((_times(store, start, stop) for kind, start, stop in boxes if kind == b"sidx"), None)
        return cls(init_stop=boxes[first][1], segments=_timed(segments, times))

    def at_time(self, seconds: float) -> int | None:
        """Which segment plays at *seconds*, or None where times are not known."""
        if not self.segments or self.segments[0].time is None:
            return None
        found = 0
        for index, segment in enumerate(self.segments):
            if segment.time is not None and segment.time <= seconds:
                found = index
        return found

    def at_offset(self, offset: int) -> int | None:
        """Which segment holds the byte at *offset*; None before the first and past the last."""
        for index, segment in enumerate(self.segments):
            if segment.start <= offset < segment.stop:
                return index
        return None


def _read(store: Store, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: store.read_at(offset, buffer)])


def _boxes(store: Store, limit: int) -> Iterator[tuple[bytes, int, int]]:
    """``(kind, start, stop)`` of each box at the top level, as far as they make sense."""
    length = store.length or 0
    offset = 0
    for _ in range(limit):
        head = _read(store, offset, 16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        least = 8
        if size == 1 and len(head) == 16:
            size, least = struct.unpack_from(">Q", head, 8)[0], 16
        elif size == 0:
            size = length - offset
        if not least <= size <= length - offset:
            return
        yield kind, offset, offset + size
        offset += size


def _fragments(boxes: list[tuple[bytes, int, int]]) -> Iterator[FileSegment]:
    """Each run of boxes that has a moof and ends with an mdat before what is not media data."""
    start: int | None = None
    stop, moof, mdat = 0, False, False
    for kind, begin, end in boxes:
        if mdat and kind != b"mdat":
            if moof and start is not None:
                yield FileSegment(start=start, stop=stop)
            start, moof, mdat = None, False, False
        if kind not in _MEDIA:
            continue
        start = begin if start is None else start
        moof, mdat, stop = moof or kind == b"moof", mdat or kind == b"mdat", end
    if moof and mdat and start is not None:
        yield FileSegment(start=start, stop=stop)


def _times(store: Store, start: int, stop: int) -> list[tuple[int, float, float]] | None:
    """``(offset, time, duration)`` of each reference of the sidx at *start*, or None when it makes no sense."""
    data = _read(store, start, min(stop - start, 1 << 20))
    body = 16 if data[:4] == b"\0\0\0\1" else 8
    try:
        version = data[body]
        scale = struct.unpack_from(">I", data, body + 8)[0]
        layout = ">QQ" if version else ">II"
        time, gap = struct.unpack_from(layout, data, body + 12)
        at = body + 12 + struct.calcsize(layout)
        count = struct.unpack_from(">HH", data, at)[1]
        references = [struct.unpack_from(">III", data, at + 4 + 12 * index) for index in range(count)]
    except (struct.error, IndexError):
        return None
    if not scale:
        return None
    found, offset = [], stop + gap
    for size, ticks, _ in references:
        if size >> 31:
            return None  # it refers to further indexes
        found.append((offset, time / scale, ticks / scale))
        offset, time = offset + size, time + ticks
    return found


def _timed(segments: tuple[FileSegment, ...], times: list[tuple[int, float, float]] | None) -> tuple[FileSegment, ...]:
    """*segments* with the times of the references that begin in them, if all of them have one."""
    if times is None or len(times) != len(segments):
        return segments
    if any(not segment.start <= offset < segment.stop for segment, (offset, _, _) in zip(segments, times, strict=True)):
        return segments
    return tuple(
        FileSegment(start=segment.start, stop=segment.stop, time=time, duration=duration)
        for segment, (_, time, duration) in zip(segments, times, strict=True)
    )
