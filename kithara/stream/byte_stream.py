"""A source as an async iterator of bytes with a handle to seek it.

There is no stop command: a stream ends when its consumer leaves or drops it. Handles are not needed: when all are gone,
the bytes flow on to the end, and the end is only ever the true one.
"""

from __future__ import annotations

import asyncio
import collections
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

from .._core.reader import SyncReader
from .._core.store import Store
from ..errors import ChannelClosed, InvalidSeek, SeekNotSupported
from ..events import EventBus, Subscription
from ..io import CHUNK, ChunkReader, SyncReaderParams
from ..prefetch import PrefetchWorker
from ..source import OpenedSource, Source
from .factory import StreamSource
from .message import Control, Data, Event, SeekBytes, StreamMsg

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParams:
    """How a `ByteStream` flows.

    Attributes:
        chunk: Bytes in one piece, at most.
        buffer: Chunks held for a slow consumer; a source that is faster waits.
        offline_mode: Told to the source, as its attribute of this name where it has one; to heed it is its part.
    """

    chunk: int = CHUNK
    buffer: int = 8
    offline_mode: bool = False

    def __post_init__(self) -> None:
        if self.chunk < 1 or self.buffer < 1:
            raise ValueError("chunk and buffer must be at least 1")


class ByteStream(Generic[T]):
    """The bytes of *source* from 0 to the true end, as they arrive: an async iterator, for one task.

    Use it as ``async with`` to have everything ended when the block is left; dropping it ends it, too. A source over a
    store is read from there; any other is fetched ahead by a task on the running loop, which begins with the first use.

    Args:
        source: A source, or one with its events: what `StreamSource.open` or a factory gave.
        events: False: it gives bytes. True: `Data`, `Control` where a seek took effect, and `Event`.

    Raises, while iterated, what the source raises, once; then it is at its end.
    """

    @overload
    def __init__(
        self: ByteStream[bytes],
        source: Source | StreamSource[Source] | OpenedSource[Source],
        params: StreamParams | None = ...,
        *,
        events: Literal[False] = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: ByteStream[StreamMsg],
        source: Source | StreamSource[Source] | OpenedSource[Source],
        params: StreamParams | None = ...,
        *,
        events: Literal[True],
    ) -> None: ...
    def __init__(
        self,
        source: Source | StreamSource[Source] | OpenedSource[Source],
        params: StreamParams | None = None,
        *,
        events: bool = False,
    ) -> None:
        self._source, bus = _parted(source)
        self._params = params or StreamParams()
        self._with_events = events
        self._subscription: Subscription | None = bus.subscribe() if events and bus is not None else None
        self._event: asyncio.Future[object | None] | None = None
        self._controls: collections.deque[SeekBytes] = collections.deque()
        self._chunks: ChunkReader | None = None
        self._worker: PrefetchWorker | None = None
        self._over = False
        self._finalize: weakref.finalize[..., Any] | None = None
        if hasattr(self._source, "offline_mode"):
            self._source.offline_mode = self._params.offline_mode

    @property
    def source(self) -> Source:
        """What is streamed: a `kithara.SyncReader` over it reads beside the stream, with a window of its own."""
        return self._source

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return 0 if self._chunks is None else self._chunks.reader.tell()

    def handle(self) -> StreamHandle:
        """A handle that can seek this stream; as many as you like, and none is needed."""
        return StreamHandle(weakref.ref(self))

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        try:
            message = await self._next()
        except asyncio.CancelledError:
            raise  # of this one wait; the stream can go on
        except BaseException:
            self._end()
            raise
        if message is None:
            self._end()
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream and wait until its task has ended. May be repeated."""
        self._end()
        if self._worker is not None:
            await self._worker.ended()

    def _begin(self) -> ChunkReader:
        if self._chunks is None:
            hasty = SyncReaderParams(blocking=False)
            if isinstance(self._source, Store) or isinstance(getattr(self._source, "store", None), Store):
                reader = SyncReader(self._source, hasty)
            else:
                self._worker = PrefetchWorker(self._source, self._params.buffer, self._params.chunk)
                reader = SyncReader(self._worker.window, hasty)
                self._worker.start()
            self._chunks = ChunkReader(reader, self._params.chunk)
            self._finalize = weakref.finalize(self, _end, self._chunks, self._worker, self._subscription)
            self._finalize.atexit = False
        return self._chunks

    def _end(self) -> None:
        self._over = True
        if self._finalize is not None:
            self._finalize()
        elif self._subscription is not None:
            self._subscription.close()

    async def _next(self) -> T | None:
        """The next item; None at the end."""
        chunks = self._begin()
        while not self._over:
            message = self._take(chunks)
            if message is not None:
                return message  # type: ignore[return-value]
            if self._over:
                break
            await self._changed(chunks)
        return None

    def _take(self, chunks: ChunkReader) -> bytes | StreamMsg | None:
        """What can be given now; None where nothing can, and at the end, which is noted."""
        if self._controls:
            return Control(self._controls.popleft())
        if (event := self._take_event()) is not None:
            return Event(event)
        data = chunks.take()
        if data == b"":
            self._over = True
        return Data(data) if data and self._with_events else data or None

    def _take_event(self) -> object | None:
        if self._subscription is None:
            return None
        if self._event is None:
            return self._subscription.get_nowait()
        if not self._event.done():
            return None
        event, self._event = self._event.result(), None
        if event is None:  # the bus is closed
            self._subscription = None
        return event

    async def _changed(self, chunks: ChunkReader) -> None:
        if self._subscription is None:
            await chunks.changed()
            return
        if self._event is None:
            self._event = asyncio.ensure_future(_first(self._subscription))
        changed: asyncio.Future[Any] = asyncio.ensure_future(chunks.changed())
        both: list[asyncio.Future[Any]] = [changed, self._event]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if changed.done():
                changed.result()
            else:
                changed.cancel()

    def _seek(self, position: int) -> None:
        if self._over:
            raise ChannelClosed("the stream has ended", operation="seeking")
        chunks = self._begin()
        length = chunks.reader.length
        if not getattr(self._source, "supports_seek", True):
            raise SeekNotSupported("the source can only be read forwards", operation="seeking")
        if position < 0 or (length is not None and position > length):
            raise InvalidSeek(f"no position in a stream of {length} bytes: {position}", operation="seeking")
        if self._with_events:
            self._controls.append(SeekBytes(position))
        chunks.seek(position)


class StreamHandle:
    """Commands for a `ByteStream`. Holds no stream alive."""

    def __init__(self, stream: weakref.ref[ByteStream[Any]]) -> None:
        self._stream = stream

    async def seek_bytes(self, position: int) -> None:
        """Let the stream go on at *position*. No byte of the old place is given after this returns.

        Raises:
            InvalidSeek: below 0, or past a known length.
            SeekNotSupported: the source can only be read forwards.
            ChannelClosed: the stream has ended, or its consumer is gone.
        """
        stream = self._stream()
        if stream is None:
            raise ChannelClosed("the stream's consumer is gone", operation="seeking")
        stream._seek(position)


def _parted(source: Source | StreamSource[Source] | OpenedSource[Source]) -> tuple[Source, EventBus | None]:
    if isinstance(source, StreamSource):
        return source.source, source.bus
    if isinstance(source, OpenedSource):
        return source.source, source.events
    return source, None


async def _first(subscription: Subscription) -> object | None:
    """The next event, or None when no more will come."""
    return await anext(subscription, None)


def _end(chunks: ChunkReader, worker: PrefetchWorker | None, subscription: Subscription | None) -> None:
    chunks.close()
    if worker is not None:
        worker.stop()
    if subscription is not None:
        subscription.close()  # and whoever waits for its next event ends
