"""Both ends of a store for tasks: a writer that brings a download in, a reader that takes chunks out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from .._core.reader import SyncReader
from .._core.resource import Resource
from .._core.store import Store
from ..io import CHUNK, ChunkReader, SyncReaderParams

Progress = Callable[[int, int | None], object]


class Body(Protocol):
    """What a `Writer` writes: chunks in order.

    Where it has ``start``, that is the offset of its first byte (a resumed download); ``stop``, the offset behind its
    last, or None where only its end will tell. The bodies of `kithara.HttpClient.stream` have both.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Writer:
    """Writes one body into a store, at the offset where the body starts.

    A body that breaks off leaves what came: a later writer goes on from `missing` with a body that starts there.

    Args:
        store: Where the bytes go.
        response: The body.
    """

    def __init__(self, store: Resource, response: Body) -> None:
        self._store = store
        self._response = response

    @property
    def missing(self) -> int:
        """The first offset whose byte is not here: where a resumed download has to start."""
        return self._store.covered_until(0)

    async def run(self, progress: Progress | None = None) -> int:
        """Write until the body ends, and commit the store when nothing is missing then.

        Args:
            progress: Called after each chunk with the bytes written so far and how many there will be, where known.

        Returns:
            How many bytes were written.

        Raises:
            Exception: what the body raises; StoreError when the store cannot take more.
        """
        start = offset = getattr(self._response, "start", 0)
        stop: int | None = getattr(self._response, "stop", None)
        total = None if stop is None else stop - start
        told = getattr(getattr(self._response, "representation", None), "total", None)
        if told is not None and self._store.length is None:
            self._store.set_length(told)  # readers know the end before it comes
        async for chunk in self._response:
            self._store.write_at(offset, chunk)
            offset += len(chunk)
            if progress is not None:
                progress(offset - start, total)
        length = self._store.length
        if length is None and stop is None:
            length = offset  # the end of a body that did not know it is the end
        if length is not None and self._store.next_gap(0, length) is None:
            self._store.commit(length)
        return offset - start


class Reader:
    """The bytes ``[start, stop)`` of a store as they arrive: ``async for chunk in Reader(store)``.

    Args:
        store: Any store.
        start: Where to begin.
        stop: Where to end; None: at the true end.
        chunk: Bytes in one piece, at most.

    Raises, while iterated, what the store raises.
    """

    def __init__(self, store: Store, start: int = 0, stop: int | None = None, *, chunk: int = CHUNK) -> None:
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"not a range: [{start}, {stop})")
        self._store = store
        self._start = start
        self._stop = stop
        self._chunk = chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with SyncReader(self._store, SyncReaderParams(blocking=False)) as reader:
            reader.seek(self._start)
            if self._stop is not None:
                reader.want(self._start, self._stop)
            chunks = ChunkReader(reader, self._chunk)
            left = self._stop - self._start if self._stop is not None else None
            while left != 0 and (data := await chunks.next()):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                yield data
