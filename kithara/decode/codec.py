"""One codec context that outlives demuxers: packets in, frames out, PyAV's errors turned into ours.

libavformat takes no part: packets come from our demuxers, so no body can make FFmpeg open a file or a socket, and no
trimming, seeking or probing of its own stands between the bytes and the sample clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import av
import av.error
import numpy as np
from av import AudioFrame
from av.audio.codeccontext import AudioCodecContext
from av.audio.plane import AudioPlane
from av.codec.context import Flags2

from .._core.pcm import FORMATS
from ..errors import DecodeError, UnsupportedMedia
from .pcm import RAW_FORMATS, RAW_WIDTHS
from .track import Track

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["DAMAGE", "Codec", "Frame", "RawFrame", "new_packet", "open_codec", "planes_of"]

DAMAGE = (av.error.FFmpegError, ValueError)
"""What PyAV raises for what it cannot decode."""
new_packet: Any = av.Packet
"""``new_packet(size)``, filled by its ``update(data)``: it has the padding that FFmpeg reads past its end."""

_NAMES = {
    "aac": "aac",
    "ac3": "ac3",
    "alac": "alac",
    "eac3": "eac3",
    "flac": "flac",
    "mp2": "mp2float",
    "mp3": "mp3float",
    "opus": "opus",
    **{
        f"pcm_{name}": f"pcm_{name}"
        for name in ("alaw", "mulaw", "s8", "s16be", "s24be", "s32be", "f32be", "f64be")
    },
    "vorbis": "vorbis",
}

# Frames of output that must be decoded and dropped before the samples equal those of a decode from the start: measured
# until bit-identical, with a margin. MP3: the bit reservoir of 511 bytes at the smallest frames. Opus: CELT's energy
# prediction; 640 ms left 11 of 400 places a last bit off, 840 ms none. SBR never becomes identical; from 8 frames on
# it is as near as it gets.
_PREROLL = {
    "mp3": 10 * 1152,
    "mp2": 2 * 1152,
    "aac": 2 * 1024,
    "opus": 48_000,
    "vorbis": 2048,
    "ac3": 3072,
    "eac3": 3072,
}
_PREROLL_SBR = 8 * 2048
_REOPENED = {"aac", "ac3", "eac3"}
"""Codecs that flushing does not reset: it leaves AAC its SBR and noise states, and takes AC-3 its seed."""
# AC-3 fills what it left out with noise: seeded by the frame, a seek gives the samples of a decode from the start.
_OPTIONS = {"ac3": {"cons_noisegen": "1"}, "eac3": {"cons_noisegen": "1"}}


class Frame(Protocol):
    """What a codec emits; PyAV's AudioFrame is one."""

    samples: int
    sample_rate: int

    @property
    def planes(self) -> tuple[Buffer, ...]: ...


class RawFrame:
    """A packet of PCM as the frame it already is."""

    __slots__ = ("planes", "sample_rate", "samples")

    def __init__(self, planes: tuple[Buffer, ...], samples: int, rate: int) -> None:
        self.planes: tuple[Buffer, ...] = planes
        self.samples: int = samples
        self.sample_rate: int = rate


