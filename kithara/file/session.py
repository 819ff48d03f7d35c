"""The handle on one open file: its bytes as a stream, as a reader for a decoder, its events, and its end."""

from __future__ import annotations

import asyncio
import enum
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .._core.reader import SyncReader
from ..assets import AssetId
from ..errors import Closed
from ..events import EventBus, PhaseChanged, Seeked, Subscription
from ..io import SyncReaderParams, read_chunk
from ..media import MediaInfo
from ..portal import portal
from .range_policy import resolve_seek

if TYPE_CHECKING:
    from .download import Download
    from .source import FileSource


class FilePhase(enum.Enum):
    """How far a file is. Derived from its store."""

    INIT = "init"
    """Nothing has come yet."""
    DOWNLOADING = "downloading"
    COMPLETE = "complete"
    """Everything is here, or nothing more will come."""


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
        download: Download | None = None,
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.asset_id = asset_id
        self.url = url
        self.bus = bus
        self._source = source
        self._download = download
        self._release = release
        self._streams: list[FileStream] = []
        self._closed = False
        self._phase: FilePhase | None = None
        self._watch_phase()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __del__(self) -> None:
        if not self._closed and self._release is not None and not portal().closed:
            self._closed = True
            portal().submit(_release(self._release))

    @property
    def length(self) -> int | None:
        """Bytes in all, or None while unknown."""
        return self._source.length

    @property
    def media(self) -> MediaInfo | None:
        """Codec and container, as far as known."""
        if self._download is not None and self._download.resource.contains_range(0, 1):
            return self._download.look_at_media()
        return self._source.media

    @property
    def status(self) -> str:
        """``"active"``, ``"committed"``, ``"failed"`` or ``"cancelled"``."""
        return self._source.store.status

    @property
    def phase(self) -> FilePhase:
        """How far it is."""
        if self._source.store.status != "active":
            return FilePhase.COMPLETE
        started = self._download is None or self._download.resource.total > 0
        return FilePhase.DOWNLOADING if started else FilePhase.INIT

    def stream(self, chunk: int = 64 << 10) -> FileStream:
        """The bytes from 0 to the true end, as an async iterator with a position of its own.

        A fatal error is raised once; then the iterator is exhausted.
        """
        self._check()
        stream = FileStream(self._reader(blocking=False), chunk)
        self._streams.append(stream)
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
        target = resolve_seek(position, length=store.length, known=store.covered_until(0), url=self.url)
        if not self._streams:
            self.stream()
        self._streams[-1].seek(target)
        self.bus.publish(Seeked(position=target, cached=store.contains_range(target, target + 1)))
        return target

    def source(self, params: SyncReaderParams | None = None) -> SyncReader:
        """A reader for a decoder in another thread. Close it yourself."""
        self._check()
        return SyncReader(self._source, params, media=self.media)

    def keep(self) -> FileSource:
        """The source, which from now on keeps the session open until it is collected."""
        source = self._source
        self._source = weakref.proxy(source)  # the one strong reference is the source's
        source.keeper = self
        return source

    def events(self) -> Subscription:
        """What happens from now on: ``async for event in session.events()``."""
        return self.bus.subscribe()

    async def stop(self) -> None:
        """End it: fetching stops, the rest is kept as a partial. Iterators end. May be repeated."""
        if self._closed:
            return
        self._closed = True
        for stream in self._streams:
            stream.close()
        if self._release is not None:
            await portal().arun(_release(self._release))
        self.bus.close()

    def close(self) -> None:
        """`stop`, for a thread without a loop. On the portal's own thread it only begins to."""
        if self._closed:
            return
        self._closed = True
        for stream in self._streams:
            stream.close()
        if self._release is not None and not portal().closed:
            ending = portal().submit(_release(self._release))
            if not portal().here:
                ending.result()
        self.bus.close()

    def _reader(self, *, blocking: bool) -> SyncReader:
        return SyncReader(self._source, SyncReaderParams(blocking=blocking))

    def _check(self) -> None:
        if self._closed:
            raise Closed("the session is closed", url=self.url)

    def _watch_phase(self) -> None:
        """Publish each phase once, when the store gets there."""
        phase = self.phase
        if phase is self._phase:
            return
        self._phase = phase
        self.bus.publish(PhaseChanged(phase=phase))
        if phase is FilePhase.INIT:
            here = weakref.WeakMethod(self._watch_phase)
            self._source.store.when(0, 1, lambda: _call(here))


class FileStream:
    """The bytes of a session from its position to the true end, as they arrive."""

    def __init__(self, reader: SyncReader, chunk: int) -> None:
        self._reader = reader
        self._chunk = chunk
        self._moved: asyncio.Future[None] | None = None
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._over:
            epoch = self._reader.epoch
            try:
                data = await self._next()
            except BaseException:
                self.close()
                raise
            if self._reader.epoch != epoch and data is None:
                continue
            if data:
                return data
            self.close()
        raise StopAsyncIteration

    async def _next(self) -> bytes | None:
        """The next chunk; None when a seek made waiting for it stale."""
        self._moved = moved = asyncio.get_running_loop().create_future()
        reading = asyncio.ensure_future(read_chunk(self._reader, self._chunk))
        both: list[asyncio.Future[Any]] = [reading, moved]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else None
        finally:
            self._moved = None
            if not reading.done():
                reading.cancel()

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._reader.tell()

    def seek(self, position: int) -> None:
        """Go on at *position*."""
        if self._over:
            raise Closed("the stream is at its end")
        self._reader.seek(position)
        moved = self._moved
        if moved is not None:
            moved.get_loop().call_soon_threadsafe(lambda: None if moved.done() else moved.set_result(None))

    def close(self) -> None:
        """End it."""
        if not self._over:
            self._over = True
            self._reader.close()
            moved = self._moved
            if moved is not None:
                moved.get_loop().call_soon_threadsafe(lambda: None if moved.done() else moved.set_result(None))

    async def aclose(self) -> None:
        """`close`, as async generators have it."""
        self.close()


async def _release(release: Callable[[], Awaitable[None]]) -> None:
    await release()


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    found = method()
    if found is not None:
        found()
