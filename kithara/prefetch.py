"""Any async source behind a bounded window of memory: fetched ahead of one reader, and nothing stale after a seek.

A worker, a task on the loop that drives the source, asks it for the bytes its window wants, chunk by chunk. A reader in
any thread, or a consumer in a task, takes them out. This is how a user's own source stands behind a `SyncReader`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from ._core.reader import SyncReader as SyncReader
from ._core.reader import adapt_sources_with
from ._core.window import Window
from .errors import Cancelled, ForkedHandle, StreamError, WriterGone
from .io import CHUNK, ChunkReader, SyncReaderParams
from .media import MediaInfo
from .portal import portal
from .source import WaitOutcome

FIRST = 16 << 10
"""Bytes asked first after a seek; each next time twice as many, up to a chunk, so that a slow source is heard early."""


class PrefetchSource(Protocol):
    """What a `PrefetchWorker` needs of a source; every `kithara.source.Source` has it.

    Where the source has them, ``length`` and ``supports_seek`` are heeded too.
    """

    async def wait_range(self, start: int, stop: int) -> WaitOutcome:
        """Wait until ``[start, stop)`` is here, or the end is known to lie before start."""
        ...

    async def read_at(self, offset: int, size: int) -> bytes:
        """1 to *size* bytes from *offset*, after `wait_range` answered READY."""
        ...


@dataclass(frozen=True, slots=True)
class PrefetchedItem:
    """A chunk and the epoch it belongs to. At the end: no bytes, and ``is_eof``."""

    data: bytes
    epoch: int
    is_eof: bool = False


class PrefetchWorker:
    """Fetches a source ahead of one reader: at most *capacity* chunks lie in its window, and one is on its way.

    A seek raises the epoch: what is on its way for an older one is dropped. An error of the source is kept until the
    reader arrives where it happened; a seek elsewhere begins anew.

    Args:
        source: What to fetch. Its methods are called in one task, one at a time; a seek cancels the call under way.
        capacity: Chunks in memory.
        chunk: Bytes asked of the source at once, at most.

    Attributes:
        window: Where the bytes wait for their reader.
    """

    def __init__(self, source: PrefetchSource, capacity: int = 8, chunk: int = CHUNK) -> None:
        if capacity < 1 or chunk < 1:
            raise ValueError(f"capacity={capacity}, chunk={chunk}: expected at least 1")
        self._source = source
        self._chunk = chunk
        self.window: Window = Window(
            capacity * chunk,
            length=getattr(source, "length", None),
            forward_only=not getattr(source, "supports_seek", True),
        )
        self._epoch = 0
        self._size = FIRST
        self._told = asyncio.Event()
        self._asking: tuple[int, asyncio.Task[bytes | None]] | None = None
        self._stop: Callable[[], object] | None = None
        self._task: asyncio.Future[None] | None = None

    def consumer(self) -> PrefetchConsumer:
        """Start fetching on the running loop, for the consumer that is returned. When that is dropped, it ends."""
        consumer = PrefetchConsumer(self, ChunkReader(SyncReader(self.window, _HASTY), self._chunk))
        self.start()
        return consumer

    def start(self) -> Self:
        """Start fetching, on the running loop."""
        loop = asyncio.get_running_loop()
        self._produce(loop, threading.get_ident())
        self._task = task = loop.create_task(self._run())
        self._stop = functools.partial(loop.call_soon_threadsafe, task.cancel)
        return self

    def start_on_portal(self) -> Self:
        """Start fetching on the portal's loop, from a thread that runs no loop."""
        self._produce(portal().loop, portal().thread)
        self._stop = portal().submit(self._run()).cancel
        return self

    def stop(self) -> None:
        """End the fetching soon. From any thread; may be repeated."""
        if self._stop is not None:
            try:
                self._stop()
            except RuntimeError:
                self._stop = None  # the loop is closed, and the worker ended with it

    async def ended(self) -> None:
        """Wait until a worker that was started here and stopped has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _produce(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        demand = functools.partial(loop.call_soon_threadsafe, self._on_demand)
        self.window.produce(demand, look_ahead=self.window.capacity - self.window.behind, thread=thread)

    def _on_demand(self) -> None:
        self._told.set()
        if self._asking is not None:
            epoch, asking = self._asking
            if epoch != self.window.epoch:
                asking.cancel()

    async def _run(self) -> None:
        try:
            while True:
                self._told.clear()
                epoch, offset, room = self.window.claim(self.window.capacity // 4)
                if epoch != self._epoch:
                    self._epoch = epoch
                    self._size = FIRST
                if room:
                    await self._bring(epoch, offset, min(self._size, self._chunk, room))
                    self._size = min(2 * self._size, self._chunk)
                else:
                    await self._told.wait()
        finally:
            with contextlib.suppress(ForkedHandle):  # in a child the collector may end what the parent goes on with
                self.window.fail(WriterGone("whoever brought the bytes has ended", operation="reading"))

    async def _bring(self, epoch: int, offset: int, size: int) -> None:
        """Put the next bytes of the source into the window, or say how it ended, unless *epoch* is over by then."""
        asking = asyncio.get_running_loop().create_task(self._ask(offset, size))
        self._asking = epoch, asking
        try:
            data = await asking
        except asyncio.CancelledError:
            if not asking.done() or (current := asyncio.current_task()) is None or current.cancelling():
                raise
            self.window.fail(Cancelled("the source cancelled its own call", operation="reading"), epoch)
        except Exception as error:  # whatever it is, the reader raises it where it arrives there
            self.window.fail(error, epoch)
        else:
            if data is None:
                self.window.finish(epoch)
            else:
                self.window.put(epoch, offset, data)
        finally:
            self._asking = None

    async def _ask(self, offset: int, size: int) -> bytes | None:
        """1 to *size* bytes from *offset*, or None at the end."""
        length: int | None = getattr(self._source, "length", None)
        if length is not None:
            self.window.set_length(length)
            size = min(size, length - offset)
            if size <= 0:
                return None
        asked = offset, offset + size
        while (outcome := await self._source.wait_range(*asked)) is not WaitOutcome.READY:
            if outcome is WaitOutcome.EOF:
                return None
            if outcome is not WaitOutcome.INTERRUPTED:
                raise StreamError(f"wait_range() gave {outcome!r}, which is no WaitOutcome", range=asked)
            await asyncio.sleep(0)
        data = await self._source.read_at(offset, size)
        if not 0 < len(data) <= size:
            raise StreamError(f"read_at() gave {len(data)} bytes where 1 to {size} were due", range=asked)
        return data


class PrefetchConsumer:
    """The consumer's side of a `PrefetchWorker`, for one task. Dropping it ends the worker."""

    def __init__(self, worker: PrefetchWorker, chunks: ChunkReader) -> None:
        self._chunks = chunks
        self._worker = worker
        weakref.finalize(self, _end, chunks, worker).atexit = False

    @property
    def epoch(self) -> int:
        """Counts the seeks; items carry the one they belong to."""
        return self._chunks.reader.epoch

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._chunks.reader.tell()

    async def next(self) -> PrefetchedItem:
        """The next chunk of the present epoch; at the end an empty one marked so, as often as asked.

        Raises:
            Exception: the source's own, where it happened.
        """
        data = await self._chunks.next()
        return PrefetchedItem(data, self.epoch, is_eof=not data)

    def seek(self, offset: int) -> int:
        """Go on at *offset*: returns the new epoch; no item of an older one comes any more.

        Raises:
            InvalidSeek: *offset* is negative.
            SeekNotSupported: the source can only be read forwards, and those bytes have passed.
        """
        return self._chunks.seek(offset)

    async def close(self) -> None:
        """End the worker and wait until it has ended."""
        _end(self._chunks, self._worker)
        await self._worker.ended()


def adapt(source: Any, params: SyncReaderParams | None) -> tuple[Window, MediaInfo | None, Callable[[], None]]:
    """A window that a worker fills from *source*, what media that is, and how to end it.

    The source is driven by the loop that runs here, whose own thread then must not read (`WouldDeadlock`); where none
    runs, by the portal's.
    """
    if not (callable(getattr(source, "wait_range", None)) and callable(getattr(source, "read_at", None))):
        raise TypeError(f"{type(source).__name__} is neither a store nor a source: it lacks wait_range and read_at")
    params = params or SyncReaderParams()
    worker = PrefetchWorker(source, params.prefetch, params.chunk)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        worker.start_on_portal()
    else:
        worker.start()
    return worker.window, getattr(source, "media", None), worker.stop


def _end(chunks: ChunkReader, worker: PrefetchWorker) -> None:
    chunks.close()
    worker.stop()


_HASTY = SyncReaderParams(blocking=False)

adapt_sources_with(adapt)
