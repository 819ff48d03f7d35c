"""PCM in real time: a thread decodes into a ring, an audio callback takes out of it and never waits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from .._core.ring import RingBuffer
from ..errors import Closed
from ..events import EventBus, Subscription
from ..media import MediaInfo
from .decoder import Decoder
from .gapless import GaplessMode
from .happenings import AudioStats, Buffering
from .pcm import Array, PcmChunk, PcmSpec
from .worker import BLOCK, PATIENCE, Turn, Worker

__all__ = ["AudioStream"]

CHUNK = 4096
"""Frames in a chunk, at most."""


class AudioStream:
    """*what* as PCM that is there when it is needed: decoded ahead by a thread, taken out by one reader.

    Args:
        what: As for `Decoder`.
        dtype: As for `Decoder`.
        buffer: Seconds of PCM to keep ahead, at least.
        rate: Frames a second to give, if not the media's own.
        start: Seconds to begin at; None: where a presentation asks to be begun (`EXT-X-START`), else at 0. What lies
            before is not fetched.
        gapless, media, variant: As for `Decoder`.
        events: The bus to tell events on; its own by default.

    Opening waits as a `Decoder` does. One thread reads (`readinto`, `read` or `chunks`); `seek`, `close` and the
    properties may be used from any.
    """

    def __init__(
        self,
        what: Any,
        dtype: Any = "float32",
        *,
        buffer: float = 0.5,
        rate: int | None = None,
        start: float | None = None,
        gapless: GaplessMode = "media",
        media: MediaInfo | None = None,
        variant: int | None = None,
        events: EventBus | None = None,
    ) -> None:
        if not buffer > 0:
            raise ValueError(f"buffer {buffer}: expected seconds")
        at: float | Literal["advised"] = "advised" if start is None else start
        decoder = Decoder(what, dtype, gapless=gapless, media=media, at=at, variant=variant)
        begin = decoder.tell()
        if rate is not None and rate != decoder.spec.rate:
            seconds = begin / decoder.spec.rate
            decoder = decoder.resampled_to(rate)
            begin = decoder.tell() or round(seconds * rate)  # the former of a broadcast
        decoder.read_ahead()
        self.spec: PcmSpec = decoder.spec
        self.dtype: np.dtype[Any] = decoder.dtype
        self._width = self.spec.channels * self.dtype.itemsize
        self._bus = events or EventBus()
        need = max(int(buffer * self.spec.rate), 2 * BLOCK) * self._width
        self._ring = RingBuffer(1 << (need - 1).bit_length())
        self._reported = 0
        self._turn: Turn | None = None
        self._worker = Worker(decoder, self._ring, self._bus, begin)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def readinto(self, out: Array, on_underrun: Literal["silence", "short"] = "silence") -> int:
        """Fill *out*, ``(n, channels)`` or flat, for an audio callback: never waits. Returns the true frames put in.

        Where too few are here, silence fills the rest, or with ``"short"`` the rest is left as it is.
        """
        width = self.spec.channels
        if out.dtype != self.dtype or (out.size % width if out.ndim == 1 else out.shape[1:] != (width,)):
            raise ValueError(f"out is {out.dtype} {out.shape}, expected {self.dtype} (n, {self.spec.channels})")
        if on_underrun == "silence":
            return self._ring.fill(out) // self._width
        if on_underrun != "short":
            raise ValueError(f"on_underrun={on_underrun!r}: expected 'silence' or 'short'")
        return self._ring.read_into(out) // self._width

    def read(self, frames: int) -> Array:
        """The next *frames* frames, ``(n, channels)``; fewer only at the end. Waits.

        Raises:
            KitharaError: what ended the decoding, once everything before it was read.
        """
        self._check()
        if frames < 0:
            raise ValueError(f"frames {frames} is negative")
        out = np.empty((frames, self.spec.channels), self.dtype)
        raw = out.data.cast("B") if frames else memoryview(b"")
        done = 0
        while done < len(raw):
            got = self._ring.read_into(raw[done:])
            done += got
            if not got and not self._wait():
                break
        return out if done == len(raw) else out[: done // self._width].copy()

    def _wait(self) -> bool:
        """Wait for bytes; False at the end."""
        self._check()
        if self._ring.ended and not self._ring.readable:
            self._raise_failure()
            return False
        self._ring.wait_bytes(PATIENCE)
        return True

    def _check(self) -> None:
        if self._worker.closed:
            raise Closed("the audio stream is closed", operation="reading PCM")

    def _raise_failure(self) -> None:
        if (error := self._worker.error) is not None:
            raise error

    def chunks(self) -> Chunks:
        """Chunks of what comes, from here to the end: for a `for` loop in a thread or an `async for` in a task."""
        return Chunks(self)

    def _chunk(self) -> PcmChunk | None:
        """What is here, up to where its kind changes; None when nothing is."""
        ring, turns = self._ring, self._worker.turns
        out = np.empty((CHUNK, self.spec.channels), self.dtype)
        raw = out.data.cast("B")
        epoch, consumed = ring.entered
        before = self._worker.bases.get(epoch, 0) + consumed // self._width
        stop = next((turn.frame for turn in tuple(turns) if turn.epoch == epoch and turn.frame > before), None)
        if stop is not None:
            raw = raw[: (stop - before) * self._width]
        got = ring.read_into(raw) // self._width
        if not got:
            return None
        epoch, consumed = ring.entered
        start = self._worker.bases.get(epoch, 0) + consumed // self._width - got
        fresh = False
        while turns and (turns[0].epoch != epoch or turns[0].frame <= start):
            turn = turns.popleft()
            if turn.epoch == epoch:
                fresh, self._turn = turn.discontinuity or turn.epoch != 0, turn
        variant = self._turn.variant if self._turn is not None else None
        data = out[:got] if got == CHUNK else out[:got].copy()
        return PcmChunk(data=data, start=start, rate=self.spec.rate, epoch=epoch, variant=variant, discontinuity=fresh)

    # ── control ───────────────────────────────────────────────────────────────────────────────────────────────────

    def seek(self, seconds: float, *, exact: bool = True) -> int:
        """Go to *seconds*; the number of the epoch that begins. Never waits; what is in the buffer is stale at once."""
        self._check()
        if not seconds >= 0:
            raise ValueError(f"seconds {seconds}: expected 0 or more")
        return self._worker.seek(round(seconds * self.spec.rate), exact=exact)

    @property
    def source(self) -> Any:
        """What is decoded: the file object, or the segments of a presentation, that it was given or has opened."""
        return self._worker.decoder.source

    @property
    def position(self) -> float:
        """Seconds of what was read."""
        newest = self._ring.epoch
        epoch, consumed = self._ring.entered
        if epoch != newest:
            consumed, epoch = 0, newest
        return (self._worker.bases.get(epoch, 0) + consumed // self._width) / self.spec.rate

    @property
    def buffered(self) -> float:
        """Seconds of PCM that are here."""
        return self._ring.readable / self._width / self.spec.rate

    @property
    def duration(self) -> float | None:
        """Seconds in all, or None while unknown. Never waits."""
        return self._worker.decoder.known_duration

    @property
    def ended(self) -> bool:
        """Whether everything was decoded and read."""
        return self._ring.ended and not self._ring.readable

    @property
    def variants(self) -> Sequence[Any]:
        """What `set_variant` chooses from."""
        return self._worker.decoder.variants

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        """Pin a variant, or let the bandwidth decide; heard once the buffer before it was."""
        self._check()
        self._worker.decoder.set_variant(variant)

    def stats(self) -> AudioStats:
        """The counters so far."""
        worker = self._worker
        return AudioStats(
            underruns=self._ring.underruns,
            buffered=self.buffered,
            decoded=worker.decoded,
            damaged=worker.decoder.damaged,
            epoch=worker.epoch,
            failed=worker.error,
        )

    def events(self) -> Subscription:
        """Events from now on, to iterate in a thread or a task: `Sought`, `VariantSwitched`, `Ended`…"""
        return self._bus.subscribe()

    def report(self) -> None:
        """Publish `Buffering` if there were underruns since the last call; not for an audio callback."""
        count = self._ring.underruns
        if count != self._reported:
            self._reported = count
            self._bus.publish(Buffering(seconds=self.position, underruns=count))

    # ── ownership ─────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """End the decoder's thread. Idempotent; a read that waits elsewhere raises `Closed`."""
        self._worker.stop()
        if threading.current_thread() is not self._worker.thread:
            self._worker.thread.join()
        self._bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

    def __del__(self) -> None:
        worker = getattr(self, "_worker", None)
        if worker is not None and not worker.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            worker.stop()

    def __repr__(self) -> str:
        if self._worker.closed:
            return "<kithara.AudioStream closed>"
        return f"<kithara.AudioStream {self.spec.rate} Hz, {self.spec.channels} channels, at {self.position:.3f} s>"


class Chunks:
    """The chunks of a stream to its end: an iterator, and an async iterator."""

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[PcmChunk]:
        return self

    def __next__(self) -> PcmChunk:
        stream = self._stream
        while (chunk := stream._chunk()) is None:
            if not stream._wait():
                raise StopIteration
        return chunk

    def __aiter__(self) -> AsyncIterator[PcmChunk]:
        return self

    async def __anext__(self) -> PcmChunk:
        stream = self._stream
        loop = asyncio.get_running_loop()
        while (chunk := stream._chunk()) is None:
            settled: asyncio.Future[None] = loop.create_future()

            wake = functools.partial(_wake, loop, settled)
            watchers = stream._worker.watchers
            watchers.add(wake)
            try:
                if (chunk := stream._chunk()) is not None:
                    return chunk
                stream._check()
                if stream._ring.ended and not stream._ring.readable:
                    stream._raise_failure()
                    raise StopAsyncIteration
                await settled
            finally:
                watchers.discard(wake)
        return chunk


def _wake(loop: asyncio.AbstractEventLoop, settled: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop that waited is closed
        loop.call_soon_threadsafe(_settle, settled)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
