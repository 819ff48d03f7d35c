"""A file behind a URL or path as a source: bytes at offsets, over a store that is filled when somebody waits."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from types import TracebackType
from urllib.parse import quote

from .._core.file_resource import FileResource
from .._core.resource import Resource
from ..assets import AssetId, AssetStore
from ..assets.shared import StoreChoice, named_store
from ..events import EventBus, PhaseChanged, Started
from ..io import wait_range
from ..media import MediaInfo, from_suffix, sniff
from ..portal import portal
from ..source import OpenedSource, WaitOutcome
from ..storage.local import local_path, open_regular
from .download import SNIFF, FilePhase
from .downloads import downloads
from .holdings import agreed
from .options import FileOptions, FileParams
from .request import Request
from .session import FileSession


class FileSource:
    """A file as a `kithara.source.Source`, over the store it arrives in.

    Attributes:
        store: Where the bytes are; a `SyncReader` reads it directly.
        length: Bytes in all, or None while unknown.
        media: Codec and container, as far as known.
        supports_seek: Whether bytes behind can be had again.
        recipe: Opens the same anew, in whatever process; or None.
        keeper: What has to live as long as the source does: the session that fills it, when nobody else holds that.
    """

    def __init__(
        self, store: Resource, media: MediaInfo | None, recipe: Callable[[], FileSource] | None = None
    ) -> None:
        self.store = store
        self.media = media
        self.recipe = recipe
        self.keeper: object = None
        self._offline = False
        self._go_offline: Callable[[], None] | None = None

    def __reduce__(self) -> tuple[Callable[[], FileSource], tuple[()]]:
        """A recipe: URL, options and headers. The process that unpickles it opens the same anew, and waits for that."""
        if self.recipe is None:
            raise TypeError("cannot be pickled: it was not made by FileSource.open, so nobody could open it elsewhere")
        return self.recipe, ()

    @property
    def offline_mode(self) -> bool:
        """Whether nothing more is fetched. Once True it stays: what is here is given, the rest is an `OfflineMiss`.

        Other sessions on the same download share its fate.
        """
        return self._offline

    @offline_mode.setter
    def offline_mode(self, offline: bool) -> None:
        if offline and not self._offline:
            self._offline = True
            if self._go_offline is not None:
                portal().call(self._go_offline)

    @property
    def length(self) -> int | None:
        """Bytes in all, or None while unknown."""
        return self.store.length

    @property
    def supports_seek(self) -> bool:
        """Whether bytes behind a reader can be had again."""
        return self.store.seekable

    async def wait_range(self, start: int, stop: int) -> WaitOutcome:
        """Wait until ``[start, stop)`` is here or cannot come; see `kithara.source.Source`."""
        return await wait_range(self.store, start, stop)

    async def read_at(self, offset: int, size: int) -> bytes:
        """1 to *size* bytes from *offset* that are here."""
        buffer = bytearray(size)
        return bytes(buffer[: self.store.read_at(offset, buffer)])

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        options: FileOptions | None = None,
        store: StoreChoice = None,
        *,
        headers: Mapping[str, str] | None = None,
        offline: bool = False,
        wait: bool = True,
    ) -> Opening:
        """Open *url* (http, https, file: or a path): ``await`` it, or use it as an async context manager.

        Returns, once awaited, a `FileSession` whose length and media are known: after the first answer's headers or a
        cache hit. With *wait* False it does not wait for the answer, and errors come with the first read.

        Args:
            store: The cache, or the directory of one that this process shares; None and False keep nothing.
            headers: Sent to the origin of *url*, and to no other.
            offline: Ask nobody: what is in the cache plays, the rest raises `OfflineMiss`.

        Raises:
            KitharaError: a 404, policy, offline and unhappy disks show here.
        """
        return Opening(os.fspath(url), options or FileOptions(), named_store(store), headers, offline, wait)

    @classmethod
    def open_with_cache(
        cls,
        url: str | os.PathLike[str],
        options: FileOptions | None = None,
        store: StoreChoice = None,
        *,
        headers: Mapping[str, str] | None = None,
        offline: bool = False,
    ) -> Opening:
        """As `open`, with the cache as the point: the seed's name for it."""
        return cls.open(url, options, store, headers=headers, offline=offline)


class Opening:
    """A session on its way: await it, or enter it."""

    def __init__(
        self,
        url: str,
        options: FileOptions,
        store: AssetStore | None,
        headers: Mapping[str, str] | None,
        offline: bool,
        wait: bool,
    ) -> None:
        self._request = Request(url=url, options=options, store=store, headers=headers, offline=offline, wait=wait)
        self._session: FileSession | None = None

    def __await__(self) -> Generator[object, None, FileSession]:
        return self._open().__await__()

    async def __aenter__(self) -> FileSession:
        self._session = await self._open()
        return self._session

    async def opened(self) -> FileSession:
        """The session, for whoever needs a coroutine."""
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.stop()

    async def _open(self) -> FileSession:
        request = self._request
        bus = request.options.bus or EventBus(request.options.event_capacity)
        owns_bus = request.options.bus is None
        path = local_path(request.url)
        if path is None:
            return await portal().arun(open_remote(request, bus, owns_bus))
        resource, media = open_local(path)
        bus.publish(Started(url=path, cached=resource.total))
        bus.publish(PhaseChanged(phase=FilePhase.COMPLETE))
        source = FileSource(resource, media, recipe_of(request))
        return FileSession(source, bus, asset_id=AssetId.named(path), url=path, owns_bus=owns_bus)


def recipe_of(request: Request) -> Callable[[], FileSource]:
    """What opens *request* anew in any process, whatever its working directory. Listeners stay behind."""
    url = os.path.abspath(request.url) if local_path(request.url) == request.url else request.url
    return functools.partial(_opened_anew, replace(request, url=url, options=replace(request.options, bus=None)))


def _opened_anew(request: Request) -> FileSource:
    """The source of a pickled *request*, which keeps its session."""
    options, store, headers = request.options, request.store, request.headers
    opening = Opening(request.url, options, store, headers, request.offline, request.wait)
    return portal().run(opening.opened()).keep()


async def open_remote(request: Request, bus: EventBus, owns_bus: bool) -> FileSession:
    """The session on *request*. Runs on the portal's loop."""
    registry = downloads()
    download = await registry.open(request, bus)
    source = FileSource(download.resource, download.look_at_media(), recipe_of(request))
    source._go_offline = download.go_offline

    async def release() -> None:
        await registry.release(download, bus)

    return FileSession(
        source,
        bus,
        asset_id=request.key.asset_id,
        url=request.url,
        owns_bus=owns_bus,
        download=download,
        release=release,
    )


def open_local(path: str) -> tuple[FileResource, MediaInfo | None]:
    """The whole local file at *path*.

    Raises:
        LocalFileError: it is not there, not readable, or not a regular file.
    """
    fd = open_regular(path)
    resource = FileResource(fd, committed=True)
    resource.label = path
    head = bytearray(SNIFF)
    return resource, agreed(sniff(bytes(head[: resource.read_at(0, head)])), from_suffix(quote(path)))


class File:
    """The factory of file sources: ``await StreamSource.open(kithara.File, url, FileParams())``."""

    @staticmethod
    async def open(url: str, params: FileParams | None = None) -> OpenedSource[FileSource]:
        """Open *url*; the source keeps its session open until it is collected."""
        session = await FileSource.open(url, params)
        return OpenedSource(session.keep(), session.bus)
