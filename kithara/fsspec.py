"""fsspec's face of the cache: whatever opens files through fsspec opens them through Kithara.

::

    pandas.read_csv("kithara::https://host/table.csv")
    fsspec.open("kithara::https://host/song.flac")
    fsspec.filesystem("kithara").cat_ranges([url, url], [0, 70_000], [100, 80_000])

Read-only. What was fetched once is in the cache, and is never fetched again; what is read on is fetched ahead.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import html.parser
import io
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit, urlunsplit

from fsspec.asyn import AbstractAsyncStreamedFile, AsyncFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.spec import AbstractBufferedFile
from fsspec.utils import isfilelike

from ._core.reader import SyncReader
from ._core.resource import MemoryResource
from .assets import AssetStore
from .errors import EmptyBody, HttpStatus, KitharaError, OfflineMiss, redact_url
from .file import FileOptions, FileSession, FileSource
from .io import SyncReaderParams, read_chunk, wait_range
from .net import HttpClient, HttpOptions
from .opening import StoreChoice, chosen_store
from .portal import portal

__all__ = ["KitharaFile", "KitharaFileSystem", "KitharaStream"]

OPTIONS = FileOptions(complete=False, query=("*",))
"""Only what is read is fetched, and the whole query tells files apart: services that serve data name it there."""

CHUNK = 1 << 20
GAP = 64 << 10
"""Ranges of one file no further apart than this are asked for as one: a round trip costs more than the bytes."""

LISTING_LIMIT = 32 << 20
ENDLESS = 1 << 62

Span = tuple[int | None, int | None]


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
        self.headers = {**told.pop("headers", {}), **(headers or {})}
        if told:
            raise TypeError(f"options for http that Kithara does not know: {', '.join(sorted(told))}")
        self.offline = offline
        self._chosen = store
        options = options or OPTIONS
        http = http if http is not None else options.http
        self._client = http if isinstance(http, HttpClient) else _shared_client(self, http)
        self.options = replace(options, http=self._client)
        self._folders: set[str] = set()

    # ── paths ────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The URL itself: a slash at its end is part of it."""
        return [_url(one) for one in path] if isinstance(path, (list, tuple)) else _url(path)

    def unstrip_protocol(self, name: str) -> str:
        """The chain that opens *name*."""
        return f"kithara::{_url(name)}"

    @classmethod
    def _parent(cls, path: str) -> str:
        parts = urlsplit(_url(path))
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").rpartition("/")[0], "", ""))

    # ── facts ────────────────────────────────────────────────────────────────────────────────

    async def _info(self, path: str, **_: object) -> dict[str, Any]:
        """Name, size (None where the server does not tell) and type. A cached file is not asked about.

        Raises:
            FileNotFoundError: the server says so, or it is offline and nothing of it is in the cache.
            KitharaError: it could not be asked.
        """
        url = _url(path)
        if url in self._folders or urlsplit(url).path in ("", "/"):
            return _folder(url)
        with _as_fsspec(url):
            if self.options.revalidate == "never":
                with contextlib.suppress(OfflineMiss):
                    async with self._session(url, offline=True) as session:
                        return _file(url, session.length)
            if self.offline:
                raise OfflineMiss("offline, and not in the cache", url=url, operation="looking")
            try:
                found = await portal().arun(self._client.probe(url, headers=self.headers))
            except EmptyBody:
                return _file(url, 0)
        if urlsplit(found.url).path == urlsplit(url).path.rstrip("/") + "/":
            self._folders.add(url)
            return _folder(url)
        return _file(url, found.representation.total)

    async def _ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        """What the page at *path* links to directly below it; for a file, the file.

        An HTML index, as nginx, Apache and most others make one; sizes are not in it.
        """
        url = _url(path)
        if not url.endswith("/") and (info := await self._info(url))["type"] == "file":
            return [info] if detail else [url]
        page = url.rstrip("/") + "/"
        with _as_fsspec(url):
            if self.offline:
                raise OfflineMiss("offline, and listings are not kept", url=url, operation="listing")
            got = self._client.get(page, headers=self.headers, limit=LISTING_LIMIT, accept_gzip=True)
            document = await portal().arun(got)
        found = []
        for name in _links(document.body.decode("utf-8", "replace"), document.url):
            name = page + name
            if name.endswith("/"):
                self._folders.add(name.rstrip("/"))
                found.append(_folder(name.rstrip("/")))
            else:
                found.append(_file(name, None))
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
        url = _url(path)
        if not any(sign in url for sign in "*[") and await self._exists(url):
            return {url: await self._info(url)} if options.get("detail") else [url]
        return await super()._glob(url, maxdepth=maxdepth, **options)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget which URLs were directories. What is in the cache stays; see `FileOptions.revalidate` for that."""
        if path is None:
            self._folders.clear()
        else:
            self._folders.discard(_url(path).rstrip("/"))

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
        spans = list(zip(_each(starts, len(paths)), _each(ends, len(paths)), strict=True))
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
        url = _url(path)
        try:
            with _as_fsspec(url):
                async with self._session(url) as session:
                    with _reader(session) as reader:
                        return await _read_spans(reader, spans, GAP if max_gap is None else max_gap)
        except EmptyBody:
            return [b""] * len(spans)
        except (OSError, KitharaError) as exc:
            return [exc] * len(spans)

    async def _get_file(self, rpath: str, lpath: Any, callback: Callback = DEFAULT_CALLBACK, **_: object) -> None:
        """Copy *rpath* to the path or the file *lpath*. A path holds the whole file or what it held before."""
        url = _url(rpath)
        if url in self._folders or url.endswith("/"):
            await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
            return
        with _as_fsspec(url):
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
        _check_mode(mode, path)
        with _as_fsspec(path):
            try:
                session = portal().run(self._opened(path))
                reader = session.source()
                reader.on_close(session.close)
            except EmptyBody:
                reader = _nothing()
        return KitharaFile(self, path, reader, block_size)

    async def open_async(self, path: str, mode: str = "rb", **_: object) -> KitharaStream:
        """A file to read in a task: ``await f.read(n)``, ``f.seek``, ``await f.close()``."""
        _check_mode(mode, path)
        url = _url(path)
        with _as_fsspec(url):
            try:
                session = await self._opened(url)
            except EmptyBody:
                return KitharaStream(self, url, _nothing(), None)
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


class KitharaFile(AbstractBufferedFile):
    """A file of a `KitharaFileSystem`: a `SyncReader` with lines, and with what fsspec's users look at.

    Attributes:
        reader: The reader. It blocks, reads ahead, and belongs to the file.
        size: Bytes in all, or None where the server does not tell.
    """

    def __init__(self, fs: KitharaFileSystem, path: str, reader: SyncReader, block_size: int | None = None) -> None:
        self.fs, self.path, self.mode, self.reader = fs, path, "rb", reader
        self.blocksize = block_size or fs.blocksize
        self.autocommit, self.cache = True, None
        self.kwargs: dict[str, Any] = {}
        self._lines = io.BufferedReader(reader)
        self.details = _file(path, reader.length)
        self.closed = False

    @property
    def loc(self) -> int:
        """The offset of the next byte."""
        return self._lines.tell()

    def tell(self) -> int:
        return self._lines.tell()

    def seek(self, loc: int, whence: int = 0) -> int:
        return self._lines.seek(loc, whence)

    def read(self, length: int | None = -1) -> bytes:
        """*length* bytes, all of them unless the end comes first."""
        return self._lines.read(length)

    def read1(self, length: int = -1) -> bytes:
        return self._lines.read1(length)

    def readinto(self, b: Any) -> int:
        return self._lines.readinto(b)

    def readinto1(self, b: Any) -> int:
        return self._lines.readinto1(b)

    def readline(self, size: int | None = -1) -> bytes:
        return self._lines.readline(size)

    def readlines(self, hint: int = -1) -> list[bytes]:
        return self._lines.readlines(hint)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        found: bytes = super().readuntil(char, blocks or 64 << 10)
        return found

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._lines.close()


class KitharaStream(AbstractAsyncStreamedFile):
    """A file of a `KitharaFileSystem` for a task. Closing it is awaited."""

    def __init__(self, fs: KitharaFileSystem, path: str, reader: SyncReader, session: FileSession | None) -> None:
        self.fs, self.path, self.mode = fs, path, "rb"
        self.details = _file(path, reader.length)
        self._reader = reader
        self._session = session
        self.closed = False

    def tell(self) -> int:
        return self._reader.tell()

    def seek(self, loc: int, whence: int = 0) -> int:
        return self._reader.seek(loc, whence)

    async def read(self, length: int | None = -1) -> bytes:
        """*length* bytes, all of them unless the end comes first; everything if negative."""
        left = ENDLESS if length is None or length < 0 else length
        pieces = []
        with _as_fsspec(self.path):
            while left > 0 and (piece := await read_chunk(self._reader, min(left, CHUNK))):
                pieces.append(piece)
                left -= len(piece)
        return b"".join(pieces)

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._reader.close()
            if self._session is not None:
                await self._session.stop()

    def __del__(self) -> None:
        if not self.closed:
            self._reader.close()  # the session ends with its last reference


# ── pieces ───────────────────────────────────────────────────────────────────────────────────


def _url(path: str | os.PathLike[str]) -> str:
    """The URL that *path* is, bare."""
    return os.fspath(path).removeprefix("kithara::").removeprefix("kithara://")


@contextlib.contextmanager
def _as_fsspec(url: str) -> Iterator[None]:
    """Say "not there" and "not allowed" as everybody who works with files expects it."""
    try:
        yield
    except HttpStatus as exc:
        shown = redact_url(url)
        if exc.status in (404, 410):
            raise FileNotFoundError(errno.ENOENT, str(exc), shown) from exc
        if exc.status in (401, 403):
            raise PermissionError(errno.EACCES, str(exc), shown) from exc
        raise


@contextlib.contextmanager
def _reader(session: FileSession) -> Iterator[SyncReader]:
    """A reader that waits for nothing and wants nothing by itself."""
    reader = session.source(SyncReaderParams(blocking=False))
    try:
        reader.want(0, 0)
        yield reader
    finally:
        reader.close()


def _nothing() -> SyncReader:
    """A reader of an empty file."""
    store = MemoryResource(0)
    store.commit()
    return SyncReader(store)


async def _read_spans(reader: SyncReader, spans: list[Span], gap: int) -> list[bytes | BaseException]:
    if reader.length is None and any(end is None or min(start or 0, end) < 0 for start, end in spans):
        await wait_range(reader.store, 0, ENDLESS)
    length = ENDLESS if reader.length is None else reader.length
    wanted = [slice(start, end).indices(length)[:2] for start, end in spans]
    waits = (wait_range(reader.store, start, stop) for start, stop in _merged(wanted, gap))
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    failure = next((outcome for outcome in outcomes if isinstance(outcome, BaseException)), None)
    return [
        failure if failure is not None and not reader.contains_range(start, stop) else _take(reader, start, stop)
        for start, stop in wanted
    ]


def _merged(ranges: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """The ranges in order, those that lie no further apart than *gap* as one; empty ones left out."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(one for one in ranges if one[0] < one[1]):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _take(reader: SyncReader, start: int, stop: int) -> bytes:
    """The bytes of a range that is here."""
    if start >= stop:
        return b""
    reader.want(start, stop)  # before the seek: nothing is fetched beyond it at any moment
    reader.seek(start)
    return reader.read(stop - start)


