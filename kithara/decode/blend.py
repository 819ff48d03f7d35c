"""Where one decoder takes over from another: the last frames of the old one blend into the same moments of the new.

A change of codec or rate needs a new decoder, whose coding noise, delay and phase are its own: a cut from one to the
other is a step in the signal, and heard as a click. So while a segment nears its end the last `BLEND` seconds are held
back until it is known who goes on. The same decoder: they are given as they are. Another one: where its first packets
reach back over them, both are weighed.

The two are the same music, so they are correlated, and weights that add up to 1 keep its level: ``old + w * (new -
old)``. (Weights of equal power are for unrelated signals; here they would raise the middle by 3 dB.) *w* is half a
cosine: it leaves 0 and reaches 1 without a corner, which would be a small click itself. Where both say the same, as
lossless codecs do, nothing changes, to the last bit of an integer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .._core.pcm import DTYPES, FORMATS, interleave
from ..errors import Interrupted, KitharaError
from .codec import Frame, RawFrame
from .pcm import Array

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BLEND", "Blended", "Seam"]

BLEND = 0.02
"""Seconds from all of the old to all of the new."""
FLOATS = (FORMATS["flt"][0], FORMATS["dbl"][0])
FULL = 1 << 31
"""What 1.0 is among 32-bit samples."""


class Stage(Protocol):
    """What takes the frames: it counts them, and knows what they are like."""

    raw: int
    channels: int
    format: int
    planar: bool

    @property
    def closing(self) -> bool:
        """Whether another decoder may take over soon."""
        ...

    def adapt(self, frame: Frame) -> tuple[Buffer, ...]: ...


class Blended(RawFrame):
    """Packed samples of a *format* of their own. Its rate is no frame's, so whoever takes it looks at it."""

    __slots__ = ("format",)

    def __init__(self, data: Array, format: int) -> None:
        super().__init__((data.data,), len(data), -1)
        self.format: int = format


class Seam:
    """Between codecs and who takes their frames: makes one stream of what one gives and what the next gives.

    Frames pass, or are held while the stage is closing, or are of a new decoder that has yet to pass the old one's end.

    Attributes:
        reach: Frames that a blend takes; 0 holds nothing.
        crossing: A new decoder's frames are awaited at the old one's end.
    """

    def __init__(self, stage: Stage, reach: int = 0) -> None:
        self.reach = reach
        self.crossing: bool = False
        self._stage = stage
        self._held: deque[Frame] = deque()
        self._count = 0  # frames of audio in them
        self._old: Array | None = None  # the last ones of a decoder that is gone, up to `_stop`
        self._integral = True  # whether they, and what is blended into them, were integers
        self._stop = 0
        self._at = 0  # behind the last frame of a new decoder that is crossing
        self._from = 0  # where it begins to be heard
        self._new = np.empty((0, stage.channels))

    @property
    def clock(self) -> int:
        """The stage's raw clock behind the last frame that came, given or not."""
        return self._at if self.crossing else self._stage.raw + self._count

    def turn(self, frames: int) -> None:
        """Set the clock: what comes begins *frames* later (negative: earlier) than what came would have it."""
        if self.crossing:
            self._at += frames
        else:
            self._stage.raw += frames

    def around(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """*frames* of a whole stream, with what is held at its end, or where it breaks off."""
        try:
            yield from frames
        except Interrupted:
            raise
        except KitharaError:
            yield from self.rest()
            raise
        yield from self.rest()

    def through(self, frames: Iterable[Frame]) -> Generator[Frame, None, Any]:
        """What may be given of *frames* now. Returns what their generator returns."""
        source, stage, held = iter(frames), self._stage, self._held
        while True:
            try:
                frame = next(source)
            except StopIteration as stop:
                return stop.value
            if self.crossing:
                yield from self._crossed(frame)
            elif self.reach and (held or stage.closing):
                held.append(frame)
                self._count += frame.samples
                while self._count - held[0].samples >= self.reach:
                    yield self._next()
            else:
                yield frame

    def release(self) -> Iterator[Frame]:
        """What is held, because the same decoder goes on."""
        while self._held:
            yield self._next()

    def rest(self) -> Iterator[Frame]:
        """All there is, because nothing goes on."""
        yield from self.release()
        if self._old is not None:
            self.crossing = False
            yield self._given()

    def _next(self) -> Frame:
        frame = self._held.popleft()
        self._count -= frame.samples
        return frame

    def keep(self) -> bool:
        """Get ready for another decoder, while the stage still adapts the old one's frames; whether any are held."""
        if self._held:
            self._integral = True
            old, at = np.empty((self._count, self._stage.channels)), 0
            self._stop = self.clock
            while self._held:
                frame = self._next()
                self._copy(frame, 0, frame.samples, old, at)
                at += frame.samples
            self._old = old
        return self._old is not None

    def cross(self, begin: int) -> Iterator[Frame]:
        """Blend into a new decoder's frames, which come from the raw clock *begin* on, if that is before the end."""
        assert self._old is not None
        if begin >= self._stop:
            yield from self.rest()
            return
        self.crossing, self._at = True, begin
        self._new = self._old.copy()  # where the new one says nothing
        self._from = max(begin, self._stop - self.reach, self._stop - len(self._old))

    def _crossed(self, frame: Frame) -> Iterator[Frame]:
        """Take *frame* of the new decoder, which lies before the old one's end or across it."""
        begin, stop = self._at, self._stop
        self._at = behind = begin + frame.samples
        low, high = max(begin, self._from), min(behind, stop)
        if low < high:
            self._copy(frame, low - begin, high - low, self._new, len(self._new) - stop + low)
        if behind < stop:
            return
        assert self._old is not None
        count = stop - self._from
        part = self._old[-count:]
        part += _weights(count) * (self._new[-count:] - part)
        yield self._given()
        self.crossing = False
        if behind > stop:
            self._stage.raw = begin  # who takes frames leaves out what it has
            yield frame

    def _given(self) -> Frame:
        """The old decoder's last frames, as they are by now."""
        data, self._old = self._old, None
        assert data is not None
        if not self._integral:
            return Blended(data, FORMATS["dbl"][0])
        whole = np.clip(np.rint(data * FULL), -FULL, FULL - 1).astype(np.int32)
        return Blended(whole, FORMATS["s32"][0])

    def _copy(self, frame: Frame, start: int, count: int, out: Array, at: int) -> None:
        """Put *count* frames of *frame*, from its own *start* on, into *out* from *at* on."""
        if isinstance(frame, RawFrame) and not frame.planes:
            out[at : at + count] = 0.0
            return
        stage = self._stage
        planes = stage.adapt(frame)
        interleave(planes, stage.format, stage.planar, stage.channels, start, count, out, at, DTYPES["float64"])
        self._integral = self._integral and stage.format not in FLOATS


def _weights(count: int) -> Array:
    """The new decoder's share in each of *count* frames, ``(count, 1)``."""
    turns: Array = (np.arange(count) + 0.5) / count
    return (0.5 - 0.5 * np.cos(np.pi * turns))[:, None]