class Codec:
    """A decoder for one track. Owned by one thread at a time.

    Attributes:
        rate, channels, layout: Of what it emits, known after the first frame.
        format, planar, lanes: The code of its samples, whether each channel has its own plane, how many planes.
        watched: Whether its frames may change without their planes or their rate showing it.
        plain: Packets, as `new_packet` makes them, may go straight to `decode_packet`: its frames need nothing done.
    """

    def __init__(self, track: Track) -> None:
        self.track = track
        self.rate: int = track.rate
        self.channels: int = track.channels
        self.layout = ""
        self.format = -1
        self.planar = False
        self.lanes = 1
        self.watched = False
        self.plain = False
        self.decode_packet: Any = None

    def refusal(self, error: Exception) -> DecodeError:
        """What is raised for a packet that the decoder refuses with *error*."""
        return DecodeError(f"damaged {self.track.codec} packet: {error}")

    def look(self, frame: Any) -> None:
        """Take over what *frame* is like: format, rate, channels."""

    def decode(self, data: bytes | memoryview, samples: int) -> Sequence[Frame]:
        """The frames that *data*, nominally *samples* ticks, completes.

        Raises:
            DecodeError: the packet is damaged; the next may be fine.
        """
        raise NotImplementedError

    def conform(self, rate: int, channels: int) -> None:
        """Give frames of *rate* and *channels* from now on, converted if the stream has others."""

    def mixed(self, frame: Any, channels: int) -> Frame | None:
        """*frame* with another number of channels and as many samples, in float planes; None where that is not done."""
        return None

    def cut(self, skip: int = 0, limit: int | None = None) -> None:
        """Leave out the next *skip* frames that it emits, and after that all behind *limit* frames."""

    def drain(self) -> Sequence[Frame]:
        """What the decoder still holds at the end."""
        return ()

    def reset(self) -> None:
        """Forget all history, as after opening."""

    def preroll(self, samples: int) -> int:
        """Frames to decode and drop before exact ones, if a packet gives *samples* frames."""
        return 0