def _shared_client(owner: object, options: HttpOptions | None) -> HttpClient:
    """One client for all files of *owner*, closed with it, or when the portal is."""
    client = HttpClient(options)
    home = portal()
    home.call(home.at_close, client, client.close)
    weakref.finalize(owner, _close_client, client, os.getpid()).atexit = False
    return client


def _close_client(client: HttpClient, pid: int) -> None:
    if os.getpid() != pid:
        return  # a forked child: the connections are its parent's
    home = portal()
    if not home.closed:
        home.call(home.forget, client)
        home.submit(client.close())


def _each(values: Any, count: int) -> list[int | None]:
    return list(values) if isinstance(values, Iterable) else [values] * count


def _check_mode(mode: str, path: str) -> None:
    if mode not in ("rb", "r"):
        raise io.UnsupportedOperation(f"mode {mode!r} on {redact_url(path)}: Kithara reads, it does not write")


def _file(name: str, size: int | None) -> dict[str, Any]:
    return {"name": name, "size": size, "type": "file"}


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


class _Anchors(html.parser.HTMLParser):
    """Gathers the targets of a page's links."""

    def __init__(self, found: Callable[[str], object]) -> None:
        super().__init__()
        self._found = found

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if tag == "a" and name == "href" and value:
                self._found(value)


def _links(page: str, url: str) -> list[str]:
    """The names, with a slash for folders, of what the *page* at *url* links to directly below itself."""
    base = urldefrag(url).url.partition("?")[0]
    base = base[: base.rfind("/") + 1]
    names: dict[str, None] = {}

    def found(target: str) -> None:
        try:
            whole = urlsplit(urljoin(url, target))
        except ValueError:
            return  # no URL
        bare = urlunsplit((whole.scheme, whole.netloc, whole.path, "", ""))
        name = bare.removeprefix(base)
        if name != bare and name.strip("/") and "/" not in name[:-1]:
            names[name] = None

    _Anchors(found).feed(page)
    return list(names)
