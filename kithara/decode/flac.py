"""Native FLAC: STREAMINFO, then frames whose headers hold their own place in time."""

from __future__ import annotations

from collections.abc import Iterator

from .._core.flac import flac_frames, flac_sync
from ..errors import DecodeError
from . import tags as tagging
from .locate import Point, locate
from .track import Demuxer, Landing, Mark, Packet, Track, need
from .view import ByteView, Feed

__all__ = ["FlacDemuxer", "StreamInfo"]

MAX_BLOCKS = 1000
LOOK = 1 << 14


class StreamInfo:
    """FLAC's STREAMINFO (RFC 9639, 8.2), 34 bytes."""

    def __init__(self, data: bytes) -> None:
        need(data, 34, "STREAMINFO", 0)
        self.data: bytes = data[:34]
        self.least_block: int = int.from_bytes(data[0:2], "big")
        self.most_block: int = int.from_bytes(data[2:4], "big")
        self.least_bytes: int = int.from_bytes(data[4:7], "big")
        self.most_bytes: int = int.from_bytes(data[7:10], "big")
        bits = int.from_bytes(data[10:18], "big")
        self.rate: int = bits >> 44
        self.channels: int = (bits >> 41 & 7) + 1
        self.depth: int = (bits >> 36 & 31) + 1
        self.samples: int = bits & (1 << 36) - 1
        if not self.rate or self.least_block < 16 or self.most_block < self.least_block:
            raise DecodeError(f"STREAMINFO with {self.rate} Hz and blocks of {self.least_block} to {self.most_block}")

    def track(self, container: str, bitrate: int | None = None) -> Track:
        """The stream as a track of *container*."""
        return Track(
            codec="flac",
            container=container,
            config=self.data,
            rate=self.rate,
            channels=self.channels,
            lead=0,
            lead_source="flac",
            packet=self.fixed_block,
            coded=self.samples or None,
            bitrate=bitrate,
        )

    @property
    def fixed_block(self) -> int:
        """The block size where all but the last are alike, else 0."""
        return self.most_block if self.least_block == self.most_block else 0


class FlacDemuxer(Demuxer):
    """A native FLAC stream. Seeks interpolate on the bytes and sync on frame headers."""

    container = "flac"

    def __init__(self, view: ByteView, offset: int) -> None:
        self._view = view
        need(view.some(offset, 42, 4096), 42, "the FLAC header", offset)
        at = offset + 4
        self._blocks: list[tuple[int, int, int]] = []
        for _ in range(MAX_BLOCKS):
            head = need(view.some(at, 4, 4096), 4, "a metadata block", at)
            kind, size = head[0] & 0x7F, int.from_bytes(head[1:4], "big")
            if kind == 127:
                raise DecodeError("an invalid metadata block", range=(at, at + 4))
            self._blocks.append((kind, at + 4, size))
            at += 4 + size
            if head[0] & 0x80:
                break
        kind, place, size = self._blocks[0]
        if kind != 0:
            raise DecodeError("the first metadata block is not STREAMINFO", range=(offset, offset + 8))
        self._info = info = StreamInfo(view.get(place, min(size, 34)))
        self._first = at
        self._start = Point(at, 0)
        self.end: int | None = info.samples or None
        length = view.length
        bitrate = round((length - at) * 8 * info.rate / info.samples) if length and info.samples else None
        self.track: Track = info.track("flac", bitrate)

    def packets(self) -> Iterator[Packet]:
        info = self._info
        least = max(info.least_bytes, 0)
        feed = Feed(self._view, self._start.offset, least=0)
        started, expected = False, self._start.tick
        while True:
            frames, at = flac_frames(feed.data, 0, info.fixed_block, least, info.most_bytes, feed.ended)
            if frames:
                started = True
                whole = memoryview(feed.data)
                for start, size, tick, samples in frames:
                    if tick > expected:
                        yield Mark(lost=tick - expected), -1
                    expected = tick + samples
                    yield whole[start : start + size], samples
            elif not started and len(feed.data) >= 16:
                found = flac_sync(feed.data, 0, info.fixed_block, least, info.most_bytes, feed.ended)
                at = found[0] if found else max(len(feed.data) - (1 << 17), 0)
            feed.drop(at)
            if feed.ended:
                return
            feed.more()

    def _probe(self, offset: int, stop: int) -> Point | None:
        info = self._info
        size = LOOK if not info.most_bytes else min(max(2 * info.most_bytes, 4096), 1 << 18)
        while offset < stop:
            self._view.plan(offset, offset + size + LOOK)  # should this be the place, its frames are on their way
            data = self._view.some(offset, size)
            ended = len(data) < size
            found = flac_sync(data, 0, info.fixed_block, info.least_bytes, info.most_bytes, ended)
            if found is not None:
                return Point(offset + found[0], found[1]) if offset + found[0] < stop else None
            if ended:
                return None
            if size >= 1 << 18:
                offset += len(data) - (1 << 17)
            size = min(size * 2, 1 << 18)
        return None

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        low = Point(self._first, 0)
        stop = self._view.length
        if tick > 0 and self._view.seekable and stop:
            info = self._info
            rate = (info.most_bytes or 8192) / info.most_block / 1.3
            slack = 2 * (info.most_bytes or 8192)
            low = locate(low, stop, self.end, tick, self._probe, density=rate, slack=slack)
        self._start = low
        return Landing(low.tick)

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        tags: tagging.Tags = {}
        pictures: list[tagging.Picture] = []
        for kind, place, size in self._blocks:
            if kind == 4:
                tags, found = tagging.vorbis_comment(self._view.get(place, size))
                pictures += found
            elif kind == 6 and (picture := tagging.flac_picture(self._view.get(place, size))) is not None:
                pictures.append(picture)
        return tags, tuple(pictures)
