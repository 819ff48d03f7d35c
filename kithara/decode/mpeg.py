"""MP3 (and layer II) and ADTS: frames that say their own size, an index grown from those that went by.

A constant bitrate makes the place of every frame arithmetic. A variable one is known up to where frames have been
seen; beyond that an exact seek reads on, and an approximate one goes by the Xing table or the mean size so far.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator
from typing import NamedTuple

from .._core.frames import ADTS_AUDIO, MPEG_AUDIO, split
from ..errors import DecodeError
from ..media import id3_size
from . import tags as tagging
from .track import Demuxer, Landing, Mark, Packet, Track
from .view import ByteView, Feed

__all__ = ["AdtsDemuxer", "Mp3Demuxer", "MpegHeader", "adts_config", "mpeg_header"]

STEP = 16
"""Frames between two entries of the index."""
MAX_LOST = 4096
"""Frames that a damaged stretch is taken for, at most."""
FIRST_LOOK = 1 << 12
"""Bytes asked for to find the first frame."""

_BITRATES = {
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 0): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class MpegHeader(NamedTuple):
    """An MPEG audio frame header, ISO 11172-3 2.4.1.3."""

    version: int
    """1, 2, or 3 for MPEG-2.5."""
    layer: int
    bitrate: int
    rate: int
    channels: int
    samples: int
    side: int
    """Bytes from the header's start to the main data's (layer III, no CRC)."""


def mpeg_header(data: bytes) -> MpegHeader | None:
    """The header in the first four bytes of *data*, or None."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version = {3: 1, 2: 2, 0: 3}.get(data[1] >> 3 & 3, 0)
    layer = 4 - (data[1] >> 1 & 3)
    code, rate = data[2] >> 4, data[2] >> 2 & 3
    if not version or layer not in (2, 3) or code in (0, 15) or rate == 3:
        return None
    bitrate = _BITRATES[(1, layer) if version == 1 else (2, 0)][code] * 1000
    mono = data[3] >> 6 == 3
    side = (17 if mono else 32) if version == 1 else (9 if mono else 17)
    return MpegHeader(
        version=version,
        layer=layer,
        bitrate=bitrate,
        rate=(44100, 48000, 32000)[rate] >> (version - 1),
        channels=1 if mono else 2,
        samples=576 if layer == 3 and version > 1 else 1152,
        side=4 + side,
    )


class _Elementary(Demuxer):
    """What MP3 and ADTS share: splitting, the index, landing in a place."""

    kind: int
    frame: int  # ticks per frame

    def __init__(self, view: ByteView, first: int, fixed: int) -> None:
        self._view = view
        self._fixed = fixed
        self._index = array("q", [first])  # offset of every STEP-th frame
        self._offset, self._number = first, 0
        self._seen, self._seen_bytes = 0, 0  # frames known to lie without a gap from the first on

    def packets(self) -> Iterator[Packet]:
        feed = Feed(self._view, self._offset, least=0)
        number, frame, synced = self._number, self.frame, False
        end = -1  # of the last frame, in the view
        while True:
            frames, at, self._fixed, synced = split(feed.data, 0, self.kind, self._fixed, feed.ended, synced)
            if frames:
                base = feed.offset
                whole = memoryview(feed.data)
                if lost := self._lost(end, base + frames[0][0]):
                    number += lost
                    yield Mark(lost=lost * frame), -1
                end = base + frames[-1][0] + frames[-1][1]
                if base + frames[0][0] + sum(size for _, size in frames) == end:
                    self._learn(number, base, frames)
                    for start, size in frames:
                        yield whole[start : start + size], frame
                    number += len(frames)
                else:
                    number = yield from self._broken(number, base, whole, frames)
            if feed.ended and at >= len(feed.data) - 10:
                return
            feed.drop(at)
            if feed.ended:
                return
            feed.more()

    def _broken(
        self, number: int, base: int, whole: memoryview, frames: list[tuple[int, int]]
    ) -> Generator[Packet, None, int]:
        """The packets of frames between which something lies."""
        end = base + frames[0][0]
        for start, size in frames:
            if lost := self._lost(end, base + start):
                number += lost
                yield Mark(lost=lost * self.frame), -1
            self._learn(number, base, [(start, size)])
            yield whole[start : start + size], self.frame
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
        return Landing(number * self.frame, sure)

    def _leap(self, number: int, *, exact: bool) -> Landing | None:
        """Land near frame *number* without reading what lies before it, or None."""
        if exact or self._seen < 2 or not self._view.seekable:
            return None
        mean = self._seen_bytes / self._seen
        return self._settle(self._index[0] + int(number * mean), number, sure=False)

    def _settle(self, guess: int, number: int, *, sure: bool, least: int = FIRST_LOOK) -> Landing | None:
        data = self._view.some(guess, least)
        frames, _, _, _ = split(data, 0, self.kind, self._fixed, len(data) < least, False)
        return self._land(guess + frames[0][0], number, sure=sure) if frames else None

    def _scan(self, number: int) -> None:
        """Read on from the last known frame until *number* is known or the end comes."""
        self._land(self._index[-1], (len(self._index) - 1) * STEP)
        for _ in self.packets():
            if self._seen > number:
                return


