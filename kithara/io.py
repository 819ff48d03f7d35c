"""Readers over stores and sources: `SyncReader` for threads, a wait and an iteration over the same store for tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ._core.reader import SyncReader
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
