"""One resource that is being filled from one URL, shared by every session on it. Lives on the portal's loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from .._core.resource import FileResource, Resource
from ..assets import AssetStore, ResourceKey
from ..errors import (
    Cancelled,
    ContentEncodingRejected,
    HttpStatus,
    KitharaError,
    OfflineMiss,
    ProtocolViolation,
    RangeMismatch,
    RepresentationChanged,
    StoreError,
    redact_url,
)
from ..events import Committed, EventBus, Failed, Response
from ..fetch import QUANTUM, Filler
from ..media import MediaInfo, from_content_type, from_suffix, sniff
from ..net import HttpClient, RangedBody, Representation
from ..portal import portal
from ..storage import StreamingResource, Validators
from ..storage.memory import AnyStreaming
from .options import FileOptions

SNIFF = 564
"""Bytes that tell every format we know apart."""

ABOUT_THE_ENTITY = (RepresentationChanged, ContentEncodingRejected, ProtocolViolation, RangeMismatch)
"""Errors after which what is held is worthless; losing the network is not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to open: everything that decides whether two sessions can share one download."""

    url: str
    options: FileOptions
    store: AssetStore | None
    headers: Mapping[str, str] | None = None
    offline: bool = False

    @property
    def key(self) -> ResourceKey:
        credentials = None
        if self.headers:
            secret = {name.lower(): value for name, value in self.headers.items()}
            told = [f"{name}:{secret[name]}" for name in ("authorization", "cookie") if name in secret]
            credentials = "\n".join(told) or None
        return ResourceKey.from_url(self.url, query=self.options.query, credentials=credentials)


class Download:
    """A resource, what fills it, and how many sessions use it.

    Attributes:
        resource: Where the bytes are.
        representation: Which bytes these are, as far as the server or the cache said.
        ranges: Whether the server serves parts; None while nobody has asked it.
        media: Codec and container, as far as type, suffix and first bytes tell.
    """

    def __init__(self, request: Request, resource: Resource, client: HttpClient, *, owns_client: bool) -> None:
        self.request = request
        self.resource = resource
        self.ranges: bool | None = None
        self.users = 0
        self._client = client
        self._owns_client = owns_client
        self._buses: list[EventBus] = []
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.representation = _held(resource)
        self.media = self._told_media()

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    def join(self, bus: EventBus) -> None:
        """One more session, whose listeners hear what happens."""
        self.users += 1
        self._buses.append(bus)

    async def leave(self, bus: EventBus) -> None:
        """One session less; with the last one fetching stops and the rest is kept as a partial."""
        self.users -= 1
        self._buses.remove(bus)
        if self.users == 0:
            await self.stop()

    def start(self) -> None:
        """Begin to fill."""
        options = self.request.options
        filler = Filler(
            self.resource,
            self._fetch,
            self._answered,
            look_ahead=options.look_ahead,
            complete=options.complete and self.request.store is not None,
            failing=self._failing,
            retries=self._client.options.retries,
            publish=self._publish,
            learned=self._learned,
        )
        self._task = asyncio.get_running_loop().create_task(self._run(filler))

    @property
    def has_answer(self) -> bool:
        """Whether an earlier session, or another process, had the answer that tells what the resource is."""
        resource = self.resource
        if not isinstance(resource, StreamingResource):
            return False
        return resource.resumed or (not resource.is_writer and resource.validators != Validators())

    async def first_answer(self) -> None:
        """Wait for the validated headers of the first answer. Raises what came instead."""
        watch = self.resource.when(0, QUANTUM, lambda: None)
        try:
            await asyncio.shield(self._first)
        finally:
            self.resource.forget(watch)

    async def stop(self) -> None:
        """Stop fetching; keep what is here. Whoever still waits for a missing byte gets `Cancelled`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self.resource.status == "active":
            if isinstance(self.resource, AnyStreaming):
                with contextlib.suppress(KitharaError):
                    await asyncio.to_thread(self.resource.checkpoint, durable=True)
            self.resource.cancel()
        if self._owns_client:
            await self._client.close()
        self._settle_first(Cancelled("the session was closed", url=self.request.url))

    async def _run(self, filler: Filler) -> None:
        try:
            await filler.run()
        except Exception as exc:
            self.resource.fail(exc)  # a mistake of ours must not leave readers waiting
            raise
        finally:
            portal().forget(self)
        status = self.resource.status
        if status == "committed":
            self._publish(Committed(length=self.resource.length or 0))
        elif status == "failed":
            self._publish(Failed(error=self._error()))
        if status == "committed":
            self._settle_first(None)
        else:
            self._settle_first(self._error())

    async def _failing(self, error: BaseException) -> None:
        """Keep what is worth going on from, drop the rest; done before readers hear of it and may open it anew."""
        entity = isinstance(error, ABOUT_THE_ENTITY) or (isinstance(error, HttpStatus) and error.status in (404, 410))
        store = self.request.store
        with contextlib.suppress(StoreError):
            if store is not None and (entity or self.resource.total == 0):
                await asyncio.to_thread(store.remove_resource, self.request.key)
            elif isinstance(self.resource, AnyStreaming):
                await asyncio.to_thread(self.resource.checkpoint, durable=True)

    def _error(self) -> BaseException:
        try:
            self.resource.wait_range(self.resource.covered_until(0), self.resource.covered_until(0) + 1, 0)
        except KitharaError as exc:
            return exc.__cause__ or exc
        return Cancelled("the transfer ended", url=self.request.url)

    def _settle_first(self, error: BaseException | None) -> None:
        if self._first.done():
            return
        if error is None:
            self._first.set_result(None)
        else:
            self._first.set_exception(error)
            self._first.exception()  # perhaps nobody waits for it any more

    def _publish(self, event: object) -> None:
        for bus in self._buses:
            bus.publish(event)

    # ── what the filler asks ─────────────────────────────────────────────────────────────────

    def _fetch(
        self, start: int, stop: int | None, *, priority: Callable[[], int]
    ) -> AbstractAsyncContextManager[RangedBody]:
        if not self.request.options.enable_range_seek and start == 0:
            stop = None
        return self._client.stream(
            self.request.url,
            start,
            stop,
            headers=self.request.headers,
            representation=self.representation,
            priority=priority,
        )

    async def _answered(self, body: RangedBody) -> None:
        told = body.representation
        if self.ranges is None or (self.representation.total is None and told.total is not None):
            held = self.representation
            self.representation = Representation(
                total=told.total if told.total is not None else held.total,
                etag=told.etag or held.etag,
                last_modified=told.last_modified or held.last_modified,
                date=told.date or held.date,
                content_type=told.content_type or held.content_type,
            )
            self.ranges = body.ranges
            self.media = self._told_media()
            await self._describe()
        self._publish(
            Response(
                status=body.status,
                length=self.representation.total,
                ranges=body.ranges,
                start=body.start,
                stop=body.stop,
            )
        )
        if not self._first.done():
            self._first.set_result(None)

    async def _describe(self) -> None:
        known = self.representation
        if isinstance(self.resource, AnyStreaming):
            validators = Validators(
                total=known.total,
                etag=known.etag,
                last_modified=known.last_modified,
                date=known.date,
                content_type=known.content_type,
                unvalidated=known.if_range is None,
            )
            await asyncio.to_thread(self.resource.describe, validators)
        elif known.total is not None and self.resource.length is None:
            self.resource.set_length(known.total)

    def _learned(self) -> None:
        """Another process had an answer, and told it."""
        self.representation = _held(self.resource)
        self.media = self._told_media()
        if not self._first.done():
            self._first.set_result(None)

    def _told_media(self) -> MediaInfo | None:
        """What first bytes, type and suffix say, in this order of trust."""
        head = bytearray(SNIFF)
        media = sniff(bytes(head[: self.resource.read_at(0, head)]))
        for other in (from_content_type(self.representation.content_type), from_suffix(self.request.url)):
            media = other if media is None else media
        return media

    def look_at_media(self) -> MediaInfo | None:
        """Codec and container, looked up once more now that bytes may be here."""
        self.media = self._told_media()
        return self.media