class Mp3Demuxer(_Elementary):
    """MPEG audio layers II and III, with what a Xing, Info or LAME header in the first frame tells."""

    container = "mp3"
    kind = MPEG_AUDIO

    def __init__(self, view: ByteView, offset: int) -> None:
        feed, frames, fixed = _first_frames(view, offset, self.kind)
        start, size = frames[0]
        header = mpeg_header(feed.data[start : start + 4])
        if header is None:
            raise DecodeError("no MPEG audio frame", range=(offset, None))
        xing = _Xing.read(feed.data[start : start + size], header)
        first = feed.offset + start + (size if xing is not None else 0)
        super().__init__(view, first, fixed)
        self.frame = header.samples
        self._xing = xing
        self._tagged_at = feed.offset + start
        sizes = {mpeg_header(feed.data[at : at + 4]) for at, _ in frames[1 if xing else 0 :]}
        bitrates = {found.bitrate for found in sizes if found is not None}
        constant = len(bitrates) == 1 if xing is None else xing.constant(header)
        self._mean = header.samples / 8 * min(bitrates, default=header.bitrate) / header.rate if constant else 0.0
        lead = None
        if xing is not None and xing.frames and xing.delay is not None:
            # The decoder's own delay is 528 + 1 samples (LAME's tag specification).
            lead = xing.delay + 529
            raw = xing.frames * header.samples
            self.end = min(max(lead, raw - xing.padding + 529), raw)
        self.track = Track(
            codec="mp3" if header.layer == 3 else "mp2",
            container="mp3",
            rate=header.rate,
            channels=header.channels,
            lead=lead,
            lead_source="lame" if lead is not None else "",
            packet=header.samples,
            coded=xing.frames * header.samples if xing is not None and xing.frames else None,
            bitrate=xing.bitrate(header) if xing is not None else (header.bitrate if constant else None),
        )

    def _leap(self, number: int, *, exact: bool) -> Landing | None:
        if not self._view.seekable:
            return None
        first = self._index[0]
        if self._mean:
            guess = first + int(number * self._mean) - 2
            if self._view.length is not None and guess >= self._view.length:
                return self._land(self._view.length, number)
            self._view.plan(guess, guess + int(24 * self._mean))
            data = self._view.some(guess, min(FIRST_LOOK * 2, int(18 * self._mean)))
            frames, _, _, _ = split(data, 0, self.kind, self._fixed, False, False)
            if frames:
                found = mpeg_header(data[frames[0][0] : frames[0][0] + 4])
                if found is not None and abs(found.samples / 8 * found.bitrate / found.rate - self._mean) < 0.5:
                    offset = guess + frames[0][0]
                    return self._land(offset, round((offset - first) / self._mean))
                self._mean = 0.0  # not constant after all
        if not exact and self._xing is not None and (place := self._xing.place(number)) is not None:
            return self._settle(self._tagged_at + place, number, sure=False)
        return super()._leap(number, exact=exact)

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        return _read_id3(self._view)


