"""The decoder: any frame of a file's true audio, as an array, by position."""

from __future__ import annotations

import math
import operator
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from ..errors import Closed, DecodeError, Interrupted, UnsupportedMedia
from ..media import MediaInfo
from .collect import check_array, collected
from .engine import Engine
from .formats import open_demuxer
from .gapless import Gapless, GaplessMode
from .inputs import Input, open_input
from .pcm import Array, PcmChunk, PcmSpec, as_dtype
from .resample import Quality, Resampled
from .segments import SegmentsDemuxer
from .tags import Picture, Tags
from .track import Demuxer
from .view import ByteView

__all__ = ["Decoder"]


class Decoder:
    """PCM of *what*, from any frame on, the same samples whichever way they are reached.

    Args:
        what: A path, a URL, bytes, or an object with ``read`` and ``seek``.
        dtype: ``"float32"``, ``"float64"``, ``"int16"`` or ``"int32"``.
        gapless: ``"media"`` trims what the container tells, ``"codec"`` the codec's usual priming where it tells
            nothing, ``"off"`` nothing.
        media: A hint for bytes that do not say what they are.
        start: The frame to begin at.
        at: The second to begin at, instead of *start*; ``"advised"``: where a presentation asks to be begun
            (`EXT-X-START`), else 0. Of a presentation nothing is fetched that lies before, but for what primes a codec.
        variant: Of an HLS presentation, the one to decode; None lets the bandwidth decide.

    Opening waits for the header and about one packet. What the decoder opened it closes; a caller's object stays open.
    One thread at a time uses it; `seek` and `close` from another end a read that waits, with `Interrupted` or `Closed`.

    Raises:
        UnsupportedMedia: the body is no audio of a known kind.
        DecodeError: it is damaged.
    """

    def __init__(
        self,
        what: Any,
        dtype: Any = "float32",
        *,
        gapless: GaplessMode = "media",
        media: MediaInfo | None = None,
        start: int = 0,
        at: float | Literal["advised"] | None = None,
        variant: int | None = None,
    ) -> None:
        self._closed = False
        self._lock = threading.Lock()
        self._dtype = as_dtype(dtype)
        self._gapless, self._hint, self._variant = gapless, media, variant
        self._resampling: tuple[tuple[int, Quality], ...] = ()
        if gapless not in ("media", "codec", "off"):
            raise ValueError(f"gapless={gapless!r}: expected 'media', 'codec' or 'off'")
        if at not in (None, "advised") and not (isinstance(at, (int, float)) and 0 <= at < math.inf):
            raise ValueError(f"at={at!r}: expected seconds, 0 or more, or 'advised'")
        self._input = open_input(what, variant)
        try:
            seconds = self._input.advised_start if at == "advised" else at or 0.0
            self._view, demuxer = _demuxer(self._input, media, seconds)
            self._engine: Engine | Resampled = Engine(demuxer, gapless)
        except BaseException as error:
            self._closed = True
            if isinstance(error, DecodeError):
                self._input.name(error)
            if isinstance(error, UnsupportedMedia):
                self._input.reject()
            self._input.close()
            raise
        self._position = self._engine.position  # of a broadcast, where it was joined
        self._exact = True  # how to go there
        self._epoch = 0
        if begin := start if at is None else round(seconds * self.spec.rate):
            self.seek(begin)

    # ── facts ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def spec(self) -> PcmSpec:
        """Rate, channels and layout of the frames."""
        return self._engine.spec

    @property
    def dtype(self) -> np.dtype[Any]:
        """What a sample of the arrays is."""
        return self._dtype

    @property
    def frames(self) -> int | None:
        """How many frames there are, exactly, or None while nobody has told. Never waits for a network."""
        known = self._engine.known_frames
        if known is None:
            with self._using():
                known = self._engine.frames()
        return known

    @property
    def duration(self) -> float | None:
        """Seconds: exact from `frames`, else as the container tells them, else None. Never a guess."""
        _ = self.frames  # looks where looking is free
        return self.known_duration

    @property
    def known_duration(self) -> float | None:
        """`duration` as far as it is known without looking: for a thread beside the one that decodes."""
        frames = self._engine.known_frames
        return self._engine.demuxer.track.told_duration if frames is None else frames / self.spec.rate

    @property
    def gapless(self) -> Gapless | None:
        """What is trimmed at the ends and who told it; None where nothing is told."""
        return self._engine.gapless

    @property
    def source(self) -> Any:
        """What it reads: the file object, or the segments of a presentation, that it was given or has opened."""
        return self._input.reader

    @property
    def media(self) -> MediaInfo:
        """Codec, container and what else was found; `MediaInfo.duration_estimate` is a guess and says so."""
        track, length = self._engine.demuxer.track, self._view.length
        estimate = length * 8 / track.bitrate if length and track.bitrate else None
        return MediaInfo(
            codec=track.codec,
            container=track.container,
            bitrate=track.bitrate,
            profile=track.profile,
            rate=self.spec.rate,
            channels=self.spec.channels,
            duration_estimate=estimate,
        )

    @property
    def tags(self) -> Tags:
        """Title, artist, album and so on by lower-case name. May read, so may wait."""
        return dict(self._tagging()[0])

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Cover art. May read, so may wait."""
        return self._tagging()[1]

    def _tagging(self) -> tuple[Tags, tuple[Picture, ...]]:
        with self._using():
            return self._engine.demuxer.tags()

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded so far; silence stands for them."""
        return self._engine.bad

    @property
    def variant(self) -> int | None:
        """The HLS variant that was decoded last; None for a file."""
        return self._engine.variant

    @property
    def variants(self) -> Sequence[Any]:
        """What `set_variant` chooses from; empty for a file."""
        return self._engine.demuxer.variants

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        """Pin an HLS variant from the next segment on, or let the bandwidth decide."""
        self._engine.demuxer.set_variant(variant)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, frames: int = -1) -> Array:
        """The next *frames* frames, ``(n, channels)`` and C-contiguous; fewer only at the true end, none = the end.

        A negative number reads the rest. Waits for bytes.
        """
        with self._using():
            data = self._take(self._position, frames)
            self._move(len(data))
            return data

    def readinto(self, out: Array) -> int:
        """Fill *out*, ``(n, channels)`` of this decoder's dtype and C-contiguous; returns the frames put in. Waits."""
        check_array(out, self._dtype, self.spec.channels)
        with self._using():
            self._go(self._position)
            count = self._engine.fill(out, 0, len(out))
            self._move(count)
            return count

    def _move(self, count: int) -> None:
        """Be behind *count* frames that were given; of a broadcast they may not be those that were asked for."""
        self._position += count
        if count and self._engine.demuxer.joined:
            self._position = self._engine.position

    def _go(self, position: int) -> None:
        """Bring the engine to *position*."""
        exact, self._exact = self._exact, True
        if self._engine.position != position:
            self._engine.land(position, exact=exact)

    def _take(self, position: int, frames: int) -> Array:
        """A new array of up to *frames* frames (negative: all) from *position*."""
        known = self._engine.frames()
        if known is not None:
            left = max(known - position, 0)
            frames = left if frames < 0 else min(frames, left)
        self._go(position)
        # A header's promise is worth the memory if bytes stand behind it.
        length = self._view.length
        sure = known is not None and length is not None and frames <= max(length, 1) * 1024
        return collected(self._engine, frames, self._dtype, at_once=sure)

    def seek(self, frame: int, *, exact: bool = True) -> int:
        """Go to *frame*; returns it. Past the end is allowed: reads are empty there. The next read waits, not this.

        With *exact* False the place may be off by seconds where the exact one would cost reading all that lies before.
        A read that waits in another thread ends with `Interrupted`.
        """
        frame = operator.index(frame)
        if frame < 0:
            raise ValueError(f"frame {frame} is negative")
        with self._using(interrupt=True):
            self._epoch += 1
            self._position = frame
            self._exact = exact
            return frame

    def read_ahead(self) -> None:
        """Let seeks be followed by fetching ahead at once, as playing wants it, and not by what one read needs."""
        self._view.eager = True

    def interrupt(self) -> None:
        """Make a read that waits, and every later one until the next `seek`, raise `Interrupted`. Any thread."""
        self._view.interrupt()

    def tell(self) -> int:
        """The frame that the next read begins with."""
        return self._position

    def blocks(self, size: int, *, overlap: int = 0) -> Iterator[Array]:
        """Arrays of *size* frames to the end, each beginning with the last *overlap* of the one before; the last
        may be shorter."""
        if size < 1 or not 0 <= overlap < size:
            raise ValueError(f"size {size}, overlap {overlap}: expected 0 <= overlap < size")
        kept: Array | None = None
        while True:
            fresh = self.read(size if kept is None else size - overlap)
            if not len(fresh):
                return
            block = fresh if kept is None or not overlap else np.concatenate((kept, fresh))
            yield block
            if len(block) < size:
                return
            kept = block[len(block) - overlap :].copy()

    def read_range(
        self, *, start: int | None = None, frames: int | None = None, seconds: tuple[float, float] | None = None
    ) -> PcmChunk:
        """*frames* frames from *start*, or those of *seconds* (rounded to frames once); `tell` stays.

        The same samples as in a full decode; fewer where the end comes. Waits for bytes.
        """
        if seconds is not None:
            if start is not None or frames is not None:
                raise TypeError("give start and frames, or seconds")
            rate = self.spec.rate
            start = round(seconds[0] * rate)
            frames = round(seconds[1] * rate) - start
        if start is None or frames is None:
            raise TypeError("give start and frames, or seconds")
        if start < 0 or frames < 0:
            raise ValueError(f"start {start}, frames {frames}: negative")
        with self._using():
            return PcmChunk(data=self._take(start, frames), start=start, rate=self.spec.rate, epoch=self._epoch)

    def __reduce__(self) -> tuple[Any, ...]:
        """A recipe: what it reads (see `kithara.open`), its options and position. No connection, no codec is sent."""
        if self._input.closed:
            raise Closed("the decoder is closed", operation="pickling")
        options = (self._dtype.name, self._gapless, self._hint, self._variant, self._resampling)
        return _made_again, (self._input.reader, *options, self._position)

    def resampled_to(self, rate: int, *, quality: Quality = "hq") -> Decoder:
        """A decoder of the same at *rate* frames a second, by soxr if it is installed, else by swresample.

        Positions of the new one count at its rate. Both read from what this one opened: closing either closes both.
        """
        with self._using():
            other = Decoder.__new__(Decoder)
            other._closed = False
            other._lock = self._lock
            other._dtype, other._view = self._dtype, self._view
            other._engine = Resampled(self._engine, rate, quality)
            other._input = self._input
            other._input.users += 1
            other._gapless, other._hint, other._variant = self._gapless, self._hint, self._variant
            other._resampling = (*self._resampling, (rate, quality))
            other._position, other._exact, other._epoch = other._engine.position, True, self._epoch
            return other

    # ── ownership ─────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _using(self, *, interrupt: bool = False) -> Iterator[None]:
        """One thread at a time; with *interrupt* the one that waits inside is made to leave."""
        if interrupt:
            while not self._lock.acquire(timeout=0.02):
                self._view.interrupt()
            self._view.resume()
        else:
            self._lock.acquire()
        try:
            if self.closed:
                raise Closed("the decoder is closed", operation="decoding")
            yield
        except Interrupted as exc:
            if self._closed:  # that was why
                raise Closed("the decoder was closed", operation="decoding") from exc
            raise
        except DecodeError as exc:
            self._input.name(exc)
            raise
        finally:
            self._lock.release()

    @property
    def closed(self) -> bool:
        """Whether this, or one that reads from the same, was closed."""
        return self._closed or self._input.closed

    def close(self) -> None:
        """Let go of the codec and of what the decoder opened. Idempotent; ends a read that waits elsewhere."""
        if self._closed:
            return
        self._closed = True
        while not self._lock.acquire(timeout=0.02):
            self._view.interrupt()
        try:
            if isinstance(self._view, SegmentsDemuxer):
                self._view.close()
            self._input.close()
        finally:
            self._lock.release()

    def _own(self) -> None:
        """Close the caller's object with this one."""
        self._input.owned = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

    def __del__(self) -> None:
        source = getattr(self, "_input", None)
        if source is None or self.closed:
            return
        source.users -= 1
        if source.owned and not source.users:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<kithara.Decoder closed>"
        spec, track = self.spec, self._engine.demuxer.track
        return f"<kithara.Decoder {track.codec} in {track.container}, {spec.rate} Hz, {spec.channels} channels>"


def _made_again(
    reader: Any,
    dtype: str,
    gapless: GaplessMode,
    media: MediaInfo | None,
    variant: int | None,
    resampling: tuple[tuple[int, Quality], ...],
    position: int,
) -> Decoder:
    """The decoder that was pickled, over a reader that was opened for it and is closed with it."""
    try:
        decoder = Decoder(reader, dtype, gapless=gapless, media=media, variant=variant)
    except BaseException:
        reader.close()
        raise
    decoder._own()
    for rate, quality in resampling:
        decoder = decoder.resampled_to(rate, quality=quality)
    decoder.seek(position)
    return decoder


def _demuxer(source: Input, media: MediaInfo | None, seconds: float) -> tuple[ByteView | SegmentsDemuxer, Demuxer]:
    """What is read, and what is read out of it from *seconds* on."""
    if source.segments is not None:
        segments = SegmentsDemuxer(source.segments, seconds)
        return segments, segments
    view = ByteView(source.reader)
    return view, open_demuxer(view, media or source.hint)
