"""Readers over stores and sources: `SyncReader` for threads, a wait and an iteration over the same store for tasks."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ._core.reader import SyncReader as SyncReader
from ._core.store import Store
from .errors import WaitTimeout
from .source import WaitOutcome

CHUNK = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReaderParams:
    """How a `SyncReader` reads.

    Attributes:
        prefetch: Chunks fetched ahead from a source that is no store.
        chunk: Bytes in each of them.
        blocking: False: no read waits; None means that nothing is here yet.
    """

    prefetch: int = 8
    chunk: int = CHUNK
    blocking: bool = True

    def __post_init__(self) -> None:
        if self.prefetch < 1 or self.chunk < 1:
            raise ValueError("prefetch and chunk must be at least 1")


async def wait_range(store: Store, start: int, stop: int) -> WaitOutcome:
    """`Store.wait_range` for a task: waits without holding up the loop, and is cancelled like any other wait."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return store.wait_range(start, stop, 0)
        except WaitTimeout:
            settled: asyncio.Future[None] = loop.create_future()
            watch = store.when(start, stop, lambda: _settle(loop, settled))  # noqa: B023
            try:
                await settled
            finally:
                store.forget(watch)


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(None))
    except RuntimeError:
        return  # the loop that waited is closed


class ChunkReader:
    """The bytes of a non-blocking *reader* for one task, chunk by chunk. Its `seek` moves a waiting `next` along.

    `seek`, `close` and `wake` may be called from any thread.
    """

    def __init__(self, reader: SyncReader, chunk: int = CHUNK) -> None:
        self.reader = reader
        self._chunk = chunk
        self._wake: Callable[[], None] | None = None

    def take(self) -> bytes | None:
        """What is here now, at most a chunk; ``b""`` at the end, None when nothing is."""
        return self.reader.read1(self._chunk)

    async def changed(self) -> None:
        """Wait until there may be something to take: bytes, the end, an error, a seek."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._wake = wake = functools.partial(_settle, loop, future)
        position = self.reader.tell()
        watch = self.reader.store.when(position, position + 1, wake)
        try:
            if position == self.reader.tell():  # no seek came before there was something to wake
                await future
        finally:
            self._wake = None
            self.reader.store.forget(watch)

    async def next(self) -> bytes:
        """The next chunk, at least a byte of it; ``b""`` at the end."""
        while (data := self.take()) is None:
            await self.changed()
        return data

    def seek(self, position: int) -> int:
        """Go on at *position*; the reader's epoch from now on."""
        self.reader.seek(position)
        self.wake()
        return self.reader.epoch

    def wake(self) -> None:
        """Let `changed` return."""
        if (wake := self._wake) is not None:
            wake()

    def close(self) -> None:
        """Close the reader; a waiting `next` raises `kithara.errors.Closed`."""
        self.reader.close()
        self.wake()


async def read_chunk(reader: SyncReader, size: int = CHUNK) -> bytes:
    """What is at the position of a non-blocking *reader*, waited for in a task; ``b""`` at the end.

    A seek of the reader meanwhile makes it wait for the new place.
    """
    while True:
        data = reader.read1(size)
        if data is not None:
            return data
        position = reader.tell()
        await wait_range(reader.store, position, position + 1)


async def iterate(reader: SyncReader, size: int = CHUNK) -> AsyncIterator[bytes]:
    """The bytes of a non-blocking *reader* from its position to the true end."""
    while chunk := await read_chunk(reader, size):
        yield chunk
