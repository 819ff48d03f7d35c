"""MPEG audio in frames of its own: MP3 and layer II, and AAC in ADTS."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from .._core.frames import ADTS_AUDIO, MPEG_AUDIO, split
from ..errors import DecodeError, NetError, OfflineMiss
from ..media import id3_size
from .elementary import ENOUGH, ElementaryDemuxer, first_frames
from .track import Track
from .view import ByteView

__all__ = ["AdtsDemuxer", "Mp3Demuxer", "MpegHeader", "adts_config", "adts_track", "mpeg_header", "mpeg_track"]

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


def mpeg_track(head: bytes, container: str = "mp3") -> Track | None:
    """What frames are of that begin with *head*, where they tell no more than that; None for what is no frame."""
    header = mpeg_header(head)
    if header is None:
        return None
    return Track(
        codec="mp3" if header.layer == 3 else "mp2",
        container=container,
        rate=header.rate,
        channels=header.channels,
        packet=header.samples,
    )


class Mp3Demuxer(ElementaryDemuxer):
    """MPEG audio layers II and III, with what a Xing, Info or LAME header in the first frame tells."""

    container = "mp3"
    kind = MPEG_AUDIO

    def __init__(self, view: ByteView, offset: int) -> None:
        feed, frames, fixed = first_frames(view, offset, self.kind)
        start, size = frames[0]
        header = mpeg_header(feed.data[start : start + 4])
        if header is None:
            raise DecodeError("no MPEG audio frame", range=(offset, None))
        xing = _Xing.read(feed.data[start : start + size], header)
        bitrate = None if xing is None else xing.bitrate(header)
        if xing is not None and xing.size and _goes_on(view, feed.offset + start + xing.size):
            xing = xing.of_a_part()
        first = feed.offset + start + (size if xing is not None else 0)
        super().__init__(view, first, fixed)
        self.frame: int = header.samples
        self._xing = xing
        self._tagged_at = feed.offset + start
        sizes = {mpeg_header(feed.data[at : at + 4]) for at, _ in frames[1 if xing else 0 :]}
        bitrates = {found.bitrate for found in sizes if found is not None}
        constant = len(bitrates) == 1 if xing is None else xing.constant(header)
        self.mean: float = header.samples / 8 * min(bitrates, default=header.bitrate) / header.rate if constant else 0.0
        lead = None
        if xing is not None and xing.delay is not None:
            # The decoder's own delay is 528 + 1 samples (LAME's tag specification).
            lead = xing.delay + 529
            if xing.frames:
                raw = xing.frames * header.samples
                self.end: int = min(max(lead, raw - xing.padding + 529), raw)
        self.track: Track = Track(
            codec="mp3" if header.layer == 3 else "mp2",
            container="mp3",
            rate=header.rate,
            channels=header.channels,
            lead=lead,
            lead_source="lame" if lead is not None else "",
            packet=header.samples,
            coded=xing.frames * header.samples if xing is not None and xing.frames else None,
            bitrate=bitrate if xing is not None else (header.bitrate if constant else None),
        )

    def track_of(self, head: bytes) -> Track | None:
        return mpeg_track(head)

    def frame_mean(self, head: bytes) -> float:
        header = mpeg_header(head)
        return 0.0 if header is None else header.samples / 8 * header.bitrate / header.rate

    def table_place(self, number: int) -> int | None:
        place = None if self._xing is None else self._xing.place(number)
        return None if place is None else self._tagged_at + place


def adts_track(head: bytes, container: str = "adts") -> Track:
    """What ADTS frames are of that begin with the 7 bytes *head*."""
    rate, channels, _ = adts_config(head)
    return Track(codec="aac", container=container, rate=rate, channels=channels, packet=1024)


class AdtsDemuxer(ElementaryDemuxer):
    """AAC in ADTS frames: it tells neither length nor priming."""

    container = "adts"
    kind = ADTS_AUDIO
    frame = 1024

    def __init__(self, view: ByteView, offset: int) -> None:
        feed, frames, fixed = first_frames(view, offset, self.kind)
        start, _ = frames[0]
        head = feed.data[start : start + 7]
        super().__init__(view, feed.offset + start, fixed)
        self.track: Track = adts_track(head)

    def track_of(self, head: bytes) -> Track | None:
        return adts_track(head)


def adts_config(head: bytes) -> tuple[int, int, int]:
    """Rate, channels and object type of the ADTS frame that begins with the 7 bytes *head*."""
    channels = (head[2] & 1) << 2 | head[3] >> 6
    return _ADTS_RATES[min(head[2] >> 2 & 15, 12)], 8 if channels == 7 else channels, (head[2] >> 6) + 1


def _goes_on(view: ByteView, at: int) -> bool:
    """Whether frames follow at *at*, where a tag in the first frame has the stream end: several files in a row."""
    if not view.seekable or view.length is None or view.length - at < ENOUGH:
        return False
    try:
        at += id3_size(view.some(at, 10))
        data = view.some(at, ENOUGH)
    except (NetError, OfflineMiss):  # out of reach, and the beginning may be here all the same
        return False
    frames, _, _, _ = split(data, 0, MPEG_AUDIO, 0, False, False)
    return len(frames) >= 4 and frames[0][0] == 0 and all(a + size == b for (a, size), (b, _) in pairwise(frames[:4]))


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

    def of_a_part(self) -> _Xing:
        """What holds of it where more follows: how the stream begins."""
        return self._replace(frames=0, size=0, table=b"", padding=0)

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