class RawCodec(Codec):
    """PCM as it is: the bytes are the frame."""

    def __init__(self, track: Track) -> None:
        super().__init__(track)
        self.format: int = RAW_FORMATS[track.codec]
        self._width = RAW_WIDTHS[track.codec] * track.channels

    def decode(self, data: bytes | memoryview, samples: int) -> Sequence[Frame]:
        return (RawFrame((data,), len(data) // self._width, self.rate),)


def planes_of(frame: Frame) -> tuple[Buffer, ...]:
    """The planes of *frame*, all of them and no more.

    PyAV looks for a null behind the last, and of 8 or more there is none: 18 shows what is no plane, 19 raises.
    """
    if isinstance(frame, AudioFrame) and frame.format.is_planar and frame.layout.nb_channels >= 8:
        return tuple(AudioPlane(frame, index) for index in range(frame.layout.nb_channels))
    return frame.planes


class LibavCodec(Codec):
    """A decoder of libavcodec's, through PyAV, one thread."""

    format: int
    planar: bool

    def __init__(self, track: Track) -> None:
        super().__init__(track)
        if track.codec not in _NAMES:
            raise UnsupportedMedia(f"codec {track.codec!r} in {track.container}")
        self._name = ""
        self.watched: bool = True
        self._target: tuple[int, int, str] | None = None
        self._resampler: av.AudioResampler | None = None
        self._priming = track.codec == "vorbis"
        self._skip, self._limit = 0, -1
        self._open()

    def _open(self) -> None:
        track = self.track
        try:
            context = cast(AudioCodecContext, av.CodecContext.create(_NAMES[track.codec], "r"))
            context.thread_count = 1
            context.options = dict(_OPTIONS.get(track.codec, {}))
            context.flags2 |= Flags2.skip_manual  # else Opus drops its pre-skip, after every flush anew
            if track.config:
                context.extradata = track.config
            if track.rate:
                context.sample_rate = track.rate
            if track.channels:
                context.layout = _usual_layout(track.channels)
            context.open()
        except DAMAGE as exc:
            raise DecodeError(f"the {track.codec} decoder refuses the stream's configuration: {exc}") from exc
        self._context = context
        self.decode_packet: Any = context.decode
        self.plain: bool = False  # until the first packet was looked at

    def decode(self, data: bytes | memoryview, samples: int) -> Sequence[Frame]:
        if not len(data):
            raise DecodeError(f"an empty {self.track.codec} packet")  # which to FFmpeg would mean the end
        packet = new_packet(len(data))
        packet.update(data)
        try:
            frames: Sequence[Any] = self._context.decode(packet)
        except DAMAGE as exc:
            raise self.refusal(exc) from exc
        if self._priming:  # Vorbis' first packet gives nothing true, only the window the second one needs
            self._priming = False
            frames = ()
        if self._skip or self._limit >= 0:
            frames = self._trimmed(frames)
        if self._target is not None:
            frames = self._converted(frames)
        if self.watched:
            for frame in frames:
                self.look(frame)
        self.plain = not (self.watched or self._target or self._skip or self._limit >= 0)
        return frames

    def look(self, frame: Any) -> None:
        name = frame.format.name
        if name == self._name and frame.sample_rate == self.rate and frame.layout.nb_channels == self.channels:
            return
        if name not in FORMATS:
            raise UnsupportedMedia(f"samples of format {name}")
        self._name = name
        self.format, self.planar = FORMATS[name]
        self.rate: int = frame.sample_rate
        self.channels: int = frame.layout.nb_channels
        self.layout: str = frame.layout.name
        self.lanes: int = self.channels if self.planar else 1
        # What always comes as float planes shows every change in their number; the rest is looked at frame by frame.
        self.watched = name != "fltp"

    def conform(self, rate: int, channels: int) -> None:
        self._target = (rate, channels, _usual_layout(channels))
        self.plain = False

    def mixed(self, frame: Any, channels: int) -> Frame | None:
        try:
            mixer = av.AudioResampler(format="fltp", layout=_usual_layout(channels), rate=frame.sample_rate)
            found: list[Any] = mixer.resample(frame)
        except DAMAGE as exc:
            raise DecodeError(f"{frame.layout.name} cannot become {channels} channels: {exc}") from exc
        return found[0] if len(found) == 1 and found[0].samples == frame.samples else None

    def cut(self, skip: int = 0, limit: int | None = None) -> None:
        self._skip, self._limit = skip, -1 if limit is None else limit
        self.plain = False

    def _trimmed(self, frames: Sequence[Any]) -> Sequence[Any]:
        out: list[Any] = []
        for frame in frames:
            start = min(self._skip, frame.samples)
            self._skip -= start
            stop = frame.samples if self._limit < 0 else min(frame.samples, start + self._limit)
            if self._limit >= 0:
                self._limit -= stop - start
            if stop - start == frame.samples:
                out.append(frame)
            elif stop > start:
                lanes = 1 if frame.format.is_planar else frame.layout.nb_channels
                data = np.ascontiguousarray(frame.to_ndarray()[:, start * lanes : stop * lanes])
                part = av.AudioFrame.from_ndarray(data, format=frame.format.name, layout=frame.layout.name)
                part.sample_rate = frame.sample_rate
                out.append(part)
        return out

    def _converted(self, frames: Sequence[Any]) -> Sequence[Any]:
        rate, channels, layout = self._target or (0, 0, "")
        out: list[Any] = []
        for frame in frames:
            if frame.sample_rate == rate and frame.layout.nb_channels == channels:
                out.append(frame)
                continue
            if self._resampler is None:
                self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            frame.pts = None
            try:
                out += self._resampler.resample(frame)
            except DAMAGE as exc:
                raise DecodeError(f"{frame.sample_rate} Hz cannot become {rate} Hz: {exc}") from exc
        return out

    def drain(self) -> Sequence[Frame]:
        try:
            frames: Sequence[Any] = self._context.decode(None)
            if self._skip or self._limit >= 0:
                frames = self._trimmed(frames)
            if self._target is not None:
                frames = self._converted(frames)
            if self._resampler is not None:
                resampler, self._resampler = self._resampler, None
                frames = [*frames, *resampler.resample(None)]
            return frames
        except DAMAGE:
            return ()  # it held nothing that can still be had

    def reset(self) -> None:
        self._resampler = None
        if self.track.codec in _REOPENED:
            self._open()
        else:
            self._context.flush_buffers()
        self._priming = self.track.codec == "vorbis"
        self._skip, self._limit, self._resampler = 0, -1, None
        self.plain = False

    def preroll(self, samples: int) -> int:
        if self.track.codec == "aac" and samples > 1024:
            return _PREROLL_SBR
        return _PREROLL.get(self.track.codec, 0)


def _usual_layout(channels: int) -> str:
    return f"{channels}c" if channels > 2 else ("mono", "stereo")[channels - 1]


def open_codec(track: Track) -> Codec:
    """The decoder for *track*.

    Raises:
        UnsupportedMedia: there is none.
        DecodeError: its configuration makes no sense.
    """
    return RawCodec(track) if track.codec in RAW_FORMATS else LibavCodec(track)
