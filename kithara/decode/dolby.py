"""AC-3 and E-AC-3 in frames of their own: ``.ac3`` and ``.ec3`` files, and packed audio segments of HLS."""

from __future__ import annotations

from typing import NamedTuple

from .._core.frames import DOLBY_AUDIO
from ..errors import DecodeError
from .elementary import ElementaryDemuxer, first_frames
from .track import Track
from .view import ByteView

__all__ = ["DolbyDemuxer", "DolbyHeader", "dolby_header", "dolby_track"]

_RATES = (48000, 44100, 32000)
_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)
"""By the audio coding mode (ATSC A/52:2018, table 5.8), the low-frequency channel not counted."""


class DolbyHeader(NamedTuple):
    """What the first bytes of a frame tell (ATSC A/52:2018, 5.3 and E.1.2)."""

    codec: str
    rate: int
    channels: int
    samples: int
    mean: float
    """Bytes of a frame at its bitrate."""


def dolby_header(data: bytes) -> DolbyHeader | None:
    """The header that *data*, at least 8 bytes, begins with, or None."""
    if len(data) < 8 or data[:2] != b"\x0b\x77":
        return None
    rate, stream = data[4] >> 6, data[5] >> 3
    if stream <= 10:
        code = data[4] & 63
        if rate == 3 or code > 37:
            return None
        mode = data[6] >> 5
        # Behind the mode stand two bits each for a centre, for surrounds, for matrixed stereo, where there are such.
        before = 3 + 2 * ((mode & 1 and mode != 1) + (mode & 4 > 0) + (mode == 2))
        low = int.from_bytes(data[6:8], "big") >> (15 - before) & 1
        hertz = _RATES[rate] >> max(stream - 8, 0)
        return DolbyHeader("ac3", hertz, _CHANNELS[mode] + low, 1536, _KILOBITS[code >> 1] * 192000 / _RATES[rate])
    blocks, hertz = 6, 0
    if rate < 3:
        hertz, blocks = _RATES[rate], (1, 2, 3, 6)[data[4] >> 4 & 3]
    elif (half := data[4] >> 4 & 3) < 3:
        hertz = _RATES[half] // 2
    if stream > 16 or not hertz:
        return None
    size = ((data[2] & 7) << 8 | data[3]) * 2 + 2
    return DolbyHeader("eac3", hertz, _CHANNELS[data[4] >> 1 & 7] + (data[4] & 1), 256 * blocks, size)


def dolby_track(head: bytes, container: str = "ac3") -> Track | None:
    """What frames are of that begin with the 8 bytes *head*; None for what is no frame."""
    header = dolby_header(head)
    if header is None:
        return None
    codec, rate, channels, samples, _ = header
    return Track(codec=codec, container=container, rate=rate, channels=channels, packet=samples)


class DolbyDemuxer(ElementaryDemuxer):
    """AC-3 or E-AC-3: it tells neither length nor priming."""

    container = "ac3"
    kind = DOLBY_AUDIO

    def __init__(self, view: ByteView, offset: int) -> None:
        feed, frames, shared = first_frames(view, offset, self.kind)
        headers = [dolby_header(feed.data[at : at + 8]) for at, _ in frames]
        header = headers[0]
        if header is None:
            raise DecodeError("no AC-3 frame", range=(offset, None))
        super().__init__(view, feed.offset + frames[0][0], shared)
        self.frame: int = header.samples
        means = {found.mean for found in headers if found is not None}
        alone = header.codec == "ac3" or all(size == header.mean for _, size in frames)  # nothing extends them
        self.mean: float = header.mean if len(means) == 1 and alone else 0.0
        self.track: Track = Track(
            codec=header.codec,
            container="ac3",
            rate=header.rate,
            channels=header.channels,
            packet=header.samples,
            bitrate=round(self.mean * 8 * header.rate / header.samples) if self.mean else None,
        )

    def track_of(self, head: bytes) -> Track | None:
        return dolby_track(head)

    def frame_mean(self, head: bytes) -> float:
        header = dolby_header(head)
        return 0.0 if header is None or header.samples != self.frame else header.mean
