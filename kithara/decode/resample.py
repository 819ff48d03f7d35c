"""Another rate: an engine over an engine, whose positions count at the new rate and mean the same moments."""

from __future__ import annotations

import importlib
import math
from typing import Any, Literal, Protocol

import av
import av.error
import numpy as np

from .._core.pcm import DTYPES, FORMATS, interleave
from ..errors import DecodeError
from .engine import Engine
from .gapless import Gapless
from .pcm import Array, PcmSpec
from .track import Demuxer

__all__ = ["Quality", "Resampled"]

Quality = Literal["quick", "low", "medium", "high", "very high", "hq"]
_SOXR = {"quick": "QQ", "low": "LQ", "medium": "MQ", "high": "HQ", "hq": "HQ", "very high": "VHQ"}
BLOCK = 8192
"""Frames converted at once."""
PREROLL = 4096
"""Frames of the slower rate after which no filter remembers where it began."""


class _Filter(Protocol):
    """A streaming rate converter whose first output frame is the moment of its first input frame."""

    def feed(self, data: Array) -> Array: ...

    def finish(self) -> Array: ...


class Resampled:
    """*engine* at *rate*: the interface of `Engine`, with positions in the new rate.

    By soxr where it is installed, else by FFmpeg's swresample. A seek begins early enough that what comes out equals
    a conversion from the start, up to the last bits of a float.
    """

    def __init__(self, engine: Engine | Resampled, rate: int, quality: Quality) -> None:
        if not 1 <= rate <= 1_000_000:
            raise ValueError(f"rate {rate}: expected 1 to 1 000 000 frames a second")
        if quality not in _SOXR:
            raise ValueError(f"quality={quality!r}: expected one of {', '.join(_SOXR)}")
        self._engine = engine
        self._quality: Quality = quality
        self.spec: PcmSpec = PcmSpec(rate, engine.spec.channels, engine.spec.layout)
        common = math.gcd(rate, engine.spec.rate)
        self._up, self._down = rate // common, engine.spec.rate // common
        self._block = np.empty((BLOCK, self.spec.channels), np.float32)
        self._filter: _Filter | None = None
        self._fed = 0  # the engine's position the filter expects next
        self._have = self._block[:0]  # converted, not given yet
        self._drop = 0  # frames of pre-roll still to come out
        self._finished = False
        self.position: int = engine.position * self._up // self._down if engine.demuxer.joined else 0

    @property
    def demuxer(self) -> Demuxer:
        return self._engine.demuxer

    @property
    def variant(self) -> int | None:
        """As `Engine.variant`, of what was converted last."""
        return self._engine.variant

    @property
    def bad(self) -> int:
        return self._engine.bad

    @property
    def gapless(self) -> Gapless | None:
        """In frames of the original rate."""
        return self._engine.gapless

    def frames(self, *, wait: bool = False) -> int | None:
        self._engine.frames(wait=wait)
        return self.known_frames

    @property
    def known_frames(self) -> int | None:
        known = self._engine.known_frames
        return None if known is None else self._converted(known)

    def _converted(self, frames: int) -> int:
        """How many frames *frames* of the original rate become."""
        return -(-frames * self._up // self._down)

    def land(self, position: int, *, exact: bool = True) -> bool:
        """As `Engine.land`."""
        reach = PREROLL * max(1, -(-self._down // self._up))
        turn = max(position * self._down // self._up - reach, 0) // self._down  # whole turns of the ratio: no phase
        start = turn * self._down
        sure = self._engine.land(start, exact=exact)
        self._filter = _make_filter(self._engine.spec, self.spec.rate, self._quality)
        self._fed = start
        self._have = self._block[:0]
        self._drop = position - turn * self._up
        self._finished = False
        self.position = position
        return sure

    def fill(self, out: Array, at: int, count: int) -> int:
        """As `Engine.fill`."""
        if self._filter is None or (self._engine.position != self._fed and not self._finished):
            self.land(self.position)
        known = self.known_frames
        if known is not None:
            count = max(min(count, known - self.position), 0)
        filled, dtype = 0, DTYPES[out.dtype.name]
        while filled < count:
            if not len(self._have) and not self._more():
                break
            take = min(len(self._have), count - filled)
            piece = np.ascontiguousarray(self._have[:take], np.float32)
            interleave((piece.data,), *FORMATS["flt"], self.spec.channels, 0, take, out, at + filled, dtype)
            self._have = self._have[take:]
            filled += take
        if known is not None and filled < count and self._finished:  # a filter may round the last frame away
            missing = min(count - filled, 2)
            out[at + filled : at + filled + missing] = 0
            filled += missing
        self.position += filled
        return filled

    def _more(self) -> bool:
        """Convert the next block; False at the end."""
        while not self._finished:
            assert self._filter is not None
            got = self._engine.fill(self._block, 0, BLOCK)
            self._fed += got
            made = self._filter.feed(self._block[:got]) if got else self._block[:0]
            if got < BLOCK:
                self._finished = True
                rest = self._filter.finish()
                made = np.concatenate((made, rest)) if len(made) else rest
            dropped = min(self._drop, len(made))
            self._drop -= dropped
            self._have = made[dropped:]
            if len(self._have):
                return True
        return False


def _make_filter(spec: PcmSpec, rate: int, quality: Quality) -> _Filter:
    try:
        soxr = importlib.import_module("soxr")
    except ImportError:
        return _Swresample(spec, rate)
    return _Soxr(soxr, spec, rate, quality)


class _Soxr:
    def __init__(self, soxr: Any, spec: PcmSpec, rate: int, quality: Quality) -> None:
        self._stream = soxr.ResampleStream(spec.rate, rate, spec.channels, dtype="float32", quality=_SOXR[quality])
        self._shape = (0, spec.channels)

    def feed(self, data: Array) -> Array:
        made: Array = self._stream.resample_chunk(data)
        return made.reshape(-1, self._shape[1])

    def finish(self) -> Array:
        made: Array = self._stream.resample_chunk(np.empty(self._shape, np.float32), last=True)
        return made.reshape(-1, self._shape[1])


class _Swresample:
    def __init__(self, spec: PcmSpec, rate: int) -> None:
        layout = spec.layout if spec.layout else f"{spec.channels}c"
        self._layout, self._rate, self._channels = layout, spec.rate, spec.channels
        try:
            self._resampler = av.AudioResampler(format="flt", layout=layout, rate=rate)
        except (av.error.FFmpegError, ValueError) as exc:
            raise DecodeError(f"{spec.rate} Hz cannot become {rate} Hz: {exc}") from exc

    def feed(self, data: Array) -> Array:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data).reshape(1, -1), format="flt", layout=self._layout)
        frame.sample_rate = self._rate
        return self._collect(frame)

    def finish(self) -> Array:
        return self._collect(None)

    def _collect(self, frame: Any) -> Array:
        made = [out.to_ndarray().reshape(-1, self._channels) for out in self._resampler.resample(frame)]
        return np.concatenate(made) if made else np.empty((0, self._channels), np.float32)
