"""The handle on one open file: its bytes as a stream, as a reader for a decoder, its events, and its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from .._core.reader import SyncReader
from ..assets import AssetId
from ..errors import Closed
from ..events import EventBus, Seeked, Subscription
from ..io import ChunkReader, SyncReaderParams
from ..media import MediaInfo
from ..portal import portal
from .download import FilePhase
from .range_policy import resolve_seek
from .segments import INDEX_LIMIT, FileSegmentIndex

if TYPE_CHECKING:
    from .download import Download
    from .source import FileSource

CLOSING_TIME = 0.8
"""Seconds that `FileSession.close` waits for what it began; the rest goes on by itself."""


class FileSession:
    """One open file. An async context manager; leaving it, `stop`, or dropping it ends it.

    Methods may be called from any event loop; filling runs elsewhere.

    Attributes:
        asset_id: The asset's stable identity.
        url: The URL or path as given.
        bus: Where its events are published.
    """

    def __init__(
        self,
        source: FileSource,
        bus: EventBus,
        *,
        asset_id: AssetId,
        url: str,
        owns_bus: bool = True,
        download: Download | None = None,
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.asset_id = asset_id
        self.url = url
        self.bus = bus
        self._source = source
        self._kept: weakref.ref[FileSource] | None = None
        self._owns_bus = owns_bus
        self._download = download
        self._release = release
        self._portal = portal()
        self._streams: weakref.WeakSet[FileStream] = weakref.WeakSet()
        self._latest: weakref.ref[FileStream] | None = None
        self._next_start = 0
        self._index: FileSegmentIndex | None = None
        self._index_tried = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session cannot be pickled; send its URL and options, or a reader that `source` gives")

    def __del__(self) -> None:
        self._begin_to_end()

    # ── what it is ───────────────────────────────────────────────────────────────────────────

    @property
    def length(self) -> int | None:
        """Bytes in all, or None while unknown."""
        return self._source.length

    @property
    def media(self) -> MediaInfo | None:
        """Codec and container, as far as known."""
        return self._source.media if self._download is None else self._download.look_at_media()

    @property
    def status(self) -> str:
        """``"active"``, ``"committed"``, ``"failed"`` or ``"cancelled"``."""
        return self._source.store.status

    @property
    def phase(self) -> FilePhase:
        """How far it is."""
        return FilePhase.COMPLETE if self._download is None else self._download.phase

    @property
    def unconfirmed(self) -> bool:
        """Whether it serves bytes of an earlier session that the server has not yet confirmed to be still its."""
        return self._download is not None and self._download.unconfirmed

    @property
    def segment_index(self) -> FileSegmentIndex | None:
        """Where the fragments of a fragmented mp4 are; None until every byte is here, and for everything else.

        Looked for once; that reads the headers of the file's boxes.
        """
        if not self._index_tried and self.status == "committed":
            self._index_tried = True
            media = self.media
            if media is None or media.container in ("mp4", "fmp4", None):
                self._index = FileSegmentIndex.build(self._source.store, limit=INDEX_LIMIT)
        return self._index

    # ── its bytes ────────────────────────────────────────────────────────────────────────────

    def stream(self, chunk: int = 64 << 10) -> FileStream:
        """The bytes from 0 to the true end, as an async iterator with a position of its own.

        A fatal error is raised once; then the iterator is exhausted. Where `seek_bytes` was called while there was no
        stream, it begins there.
        """
        self._check()
        stream = FileStream(self._reader(), chunk)
        if self._next_start:
            stream.seek(self._next_start)
            self._next_start = 0
        self._streams.add(stream)
        self._latest = weakref.ref(stream)
        return stream

    async def seek_bytes(self, position: int) -> int:
        """Let the latest `stream` go on at *position*; returns where that is. Readers of `source` stay where they are.

        Best effort and absolute: below 0 goes to 0; while the length is unknown, past the bytes known so far goes to
        their end. Repeating it changes nothing.

        Raises:
            InvalidSeek: past the known length.
            SeekNotSupported: backwards in a source that can only be read forwards.
        """
        self._check()
        store = self._source.store
        known = store.available_ranges()[:1] or [(0, 0)]
        start, stop = known[0] if not store.seekable or known[0][0] == 0 else (0, 0)
        target = resolve_seek(position, length=store.length, known=(start, stop), url=self.url)
        stream = None if self._latest is None else self._latest()
        if stream is None or stream.over:
            self._next_start = target
        else:
            stream.seek(target)
        self.bus.publish(Seeked(position=target, cached=store.contains_range(target, target + 1)))
        return target

    def source(self, params: SyncReaderParams | None = None) -> SyncReader:
        """A reader for a decoder in another thread. Close it yourself."""
        self._check()
        return SyncReader(self._source, params, media=self.media)

    def keep(self) -> FileSource:
        """The source, which from now on keeps the session open until it is collected."""
        source = self._source if self._kept is None else self._kept()
        if source is None:
            raise Closed("the source was given away and let go", url=self.url)
        if self._kept is None:
            self._kept = weakref.ref(source)
            self._source = weakref.proxy(source)  # the one strong reference is the source's
            source.keeper = self
        return source

    def events(self) -> Subscription:
        """What happens from now on: ``async for event in session.events()``."""
        return self.bus.subscribe()

    # ── its end ──────────────────────────────────────────────────────────────────────────────

    async def stop(self) -> None:
        """End it: fetching stops, the rest is kept as a partial. Iterators end. May be repeated."""
        ending = self._begin_to_end()
        if ending is not None:
            await asyncio.wrap_future(ending)

    def close(self) -> None:
        """`stop`, for a thread without a loop. Waits at most 0.8 s, and in the portal's own thread not at all."""
        ending = self._begin_to_end()
        if ending is not None and not self._portal.here:
            concurrent.futures.wait([ending], timeout=CLOSING_TIME)

    async def discard(self) -> None:
        """Remove it from the cache, because it is not what it should be. The session stays open."""
        if self._download is not None:
            await self._portal.arun(self._download.discard())

    def _begin_to_end(self) -> concurrent.futures.Future[None] | None:
        """Begin to end; what to wait for, or None when there is nothing or it has begun already."""
        if self._closed:
            return None
        self._closed = True
        for stream in list(self._streams):
            stream.close()
        bus = self.bus if self._owns_bus else None
        if self._release is None or self._portal.closed:
            if bus is not None:
                bus.close()
            return None
        return self._portal.submit(_end(self._release, bus))

    def _reader(self) -> SyncReader:
        return SyncReader(self._source, SyncReaderParams(blocking=False))

    def _check(self) -> None:
        if self._closed:
            raise Closed("the session is closed", url=self.url)


class FileStream:
    """The bytes of a session from its position to the true end, as they arrive. Dropping it ends it."""

    def __init__(self, reader: SyncReader, chunk: int) -> None:
        self._chunks = ChunkReader(reader, chunk)
        self.over: bool = False
        """Whether it is exhausted or closed."""

    def __del__(self) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.over:
            try:
                data = await self._chunks.next()
            except BaseException as exc:
                if self.over and isinstance(exc, Closed):
                    raise StopAsyncIteration from exc
                self.close()
                raise
            if data:
                return data
            self.close()
        raise StopAsyncIteration

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._chunks.reader.tell()

    def seek(self, position: int) -> None:
        """Go on at *position*.

        Raises:
            Closed: it is exhausted.
        """
        if self.over:
            raise Closed("the stream is at its end")
        self._chunks.seek(position)

    def close(self) -> None:
        """End it."""
        if not self.over:
            self.over = True
            self._chunks.close()

    async def aclose(self) -> None:
        """`close`, as async generators have it."""
        self.close()


async def _end(release: Callable[[], Awaitable[None]], bus: EventBus | None) -> None:
    try:
        await release()
    finally:
        if bus is not None:  # only now, so that listeners hear how it ended
            bus.close()
