"""MP4, M4A and QuickTime with sample tables: every packet's place and time is in the header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..errors import DecodeError
from . import boxes as iso
from . import tags as tagging
from .fragments import FragmentedDemuxer, gathered
from .timing import Timing
from .track import Demuxer, Landing, Packet, Track, need
from .view import ByteView

__all__ = ["Mp4Demuxer", "open_mp4"]

MAX_MOOV = 1 << 27
MAX_TOP_LEVEL = 100_000
BATCH = 512


def open_mp4(view: ByteView, offset: int) -> Demuxer:
    """The demuxer for an ISO file: by its tables, or by fragments where it has those."""
    at = offset
    init = None
    for _ in range(MAX_TOP_LEVEL):
        head = view.some(at, 16, 4096)
        if len(head) < 8:
            break
        size, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, header = int.from_bytes(need(head, 16, "a box header", at)[8:16], "big"), 16
        if kind == b"moov":
            if size > MAX_MOOV:
                raise DecodeError(f"a moov of {size} bytes", range=(at, at + size))
            data = need(view.get(at, size), size, "the moov box", at)
            moov = iso.Box(b"moov", header, size)
            sound = iso.sound_track(data, moov)
            if len(sound.sizes) or iso.child(data, moov, b"mvex") is None:
                return Mp4Demuxer(view, data, moov, sound)
            init = (data, moov, sound)
            return FragmentedDemuxer(view, *init, at + size)
        if size < header:
            raise DecodeError(f"a {kind!r} box of {size} bytes" if size else "no moov box", range=(at, at + 8))
        if kind == b"moof":
            raise DecodeError("a fragment without its init section", range=(at, at + size))
        at += size
    raise DecodeError("no moov box", range=(offset, at))


class Mp4Demuxer(Demuxer):
    """Packets by the sample tables of a moov box."""

    container = "mp4"

    def __init__(self, view: ByteView, data: bytes, moov: iso.Box, sound: iso.SoundTrack) -> None:
        if not len(sound.sizes):
            raise DecodeError("a sound track without samples")
        self._view, self._data, self._moov = view, data, moov
        self._sizes, self._offsets, self._durations = sound.sizes, sound.offsets, sound.durations
        self._times = np.concatenate((np.zeros(1, np.int64), np.cumsum(sound.durations)))
        total = int(self._times[-1])
        timing = Timing(sound, iso.itunes_gapless(data, moov), total)
        self.end: int | None = timing.end
        common = int(np.bincount(np.minimum(sound.durations, 1 << 16)).argmax())
        self.track: Track = replace(
            timing.track("mp4", packet=common, told_duration=total / sound.timescale),
            coded=len(sound.sizes) * common if sound.codec in ("aac", "mp3", "opus") else total,
            bitrate=round(int(sound.sizes.sum()) * 8 * sound.timescale / total) if total else None,
        )
        self._next = 0
        self._run = sound.timescale // 6  # pre-roll and a usual block

    def packets(self) -> Iterator[Packet]:
        for first in range(self._next, len(self._sizes), BATCH):
            span = slice(first, first + BATCH)
            offsets, sizes, durations = self._offsets[span], self._sizes[span], self._durations[span]
            places = list(zip(offsets.tolist(), sizes.tolist(), durations.tolist(), strict=True))
            yield from gathered(self._view, places, int((offsets + sizes).max()))

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        index = int(np.searchsorted(self._times, max(tick, 0), "right")) - 1
        self._next = first = min(max(index, 0), len(self._sizes) - 1)
        last = min(int(np.searchsorted(self._times, tick + self._run, "left")), len(self._sizes) - 1)
        self._view.plan(int(self._offsets[first]), int(self._offsets[last] + self._sizes[last]))
        return Landing(int(self._times[self._next]))

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        return iso.itunes_tags(self._data, self._moov)
