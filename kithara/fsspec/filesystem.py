"""The file system itself: names, facts, listings and bytes of URLs, through the cache."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fsspec.asyn import AsyncFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.utils import isfilelike

from ..assets import AssetStore
from ..assets.shared import StoreChoice
from ..errors import EmptyBody, KitharaError, OfflineMiss
from ..file import FileOptions, FileSession, FileSource
from ..io import SyncReaderParams
from ..net import HttpClient, HttpOptions
from ..opening import chosen_store
from ..portal import Portal, portal
from .facts import as_fsspec, bare_url, check_mode, file_info, folder_info
from .files import CHUNK, KitharaFile, KitharaStream, nothing
from .listing import links
from .spans import GAP, Span, each, read_spans, still_reader

OPTIONS = FileOptions(complete=False, query=("*",))
"""Only what is read is fetched, and the whole query tells files apart: services that serve data name it there."""

LISTING_LIMIT = 32 << 20


class KitharaFileSystem(AsyncFileSystem, ChainedFileSystem):
    """Files behind http and https URLs, read through the cache. Paths are URLs.

    Args:
        target_protocol: What the chain goes on with; http or https.
        target_options: What was meant for that: ``headers``.
        fo: The URL the chain was opened with; not needed, as paths are URLs.
        store: The cache: None for the shared default, False to keep nothing, a directory, or an `AssetStore`.
        options: How files are streamed. By default only what is read is fetched, and the whole query of a URL counts.
        http: Limits of the HTTP client, or the client itself; a client made here is shared by all files.
        headers: Sent to the origins of the URLs given, and nowhere else.
        offline: Ask nobody: what is in the cache can be read, the rest is not found.
        asynchronous: Whether the coroutines are awaited by the caller, in whatever loop.
        loop: The loop that synchronous calls run on; fsspec's own by default.
        batch_size: How many files are fetched at a time by calls that take many.

    Raises:
        ValueError: a chain that goes on with anything but http or https.
    """

    protocol = "kithara"
    _strip_tokenize_options = ("fo",)  # one instance serves all URLs

    def __init__(
        self,
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        fo: str | None = None,
        *,
        store: StoreChoice = None,
        options: FileOptions | None = None,
        http: HttpOptions | HttpClient | None = None,
        headers: Mapping[str, str] | None = None,
        offline: bool = False,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(asynchronous=asynchronous, loop=loop, batch_size=batch_size, use_listings_cache=False)
        if target_protocol not in (None, "http", "https"):
            raise ValueError(f"kithara::{target_protocol}: the cache stands before http and https only")
        told = dict(target_options or {})
        self.headers: dict[str, str] = {**told.pop("headers", {}), **(headers or {})}
        if told:
            raise TypeError(f"options for http that Kithara does not know: {', '.join(sorted(told))}")
        self.offline = offline
        self._chosen = store
        options = options or OPTIONS
        http = http if http is not None else options.http
        self._client = http if isinstance(http, HttpClient) else _shared_client(self, http)
        self.options: FileOptions = replace(options, http=self._client)
        self._folders: set[str] = set()

    # ── paths ────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The URL itself: a slash at its end is part of it."""
        return [bare_url(one) for one in path] if isinstance(path, (list, tuple)) else bare_url(path)

    def unstrip_protocol(self, name: str) -> str:
        """The chain that opens *name*."""
        return f"kithara::{bare_url(name)}"

    @classmethod
    def _parent(cls, path: str) -> str:
        parts = urlsplit(bare_url(path))
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").rpartition("/")[0], "", ""))

    # ── facts ────────────────────────────────────────────────────────────────────────────────

    async def _info(self, path: str, **_: object) -> dict[str, Any]:
        """Name, size (None where the server does not tell) and type. A cached file is not asked about.

        Raises:
            FileNotFoundError: the server says so, or it is offline and nothing of it is in the cache.
            KitharaError: it could not be asked.
        """
        url = bare_url(path)
        if url in self._folders or urlsplit(url).path in ("", "/"):
            return folder_info(url)
        with as_fsspec(url):
            if self.options.revalidate == "never":
                with contextlib.suppress(OfflineMiss):
                    async with self._session(url, offline=True) as session:
                        return file_info(url, session.length)
            if self.offline:
                raise OfflineMiss("offline, and not in the cache", url=url, operation="looking")
            try:
                found = await portal().arun(self._client.probe(url, headers=self.headers))
            except EmptyBody:
                return file_info(url, 0)
        if urlsplit(found.url).path == urlsplit(url).path.rstrip("/") + "/":
            self._folders.add(url)
            return folder_info(url)
        return file_info(url, found.representation.total)

    async def _ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        """What the page at *path* links to directly below it; for a file, the file.

        An HTML index, as nginx, Apache and most others make one; sizes are not in it.
        """
        url = bare_url(path)
        if not url.endswith("/") and (info := await self._info(url))["type"] == "file":
            return [info] if detail else [url]
        page = url.rstrip("/") + "/"
        with as_fsspec(url):
            if self.offline:
                raise OfflineMiss("offline, and listings are not kept", url=url, operation="listing")
            got = self._client.get(page, headers=self.headers, limit=LISTING_LIMIT, accept_gzip=True)
            document = await portal().arun(got)
        found = []
        for name in links(document.body.decode("utf-8", "replace"), document.url):
            name = page + name
            if name.endswith("/"):
                self._folders.add(name.rstrip("/"))
                found.append(folder_info(name.rstrip("/")))
            else:
                found.append(file_info(name, None))
        return found if detail else [info["name"] for info in found]

    async def _isdir(self, path: str) -> bool:
        if path.endswith("/"):
            try:
                await self._ls(path)
            except OSError:
                return False
            return True
        return bool(await super()._isdir(path))

    async def _glob(self, path: str, maxdepth: int | None = None, **options: Any) -> Any:
        """As everywhere, but that a ``?`` is a wildcard only where no file has that query."""
        url = bare_url(path)
        if not any(sign in url for sign in "*[") and await self._exists(url):
            return {url: await self._info(url)} if options.get("detail") else [url]
        return await super()._glob(url, maxdepth=maxdepth, **options)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget which URLs were directories. What is in the cache stays; see `FileOptions.revalidate` for that."""
        if path is None:
            self._folders.clear()
        else:
            self._folders.discard(bare_url(path).rstrip("/"))

    # ── bytes ────────────────────────────────────────────────────────────────────────────────

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        """The bytes ``[start, end)`` of *path*; negative ones count from its end."""
        [data] = await self._read_ranges(path, [(start, end)])
        if isinstance(data, BaseException):
            raise data
        return data

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **_: object,
    ) -> list[bytes | BaseException]:
        """Many ranges; those of one file that lie no further apart than *max_gap* (64 KiB) come by one request."""
        if not isinstance(paths, list):
            raise TypeError(f"paths is a {type(paths).__name__}, expected a list")
        spans = list(zip(each(starts, len(paths)), each(ends, len(paths)), strict=True))
        if len(spans) != len(paths):
            raise ValueError(f"{len(paths)} paths, but {len(spans)} ranges")
        places: dict[str, list[int]] = {}
        for place, path in enumerate(paths):
            places.setdefault(path, []).append(place)
        results: list[bytes | BaseException] = [b""] * len(paths)
        turn = asyncio.Semaphore(batch_size or self.batch_size or 128)

        async def read(path: str) -> None:
            async with turn:
                got = await self._read_ranges(path, [spans[place] for place in places[path]], max_gap)
            for place, one in zip(places[path], got, strict=True):
                results[place] = one

        await asyncio.gather(*(read(path) for path in places))
        if on_error != "return":
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        return results

    async def _read_ranges(
        self, path: str, spans: list[Span], max_gap: int | None = None
    ) -> list[bytes | BaseException]:
        """What each range gives, bytes or its error, all of them wanted at the same time."""
        url = bare_url(path)
        try:
            with as_fsspec(url):
                async with self._session(url) as session:
                    with still_reader(session) as reader:
                        return await read_spans(reader, spans, GAP if max_gap is None else max_gap)
        except EmptyBody:
            return [b""] * len(spans)
        except (OSError, KitharaError) as exc:
            return [exc] * len(spans)

    async def _get_file(self, rpath: str, lpath: Any, callback: Callback = DEFAULT_CALLBACK, **_: object) -> None:
        """Copy *rpath* to the path or the file *lpath*. A path holds the whole file or what it held before."""
        url = bare_url(rpath)
        if url in self._folders or url.endswith("/"):
            await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
            return
        with as_fsspec(url):
            if isfilelike(lpath):
                await self._copy(url, lpath, callback)
                return
            part = f"{os.fspath(lpath)}.part"
            with open(part, "wb") as out:  # noqa: ASYNC230 (an empty file is made at once)
                try:
                    await self._copy(url, out, callback)
                except BaseException:
                    os.unlink(part)
                    raise
            os.replace(part, lpath)

    async def _copy(self, url: str, out: Any, callback: Callback) -> None:
        with contextlib.suppress(EmptyBody):
            async with self._session(url) as session:
                callback.set_size(session.length)
                async for chunk in session.stream(CHUNK):
                    await asyncio.to_thread(out.write, chunk)
                    callback.relative_update(len(chunk))

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: object = None,
        cache_type: object = None,
        size: int | None = None,
    ) -> KitharaFile:
        """The bytes as they are served, of a playlist too. fsspec's own caches are not used: there is one already."""
        check_mode(mode, path)
        with as_fsspec(path):
            try:
                session = portal().run(self._opened(path))
                reader = session.source()
                reader.on_close(session.close)
            except EmptyBody:
                reader = nothing()
        return KitharaFile(self, path, reader, block_size)

    async def open_async(self, path: str, mode: str = "rb", **_: object) -> KitharaStream:
        """A file to read in a task: ``await f.read(n)``, ``f.seek``, ``await f.close()``."""
        check_mode(mode, path)
        url = bare_url(path)
        with as_fsspec(url):
            try:
                session = await self._opened(url)
            except EmptyBody:
                return KitharaStream(self, url, nothing(), None)
            return KitharaStream(self, url, session.source(SyncReaderParams(blocking=False)), session)

    # ── what lies below ──────────────────────────────────────────────────────────────────────

    @property
    def _store(self) -> AssetStore | None:
        """The cache; None when nothing is kept."""
        return chosen_store(self._chosen)

    def _session(self, url: str, *, offline: bool | None = None) -> Any:
        return FileSource.open(
            url, self.options, self._store, headers=self.headers, offline=self.offline if offline is None else offline
        )

    async def _opened(self, url: str) -> FileSession:
        session: FileSession = await self._session(url)
        return session


def _shared_client(owner: object, options: HttpOptions | None) -> HttpClient:
    """One client for all files of *owner*, closed with it, or when the portal is."""
    client = HttpClient(options)
    home = portal()
    home.call(home.at_close, client, client.close)
    weakref.finalize(owner, _close_client, client, home).atexit = False
    return client


def _close_client(client: HttpClient, home: Portal) -> None:
    if not home.closed:  # as it is in a forked child, too: the connections are its parent's
        home.call(home.forget, client)
        home.submit(client.close())
