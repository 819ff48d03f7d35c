"""One resource that is being filled from one URL, shared by every session on it. Lives on the portal's loop."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from .._core.resource import Resource
from ..errors import (
    CacheCorrupt,
    Cancelled,
    Closed,
    ContentEncodingRejected,
    HttpStatus,
    KitharaError,
    OfflineMiss,
    ProtocolViolation,
    RangeMismatch,
    RepresentationChanged,
    StoreError,
)
from ..events import Committed, EventBus, Failed, PhaseChanged, Response
from ..fetch import QUANTUM, Filler
from ..media import MediaInfo, from_content_type, from_suffix, sniff
from ..net import HttpClient, RangedBody, Representation
from ..net.prompt import Prompt
from ..storage.memory import AnyStreaming
from .holdings import agreed, held, prove, validators
from .options import FileOptions
from .request import Request

SNIFF = 564
"""Bytes that tell every format we know apart."""

ABOUT_THE_ENTITY = (RepresentationChanged, ContentEncodingRejected, ProtocolViolation, RangeMismatch, CacheCorrupt)
"""Errors after which what is held is worthless; losing the network is not among them."""

GONE = (404, 410)


def is_about_the_entity(error: BaseException) -> bool:
    """Whether what is held is worthless after *error*."""
    return isinstance(error, ABOUT_THE_ENTITY) or (isinstance(error, HttpStatus) and error.status in GONE)


class FilePhase(enum.Enum):
    """How far a file is. Derived from its store."""

    INIT = "init"
    """Nobody has answered yet, and nothing is here."""
    DOWNLOADING = "downloading"
    COMPLETE = "complete"
    """Everything is here, or nothing more will come."""


class Download:
    """A resource, what fills it, and how many sessions use it.

    Args:
        request: What is opened.
        resource: Where its bytes go; committed, or to be filled once `start` is called.
        client: Fetches it.
        name: What the registry calls it.
        changed: Told when the server has another representation than the one that is held.

    Attributes:
        resource: Where the bytes go.
        representation: Which bytes these are, as far as the server or the cache said.
        ranges: Whether the server serves parts; None while nobody has asked it.
        media: Codec and container, as far as type, suffix and first bytes tell.
        ended: Whether it was stopped.
    """

    def __init__(
        self,
        request: Request,
        resource: Resource,
        client: HttpClient,
        *,
        name: object,
        changed: Callable[[Download], None],
    ) -> None:
        self.name = name
        self.client = client
        self.request = request
        self.resource = resource
        self.ranges: bool | None = None
        self.ended: bool = False
        self._changed = changed
        self._sessions: list[tuple[EventBus, FileOptions]] = []
        self._digests: set[str] = set()
        self._proven: set[str] = set()
        self._filler: Filler | None = None
        self._failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._phase = FilePhase.INIT
        self.representation: Representation = held(resource)
        self.media = self._told_media()

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    @property
    def usable(self) -> bool:
        """Whether one more session may join."""
        on_disk = getattr(self.resource, "on_disk", True)
        return on_disk and not self.ended and self.resource.status in ("active", "committed")

    @property
    def users(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

    @property
    def phase(self) -> FilePhase:
        """How far it is."""
        if self.resource.status != "active":
            return FilePhase.COMPLETE
        known = self.ranges is not None or self.resource.total > 0
        return FilePhase.DOWNLOADING if known else FilePhase.INIT

    @property
    def is_known(self) -> bool:
        """Whether an answer has told what the resource is: here, in an earlier session, or in another process."""
        return self._first.done() or self.unconfirmed or held(self.resource) != Representation()

    @property
    def unconfirmed(self) -> bool:
        """Whether bytes of an earlier session are served that no answer has confirmed to be the server's still."""
        return self.ranges is None and self.resource.status != "committed" and self.resource.total > 0

    def join(self, bus: EventBus, options: FileOptions) -> None:
        """One more session, whose listeners hear what happens."""
        self._tell_phase()
        self._sessions.append((bus, options))
        if options.sha256 is not None:
            self._digests.add(options.sha256.lower())
        self._adjust()
        bus.publish(PhaseChanged(phase=self.phase))

    def leave(self, bus: EventBus) -> None:
        """One session less."""
        self._sessions.remove(next(session for session in self._sessions if session[0] is bus))
        self._adjust()

    def _adjust(self) -> None:
        if self._filler is not None and self._sessions:
            self._filler.complete = self._is_to_complete()
            self._filler.sealed = bool(self._digests)
            self._filler.look()

    def _is_to_complete(self) -> bool:
        return self.request.store is not None and any(options.complete for _, options in self._sessions)

    def start(self, *, in_order: bool = False) -> None:
        """Begin to fill.

        Args:
            in_order: Have one transfer bring everything, because answers of this server do not fit together.
        """
        options = self.request.options
        self._filler = Filler(
            self.resource,
            self._fetch,
            self._answered,
            look_ahead=options.look_ahead,
            complete=self._is_to_complete(),
            in_order=in_order or not options.enable_range_seek,
            retries=self.client.options.retries,
            publish=self.publish,
            finish=self._finish,
            prove=self._prove,
            failing=self._failing,
            ask=self._ask,
            alike=self._alike,
            outgrown=self._outgrown,
            learned=self._learned,
        )
        self._filler.sealed = bool(self._digests)
        self._task = asyncio.get_running_loop().create_task(self._run(self._filler))

    async def first_answer(self) -> None:
        """Wait for the validated headers of the first answer. Raises what came instead."""
        watch = self.resource.when(0, QUANTUM, lambda: None)
        try:
            await asyncio.shield(self._first)
        except KitharaError as exc:
            raise exc.renewed() from exc.__cause__ or exc
        finally:
            self.resource.forget(watch)

    def go_offline(self) -> None:
        """Fetch no more, for every session on it: what is here plays, and at the first hole there is `OfflineMiss`."""
        if self._filler is not None and not self._filler.over:
            self._filler.give_up(OfflineMiss("offline, and not in the cache", url=self.request.url))

    async def stop(self) -> None:
        """Stop fetching; keep what is here. Whoever still waits for a missing byte gets `Cancelled`."""
        self.ended = True
        if self._task is not None:
            if self._filler is not None and not self._filler.over:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._filler = self._task = None  # which refer to this: the descriptors are to go with the last reader
        if self.resource.status == "active":
            await self._keep()
            self.resource.cancel()
        self._settle_first(Cancelled("the session was closed", url=self.request.url))
        self._tell_phase()

    async def _run(self, filler: Filler) -> None:
        try:
            await filler.run()
        except Exception as exc:
            self.resource.fail(exc)  # a mistake of ours must not leave readers waiting
            raise
        if self.resource.status == "committed":
            if self.resource.seekable:  # else nothing was kept
                self.publish(Committed(length=self.resource.length or 0))
            self._settle_first(None)
        elif self.resource.status == "failed":
            error = self._error()
            if self._failure is None:
                self.publish(Failed(error=error))
            self._settle_first(error)
        self._tell_phase()

    async def _failing(self, error: BaseException) -> None:
        """Drop from the cache what is worthless now; else let the next session go on from it."""
        self._failure = error
        if isinstance(error, RepresentationChanged):
            self._changed(self)
        if is_about_the_entity(error):
            await self.discard()
        else:
            await self._keep()
        self.publish(Failed(error=error))  # before the readers get it, who may close at once

    async def _keep(self) -> None:
        """Let the next session go on from what is here, if anything is."""
        if self.resource.total == 0:
            await self.discard()
        elif isinstance(self.resource, AnyStreaming):
            with contextlib.suppress(KitharaError):
                await asyncio.to_thread(self.resource.checkpoint, durable=True)

    async def discard(self) -> None:
        """Remove it from the cache; open readers keep what they have, and the next open starts anew."""
        resource, store = self.resource, self.request.store
        if store is None or not isinstance(resource, AnyStreaming) or not resource.on_disk:
            return
        if resource.is_writer or resource.status == "committed":  # else it is another process's business
            with contextlib.suppress(StoreError, Closed):
                await asyncio.to_thread(store.remove_resource, self.request.key)

    def _error(self) -> BaseException:
        """Why the resource has failed."""
        if self._failure is not None:
            return self._failure
        missing = self.resource.covered_until(0)
        try:
            self.resource.wait_range(missing, missing + 1, 0)
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

    def publish(self, event: object) -> None:
        """Tell every session's listeners."""
        for bus in {bus for bus, _ in self._sessions}:
            bus.publish(event)

    def _tell_phase(self) -> None:
        if self.phase is not self._phase:
            self._phase = self.phase
            self.publish(PhaseChanged(phase=self._phase))

    # ── what the filler asks ─────────────────────────────────────────────────────────────────

    def _fetch(
        self, start: int, stop: int | None, *, priority: Callable[[], int], prompt: Prompt | None
    ) -> AbstractAsyncContextManager[RangedBody]:
        return self.client.stream(
            self.request.url,
            start,
            stop,
            headers=self.request.headers,
            representation=self.representation,
            priority=priority,
            prompt=prompt,
        )

    def _ask(self, start: int, stop: int) -> Prompt | None:
        return self.client.prompt(
            self.request.url, start, stop, headers=self.request.headers, representation=self.representation
        )

    def _alike(self, start: int, stop: int) -> None:
        self.publish(Response(status=206, length=self.representation.total, ranges=True, start=start, stop=stop))

    async def _answered(self, body: RangedBody) -> None:
        told = body.representation
        if told.total == 0:
            raise ProtocolViolation(
                "the body is empty; is this the URL of a file?", url=self.request.url, operation="opening"
            )
        if self.ranges is None or (self.representation.total is None and told.total is not None):
            known = self.representation
            self.representation = Representation(
                total=known.total if told.total is None else told.total,
                etag=told.etag or known.etag,
                last_modified=told.last_modified or known.last_modified,
                date=told.date or known.date,
                content_type=told.content_type or known.content_type,
            )
            self.ranges = body.ranges
            self.media = self._told_media()
            await self._describe()
        self.publish(
            Response(
                status=body.status,
                length=self.representation.total,
                ranges=body.ranges,
                start=body.start,
                stop=body.stop,
            )
        )
        self._settle_first(None)
        self._tell_phase()

    async def _outgrown(self) -> bool:
        """The body may have no end. Keep none of it, unless a digest was given, for that is one of a file."""
        if self._digests:
            return False
        await self.discard()
        return True

    async def _describe(self) -> None:
        if isinstance(self.resource, AnyStreaming):
            await asyncio.to_thread(self.resource.describe, validators(self.representation))
        elif self.representation.total is not None and self.resource.length is None:
            self.resource.set_length(self.representation.total)

    def _learned(self) -> None:
        """Another process had an answer, and told it."""
        self.representation = held(self.resource)
        self.media = self._told_media()
        self._settle_first(None)
        self._tell_phase()

    def _finish(self) -> None:
        """Commit what is whole, if it has the digests asked for. Runs in a worker thread."""
        prove(self.resource, self._digests - self._proven)
        self.resource.commit()

    def _prove(self, offset: int, last: bytes) -> None:
        """Check the whole, whose *last* byte is still to come, before anybody sees its end. In a worker thread."""
        digests = set(self._digests)
        prove(self.resource, digests, offset, last)
        self._proven |= digests

    def _told_media(self) -> MediaInfo | None:
        """What first bytes, type and suffix say, in this order of trust."""
        if not self.resource.contains_range(0, 1) and self.resource.head:
            return self.media  # the first bytes have passed
        head = bytearray(SNIFF)
        sniffed = sniff(bytes(head[: self.resource.read_at(0, head)]))
        return agreed(sniffed, from_content_type(self.representation.content_type), from_suffix(self.request.url))

    def look_at_media(self) -> MediaInfo | None:
        """Codec and container, looked up once more now that bytes may be here."""
        self.media = self._told_media()
        return self.media