class AdtsDemuxer(_Elementary):
    """AAC in ADTS frames: it tells neither length nor priming."""

    container = "adts"
    kind = ADTS_AUDIO
    frame = 1024

    def __init__(self, view: ByteView, offset: int) -> None:
        feed, frames, fixed = _first_frames(view, offset, self.kind)
        start, _ = frames[0]
        head = feed.data[start : start + 7]
        super().__init__(view, feed.offset + start, fixed)
        rate, channels, _ = adts_config(head)
        self.track = Track(codec="aac", container="adts", rate=rate, channels=channels, packet=1024)

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        return _read_id3(self._view)


def adts_config(head: bytes) -> tuple[int, int, int]:
    """Rate, channels and object type of the ADTS frame that begins with the 7 bytes *head*."""
    channels = (head[2] & 1) << 2 | head[3] >> 6
    return _ADTS_RATES[min(head[2] >> 2 & 15, 12)], 8 if channels == 7 else channels, (head[2] >> 6) + 1


def _first_frames(view: ByteView, offset: int, kind: int) -> tuple[Feed, list[tuple[int, int]], int]:
    """The feed at the first frames, them, and the four bytes all share. Looks at 256 KiB at most."""
    feed = Feed(view, offset, least=FIRST_LOOK)
    at, limit = 0, offset + (1 << 18)
    while True:
        frames, at, fixed, _ = split(feed.data, at, kind, 0, feed.ended, False)
        if frames:
            return feed, frames, fixed
        if feed.ended or feed.offset + at > limit:
            raise DecodeError("no audio frame found", range=(offset, feed.offset + len(feed.data)))
        feed.more()


def _read_id3(view: ByteView) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
    size = id3_size(view.get(0, 10))
    return tagging.id3(view.get(0, size)) if size else ({}, ())


class _Xing(NamedTuple):
    """The Xing or Info header in a stream's first frame, and LAME's extension of it."""

    info: bool
    frames: int
    size: int
    table: bytes
    delay: int | None
    padding: int

    @classmethod
    def read(cls, frame: bytes, header: MpegHeader) -> _Xing | None:
        if header.layer != 3:
            return None
        at = header.side
        mark = frame[at : at + 4]
        if mark not in (b"Xing", b"Info"):
            # Fraunhofer's VBRI, always 32 bytes behind the header; its delay field is not to be trusted.
            if frame[36:40] == b"VBRI":
                return cls(
                    False, int.from_bytes(frame[50:54], "big"), int.from_bytes(frame[46:50], "big"), b"", None, 0
                )
            return None
        flags = int.from_bytes(frame[at + 4 : at + 8], "big")
        at += 8
        frames = size = 0
        table = b""
        if flags & 1:
            frames = int.from_bytes(frame[at : at + 4], "big")
            at += 4
        if flags & 2:
            size = int.from_bytes(frame[at : at + 4], "big")
            at += 4
        if flags & 4:
            table = frame[at : at + 100]
            at += 100
        if flags & 8:
            at += 4
        delay, padding = None, 0
        if frame[at : at + 4] in (b"LAME", b"Lavf", b"Lavc", b"L3.9", b"GOGO") and len(frame) >= at + 24:
            bits = int.from_bytes(frame[at + 21 : at + 24], "big")
            delay, padding = bits >> 12, bits & 0xFFF
        return cls(mark == b"Info", frames, size, table, delay, padding)

    def constant(self, header: MpegHeader) -> bool:
        """Whether frames and bytes agree with one bitrate, which "Info" claims."""
        if not (self.info and self.frames):
            return False
        mean = header.samples / 8 * header.bitrate / header.rate
        return not self.size or abs(self.size - (self.frames + 1) * mean) < 2 * mean

    def bitrate(self, header: MpegHeader) -> int | None:
        if not (self.frames and self.size):
            return None
        return round(self.size * 8 * header.rate / (self.frames * header.samples))

    def place(self, number: int) -> int | None:
        """About where frame *number* lies, counted from the tagged frame, by the table of hundredths."""
        if not (self.frames and self.size and len(self.table) == 100):
            return None
        share = min(number / self.frames * 100, 99.999)
        left = self.table[int(share)]
        right = self.table[int(share) + 1] if share < 99 else 256
        return int((left + (right - left) * (share - int(share))) / 256 * self.size)
