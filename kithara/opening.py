"""What → source: one place that knows everything that can be opened, for `open`, `load`, the decoder and the faces."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from ._core.reader import SyncReader
from .assets import AssetStore
from .assets.shared import StoreChoice, named_store, shared_store
from .errors import NetTimeout
from .events import EventBus, Subscription
from .file import FileOptions, FileSource
from .file.options import Revalidate
from .file.request import Request
from .io import SyncReaderParams
from .media import MediaInfo, from_suffix
from .net import HttpClient, HttpOptions
from .portal import portal
from .prefetch import PrefetchWorker as _PrefetchWorker  # noqa: F401  a user's source stands behind SyncReader by it

if TYPE_CHECKING:
    from .hls import HlsSegments, HlsSession

T = TypeVar("T")

What = str | os.PathLike[str]

_log = logging.getLogger("kithara")


def chosen_store(store: StoreChoice) -> AssetStore | None:
    """The cache that *store* asks for: None the shared default, a directory the one shared there, False none."""
    return shared_store() if store is None else named_store(store)


def open(
    what: What,
    *,
    store: StoreChoice = None,
    options: FileOptions | None = None,
    http: HttpOptions | HttpClient | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    offline: bool = False,
    blocking: bool = True,
    revalidate: Revalidate | None = None,
    on_event: Callable[[object], object] | None = None,
    variant: int | None = None,
) -> SyncReader:
    """A seekable binary file over *what* while it is still arriving.

    Args:
        what: An http or https URL, a path, or a file: URL. Of an HLS playlist (by suffix or type) it is the
            bytes of one variant: decrypted, init sections and segments one behind the other.
        store: The cache: None for the shared default, a directory for the one that this process shares there, False to
            keep nothing, or an `AssetStore` of your own.
        options: How the file is streamed.
        http: Limits of the HTTP client, or the client itself.
        headers: Sent to the origin of the URL, and to no other.
        timeout: Seconds that opening may take.
        offline: Ask nobody: what is in the cache plays, the rest raises `OfflineMiss`.
        blocking: False: nothing waits, opening neither: what goes wrong is raised by the first read, and reads answer
            None when nothing is here.
        revalidate: ``"never"``, ``"always"``, or seconds after which a cached file is asked about.
        on_event: Called with every event, in a thread of its own.
        variant: Which variant of an HLS playlist, counted as its session does; None: the one to begin with.

    Returns:
        A `SyncReader`, after the validated headers of the first answer or a cache hit. Its ``length`` and ``media`` are
        known then, unless the server does not tell the length. It pickles as these arguments and its position: another
        process opens it anew, headers (and what is secret in them) included, events not.

    Raises:
        KitharaError: a 404, a forbidden scheme or host, `OfflineMiss`, a local path that is not there...
    """
    options = options or FileOptions()
    if http is not None:
        options = replace(options, http=http)
    if revalidate is not None:
        options = replace(options, revalidate=revalidate)
    asked = _Asked(os.fspath(what), store, options, headers, timeout, offline, blocking)
    listening = None
    if on_event is not None:
        bus = options.bus or EventBus(options.event_capacity)
        asked = replace(asked, options=replace(options, bus=bus))
        listening = _listen(bus, on_event)
    try:
        reader = None if asked.names_a_playlist else _open_file(asked)
        if reader is None:
            reader = _open_variant(asked, variant)
        elif is_playlist(reader.media):
            reader.close()
            reader = _open_variant(asked, variant)
    except BaseException:
        if listening is not None:
            listening.close()
        raise
    if listening is not None:
        reader.on_close(listening.close)
    # Whoever listens stays here; what a pickled reader does elsewhere, it tells nobody.
    reader.recipe = functools.partial(
        open,
        _anywhere(os.fspath(what)),
        store=store,
        options=replace(options, bus=None),
        headers=None if headers is None else dict(headers),
        timeout=timeout,
        offline=offline,
        blocking=blocking,
        variant=variant,
    )
    return reader


def open_media(
    what: What,
    *,
    variant: int | None = None,
    store: StoreChoice = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    offline: bool = False,
) -> SyncReader | HlsSegments:
    """What a decoder eats: a reader over a file, or the segments of an HLS presentation. Close it.

    Args:
        variant: The only variant of a presentation to be played; None: what the network allows.
        store, headers, timeout, offline: As for `open`.
    """
    asked = _Asked(os.fspath(what), store, FileOptions(), headers, timeout, offline, True)
    if not asked.names_a_playlist:
        reader = open(what, store=store, headers=headers, timeout=timeout, offline=offline)
        if not is_playlist(reader.media):
            return reader
        reader.close()
    return _open_presentation(asked, "auto" if variant is None else variant).segment_source()


def forget(what: What, *, store: StoreChoice = None, headers: Mapping[str, str] | None = None) -> None:
    """Drop *what* from the cache, because it is not what it should be: a sign-in page where audio was expected.

    Readers keep the bytes they have. The cache is found as by `open`; a local file is left alone.
    """
    asked = _Asked(os.fspath(what), store, FileOptions(), headers, None, False, True)
    if (cache := asked.cache) is not None:
        cache.remove_resource(Request(url=asked.what, options=asked.options, store=cache, headers=headers).key)


def is_playlist(media: MediaInfo | None) -> bool:
    """Whether *media* says that a body is an HLS playlist."""
    return media is not None and media.container == "hls"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a call of `open` asked for."""

    what: str
    store: StoreChoice
    options: FileOptions
    headers: Mapping[str, str] | None
    timeout: float | None
    offline: bool
    blocking: bool

    def __post_init__(self) -> None:
        if not isinstance(self.what, str):
            raise TypeError(f"cannot open {type(self.what).__name__}: expected a URL or a path of text")
        if self.timeout is not None and not self.timeout > 0:
            raise ValueError(f"timeout={self.timeout!r}: expected seconds, more than 0, or None")

    @property
    def is_remote(self) -> bool:
        return self.what.lower().startswith(("http:", "https:"))

    @property
    def names_a_playlist(self) -> bool:
        return self.is_remote and is_playlist(from_suffix(self.what))

    @property
    def cache(self) -> AssetStore | None:
        """The cache; not touched for a local file."""
        return chosen_store(self.store) if self.is_remote else None


