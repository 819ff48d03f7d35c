"""The downloads of a process, each shared by all who want the same entry of the same cache."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from .._core.file_resource import FileResource
from .._core.resource import Resource
from ..errors import CacheCorrupt, HttpStatus, KitharaError, NetError, NetTimeout, OfflineMiss, redact_url
from ..events import EventBus, Started
from ..net import Backoff, HttpClient, HttpOptions, Representation
from ..net.headers import parse_date
from ..portal import portal
from ..storage.memory import AnyStreaming
from .download import GONE, Download, is_about_the_entity
from .holdings import held, prove, validators
from .options import Revalidate
from .request import Request

RESTLESS = 2
"""After so many changes of a representation its parts are no more put together from several answers."""

_log = logging.getLogger("kithara.file")


@dataclass(slots=True)
class _Place:
    """One entry of one cache. Whoever opens or ends its download takes the turn."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    visitors: int = 0
    download: Download | None = None


@dataclass(slots=True)
class _Shared:
    http: HttpClient
    users: int = 0


class Downloads:
    """The downloads under way on one loop, so that two sessions on one cache entry are one transfer."""

    def __init__(self) -> None:
        self._places: dict[object, _Place] = {}
        self._clients: dict[HttpOptions, _Shared] = {}
        self._changes: Counter[object] = Counter()

    async def open(self, request: Request, bus: EventBus) -> Download:
        """The download of *request*: one of this process, a cache hit, or a new one whose first answer is here.

        Raises:
            KitharaError: whatever the first answer, the cache or policy say; nothing is left in the cache then.
        """
        name = object() if request.store is None else (id(request.store), request.key.path)
        async with self._turn(name) as place:
            download = place.download
            if download is None or not download.usable:
                download = await self._begin(request, name)
            elif download.resource.status == "committed" and request.options.sha256 is not None:
                await asyncio.to_thread(prove, download.resource, {request.options.sha256.lower()})
            if download.resource.status == "committed" and not await self._is_fresh(download, request):
                if not download.users:  # else it lives on for those who read it
                    await self._end(download)
                download = await self._begin(request, name, fresh=True)
            place.download = download
            bus.publish(Started(url=download.resource.label or "", cached=download.resource.total))
            download.join(bus, request.options)
        try:
            if request.wait and download.resource.status == "active" and not download.is_known:
                await download.first_answer()
        except BaseException:
            await self.release(download, bus)
            raise
        return download

    async def release(self, download: Download, bus: EventBus) -> None:
        """End one session's use of *download*. Whoever opens the same entry meanwhile waits until it has ended."""
        async with self._turn(download.name) as place:
            if download.users == 1:
                await self._end(download)
                if place.download is download:
                    place.download = None
            download.leave(bus)

    @contextlib.asynccontextmanager
    async def _turn(self, name: object) -> AsyncIterator[_Place]:
        place = self._places.setdefault(name, _Place())
        place.visitors += 1
        try:
            async with place.turn:
                yield place
        finally:
            place.visitors -= 1
            if not place.visitors and place.download is None:
                del self._places[name]

    async def _begin(self, request: Request, name: object, *, fresh: bool = False) -> Download:
        resource = await asyncio.to_thread(_open_resource, request, fresh)
        client = self._client(request)
        out_of_reach = None
        if _is_doubtful(resource, request):
            out_of_reach = await _is_out_of_reach(request, client) if request.wait else None
            if out_of_reach is None:
                resource = await asyncio.to_thread(_superseding, request)
        download = Download(request, resource, client, name=name, changed=self._on_change)
        try:
            if out_of_reach is not None:
                resource.fail(out_of_reach)
            elif resource.status == "active":
                await self._start(download)
        except BaseException:
            await self._end(download)
            raise
        return download

    async def _start(self, download: Download) -> None:
        request = download.request
        if not request.offline:
            download.start(in_order=self._changes[download.name] >= RESTLESS)
            return
        miss = OfflineMiss("offline, and not in the cache", url=request.url)
        if download.resource.total == 0:
            await download.discard()
            raise miss
        download.resource.fail(miss)

    async def _end(self, download: Download) -> None:
        """Have nothing more to do with *download*."""
        if not download.ended:
            await download.stop()
            await self._let_go(download)

    async def close(self) -> None:
        """Stop everything: the loop is about to end."""
        going = [place.download for place in self._places.values() if place.download is not None]
        await asyncio.gather(*(download.stop() for download in going), return_exceptions=True)
        for shared in self._clients.values():
            await shared.http.close()
        self._clients.clear()

    # ── clients ──────────────────────────────────────────────────────────────────────────────

    def _client(self, request: Request) -> HttpClient:
        """The caller's client, or one that all share who have the same options, so that limits are for all of them."""
        http = request.options.http
        if isinstance(http, HttpClient):
            return http
        options = http or HttpOptions()
        shared = self._clients.setdefault(options, _Shared(HttpClient(options)))
        shared.users += 1
        return shared.http

    async def _let_go(self, download: Download) -> None:
        shared = self._clients.get(download.client.options)
        if shared is not None and shared.http is download.client:
            shared.users -= 1
            if not shared.users:
                del self._clients[download.client.options]
                await shared.http.close()

    # ── representations ──────────────────────────────────────────────────────────────────────

    def _on_change(self, download: Download) -> None:
        if len(self._changes) > 1000:
            self._changes.clear()
        self._changes[download.name] += 1

    async def _is_fresh(self, download: Download, request: Request) -> bool:
        """Whether the committed *download* may be given out, after asking the server where that is due."""
        if request.offline or not is_due(request.options.revalidate, download.representation):
            return True
        try:
            told = await download.client.revalidate(request.url, download.representation, headers=request.headers)
        except HttpStatus as exc:
            if exc.status in GONE:
                await download.discard()
                raise
            _log.warning("not revalidated: %s", exc)
            return True
        except NetError as exc:
            _log.warning("not revalidated: %s", exc)
            return True
        if told is None:
            return False
        download.representation = told
        if isinstance(download.resource, AnyStreaming):
            await asyncio.to_thread(download.resource.describe, validators(told))
        return True