# ── opening ──────────────────────────────────────────────────────────────────────────────────


class Downloads:
    """The downloads under way on one loop, so that two sessions on one cache entry are one transfer."""

    def __init__(self) -> None:
        self._shared: dict[tuple[int, str], Download] = {}
        self._opening = asyncio.Lock()

    async def open(self, request: Request, bus: EventBus) -> Download:
        """The download of *request*: one of this process, a cache hit, or a new one whose first answer is here.

        Raises:
            KitharaError: whatever the first answer, the cache or policy say; nothing is left in the cache then.
        """
        place = None if request.store is None else (id(request.store), request.key.path)
        async with self._opening:
            download = None if place is None else self._shared.get(place)
            if download is None or download.resource.status not in ("active", "committed"):
                download = await self._begin(request)
                if place is not None:
                    self._shared[place] = download
            download.join(bus)
        try:
            if download.resource.status == "active" and not download.has_answer:
                await download.first_answer()
        except BaseException:
            await self.release(download, bus)
            raise
        return download

    async def release(self, download: Download, bus: EventBus) -> None:
        """End one session's use of *download*."""
        if download.users == 1:
            for place, shared in list(self._shared.items()):
                if shared is download:
                    del self._shared[place]
        await download.leave(bus)

    async def _begin(self, request: Request) -> Download:
        resource = await asyncio.to_thread(_open_resource, request)
        http = request.options.http
        client = http if isinstance(http, HttpClient) else HttpClient(http)
        download = Download(request, resource, client, owns_client=client is not http)
        if resource.status != "active":
            return download
        if request.offline:
            miss = OfflineMiss("offline, and not in the cache", url=request.url)
            resource.fail(miss)
            if resource.total == 0:
                if request.store is not None:
                    await asyncio.to_thread(request.store.remove_resource, request.key)
                raise miss
            return download
        download.start()
        portal().at_close(download, download.stop)
        return download


_registries: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Downloads] = weakref.WeakKeyDictionary()


def downloads() -> Downloads:
    """The downloads of the running loop, which is the portal's."""
    return _registries.setdefault(asyncio.get_running_loop(), Downloads())


def _open_resource(request: Request) -> Resource:
    if request.store is None:
        return temporary_resource(request.url)
    resource = request.store.open_streaming(request.key)
    if resource.resumed and not request.offline and _held(resource).if_range is None:
        length = resource.length
        if length is None or resource.next_gap(0, length) is not None:
            # Nothing can vouch that bytes of an earlier session and those to come are of one representation.
            resource = request.store.supersede(request.key)
    resource.label = redact_url(request.url)
    return resource


def _held(resource: Resource) -> Representation:
    """Which bytes *resource* holds, as far as it remembers."""
    held = getattr(resource, "validators", Validators())
    return Representation(
        total=held.total,
        etag=held.etag,
        last_modified=held.last_modified,
        date=held.date,
        content_type=held.content_type,
    )


def temporary_resource(url: str) -> FileResource:
    """A resource in a nameless file that is gone with its last reader."""
    fd, name = tempfile.mkstemp(prefix="kithara-")
    os.unlink(name)
    resource = FileResource(fd)
    resource.label = redact_url(url)
    return resource