def _open_file(asked: _Asked) -> SyncReader:
    opening = FileSource.open(
        asked.what, asked.options, asked.cache, headers=asked.headers, offline=asked.offline, wait=asked.blocking
    )
    session = portal().run(_within(opening, asked.timeout, asked.what))
    reader = session.source(SyncReaderParams(blocking=asked.blocking))
    reader.on_close(session.close)
    return reader


def _open_variant(asked: _Asked, variant: int | None) -> SyncReader:
    session = _open_presentation(asked, "auto" if variant is None else variant)
    try:
        reader = session.as_file(variant, params=SyncReaderParams(blocking=asked.blocking))
    except BaseException:
        session.close()
        raise
    reader.on_close(session.close)
    return reader


def _open_presentation(asked: _Asked, variant: int | Literal["auto"]) -> HlsSession:
    from .hls import HlsOptions, HlsSource  # decryption is loaded when a playlist is opened

    options = HlsOptions(
        variant=variant,
        http=asked.options.http,
        bus=asked.options.bus,
        event_capacity=asked.options.event_capacity,
        query=asked.options.query,
    )
    opening = HlsSource.open(asked.what, options, asked.cache, headers=asked.headers, offline=asked.offline)
    return portal().run(_within(opening, asked.timeout, asked.what))


def _anywhere(text: str) -> str:
    """*text* as it means the same in a process with another working directory."""
    return text if "://" in text or text.lower().startswith("file:") else os.path.abspath(text)


async def _within(opening: Awaitable[T], timeout: float | None, url: str) -> T:
    try:
        async with asyncio.timeout(timeout):
            return await opening
    except TimeoutError as exc:
        if isinstance(exc, NetTimeout):
            raise
        raise NetTimeout(f"opening took longer than {timeout} s", kind="total", url=url, operation="opening") from exc


def _listen(bus: EventBus, on_event: Callable[[object], object]) -> Subscription:
    """Call *on_event* with every event of *bus*, in a daemon thread that ends with the subscription."""
    subscription = bus.subscribe()

    def run() -> None:
        for event in subscription:
            try:
                on_event(event)
            except Exception:  # the caller's; it must not cost them the events that follow
                _log.exception("on_event failed")

    threading.Thread(target=run, name="kithara-events", daemon=True).start()
    return subscription


__all__ = ["chosen_store", "forget", "is_playlist", "open", "open_media"]