def is_due(revalidate: Revalidate, known: Representation) -> bool:
    """Whether what an answer brought at *known*.date is to be asked about."""
    if isinstance(revalidate, str):
        return revalidate == "always"
    then = parse_date(known.date)
    return then is None or time.time() - then >= revalidate


_registries: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Downloads] = weakref.WeakKeyDictionary()


def downloads() -> Downloads:
    """The downloads of the running loop, which is the portal's."""
    loop = asyncio.get_running_loop()
    registry = _registries.get(loop)
    if registry is None:
        registry = _registries[loop] = Downloads()
        portal().at_close(registry, registry.close)
    return registry


def _open_resource(request: Request, fresh: bool) -> Resource:
    if request.store is None:
        return temporary_resource(request.url)
    key = request.key
    resource = request.store.supersede(key) if fresh else request.store.open_streaming(key)
    resource.label = redact_url(request.url)
    length = resource.length
    whole = length is not None and resource.next_gap(0, length) is None
    if whole and request.options.sha256 is not None:
        try:
            prove(resource, {request.options.sha256.lower()})
        except CacheCorrupt as exc:
            _log.warning("fetched anew: %s", exc)
            request.store.remove_resource(key)
            resource = request.store.open_streaming(key)
    resource.label = redact_url(request.url)
    return resource


def _is_doubtful(resource: Resource, request: Request) -> bool:
    """Whether nothing can vouch that bytes of an earlier session and those to come are of one representation."""
    length = resource.length
    whole = length is not None and resource.next_gap(0, length) is None
    resumed = isinstance(resource, AnyStreaming) and resource.resumed
    return resumed and not whole and not request.offline and held(resource).if_range is None


async def _is_out_of_reach(request: Request, client: HttpClient) -> KitharaError | None:
    """Why the server cannot be asked now, after the usual retries in no more than the time for a connection; or None.

    What is here of an earlier session is given up for what the server has now, but not for nothing.
    """
    backoff = Backoff(client.options.retries)
    failure: KitharaError = NetTimeout(
        "no answer in the time for a connection", kind="connect", url=request.url, operation="opening"
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(client.options.connect):
            while True:
                try:
                    async with client.stream(request.url, 0, 1, headers=request.headers):
                        return None
                except NetError as exc:
                    failure = exc
                if is_about_the_entity(failure):
                    return None  # whoever fetches will be told the same
                delay = backoff.next(failure)
                if delay is None:
                    return backoff.final(failure)
                await asyncio.sleep(delay)
    return failure


def _superseding(request: Request) -> Resource:
    """A new generation in the place of what is held."""
    assert request.store is not None
    resource = request.store.supersede(request.key)
    resource.label = redact_url(request.url)
    return resource


def temporary_resource(url: str) -> FileResource:
    """A resource in a nameless file that is gone with its last reader."""
    fd, name = tempfile.mkstemp(prefix="kithara-")
    os.unlink(name)
    resource = FileResource(fd)
    resource.label = redact_url(url)
    return resource
