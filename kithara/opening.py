"""What → source: one place that knows everything that can be opened, for `open`, `load`, the decoder and the faces."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ._core.reader import SyncReader
from .assets import AssetStore
from .errors import NetTimeout
from .events import EventBus, Subscription
from .file import FileOptions, FileSource
from .file.options import Revalidate
from .io import SyncReaderParams
from .net import HttpClient, HttpOptions
from .portal import portal

if TYPE_CHECKING:
    from .file import FileSession

What = str | os.PathLike[str]
StoreChoice = AssetStore | Literal[False] | None

_log = logging.getLogger("kithara")
_lock = threading.Lock()
_default: AssetStore | None = None


def default_store() -> AssetStore:
    """The cache that everything shares unless told otherwise: in the platform's directory, 2 GiB, LRU.

    Where that cannot be written, a private temporary one, with a warning.
    """
    global _default
    with _lock:
        if _default is None:
            _default = AssetStore()
        return _default


def chosen_store(store: StoreChoice) -> AssetStore | None:
    """The cache that *store* asks for: None the shared default, False none."""
    if store is None:
        return default_store()
    return None if store is False else store


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
) -> SyncReader:
    """A seekable binary file over *what* while it is still arriving.

    Args:
        what: An http or https URL, a path, or a file: URL.
        store: The cache: None for the shared default, False to keep nothing, or one of your own.
        options: How the file is streamed.
        http: Limits of the HTTP client, or the client itself.
        headers: Sent to the origin of the URL, and to no other.
        timeout: Seconds that opening may take.
        offline: Ask nobody: what is in the cache plays, the rest raises `OfflineMiss`.
        blocking: False: nothing waits, opening neither: what goes wrong is raised by the first read, and reads answer
            None when nothing is here.
        revalidate: ``"never"``, ``"always"``, or seconds after which a cached file is asked about.
        on_event: Called with every event, in a thread of its own.

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
    listening = None
    if on_event is not None:
        bus = options.bus or EventBus(options.event_capacity)
        options = replace(options, bus=bus)
        listening = _listen(bus, on_event)
    try:
        # The cache is not touched for a local file.
        opening = FileSource.open(what, options, _lazily(what, store), headers=headers, offline=offline, wait=blocking)
        session = portal().run(_within(opening, timeout, os.fspath(what)))
        reader = session.source(SyncReaderParams(blocking=blocking))
    except BaseException:
        if listening is not None:
            listening.close()
        raise
    if listening is not None:
        reader.on_close(listening.close)
    reader.on_close(session.close)
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
    )
    return reader


def _lazily(what: What, store: StoreChoice) -> AssetStore | None:
    text = os.fspath(what)
    return chosen_store(store) if text.lower().startswith(("http:", "https:")) else None


def _anywhere(text: str) -> str:
    """*text* as it means the same in a process with another working directory."""
    return text if "://" in text or text.lower().startswith("file:") else os.path.abspath(text)


async def _within(opening: Awaitable[FileSession], timeout: float | None, url: str) -> FileSession:
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


def _after_fork_in_child() -> None:
    global _default, _lock
    _default = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)

__all__ = ["chosen_store", "default_store", "open"]
