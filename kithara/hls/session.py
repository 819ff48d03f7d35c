"""The handle on one open presentation: its segments, the bytes of a variant, its events, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Literal, Self

from .._core.reader import SyncReader
from ..assets import AssetId
from ..errors import Closed, Interrupted, InvalidSeek, Unsupported, WriterGone
from ..events import EventBus, Seeked, Subscription
from ..io import CHUNK, SyncReaderParams, iterate, wait_range
from ..portal import portal
from ..source import Segment
from .engine import Engine
from .export import exported
from .ladder import HlsVariant
from .listening import HlsSegments
from .slots import Slot
from .timeline import Timeline
from .variant_bytes import VariantBytes

_WHOLE = 1 << 40
"""Past the end of every segment."""


class HlsSession:
    """One open presentation. An async context manager; leaving it, `stop`, or dropping it ends it.

    Methods may be called from any event loop; fetching runs elsewhere. One listener at a time follows the segments
    (`segments`, or a decoder); any number of readers may have the bytes of a variant.

    Attributes:
        asset_id: The asset's stable identity.
        url: The URL as given.
        bus: Where its events are published.
        variants: What can be chosen, in the playlist's order.
    """

    def __init__(
        self, engine: Engine, bus: EventBus, *, asset_id: AssetId, url: str, release: Callable[[], Awaitable[None]]
    ) -> None:
        self.asset_id = asset_id
        self.url = url
        self.bus = bus
        self.variants: tuple[HlsVariant, ...] = engine.variants
        self._engine = engine
        self._release = release
        self._variant: int | None = None
        self._sought: float | None = None
        self._leave: Callable[[], object] | None = None  # ends the wait of `segments`
        self._portal = portal()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __del__(self) -> None:
        if not self._closed and not self._portal.closed:
            self._closed = True
            self._portal.submit(_release(self._release))

    @property
    def variant(self) -> int:
        """The variant that the listener hears, or would begin with."""
        return self._engine.first_variant if self._variant is None else self._variant

    @property
    def duration(self) -> float | None:
        """Seconds in all, by the playlist; None while it may grow."""
        timeline = self._timeline()
        return timeline.stop if timeline.playlist.ended else None

    @property
    def start(self) -> float:
        """Second at which playing begins unless told otherwise: where `EXT-X-START` says, else 0.

        A presentation that may grow is 0, too: it is joined at its live point, or where that tag says.
        """
        timeline = self._timeline()
        return timeline.beginning if timeline.playlist.ended else 0.0

    def available_ranges(self) -> list[tuple[float, float]]:
        """The parts that are here from where the listener is, each from second to second, one behind the other."""
        return self._engine.available_ranges()

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        """Play *variant* from the next segment on; ``"auto"``: let the network decide.

        Raises ValueError for an index that is none.
        """
        self._check()
        self._engine.set_mode(variant)

    async def seek(self, seconds: float) -> float:
        """Let `segments` go on with the segment that sounds at *seconds*; returns when that begins.

        Below 0 goes to 0. What lies between is not fetched.

        Raises:
            InvalidSeek: past the end.
        """
        self._check()
        seconds = max(0.0, seconds)
        duration = self.duration
        if duration is not None and seconds > duration:
            raise InvalidSeek(f"{seconds} s is past the end at {duration} s", url=self.url)
        timeline = self._timeline()
        self._sought = seconds
        if (leave := self._leave) is not None:
            leave()
        if duration is None:  # what is offered when it gets there decides
            seconds = min(max(seconds, timeline.starts[timeline.window]), timeline.stop)
        start = timeline.starts[timeline.index_at(seconds)]
        self.bus.publish(Seeked(position=round(start), cached=False))
        return start

    async def segments(self) -> AsyncIterator[Segment]:
        """The segments in the order of playing, each once it is whole; a `seek` moves it, before they begin as well.

        Raises whatever makes a segment unreachable in every variant that may be played.
        """
        self._check()
        start, self._sought = self.start if self._sought is None else self._sought, None
        slot = self._engine.at(start)
        while slot is not None:
            try:
                await self._settled(slot)
            except (Interrupted, WriterGone):
                slot = self._engine.again(*slot.place)
                continue
            if self._sought is None:
                self._variant = slot.variant
                yield slot.as_segment(self._engine.epoch)
            if self._sought is not None:
                start, self._sought = self._sought, None
                slot = self._engine.at(start)
            else:
                await portal().arun(self._engine.ready())
                slot = self._engine.following(slot.variant, slot.index, slot.stop)

    async def _settled(self, slot: Slot) -> None:
        """Wait until *slot* is whole, or a `seek` wants something else. Raises what keeps it away, if none does."""
        whole = asyncio.ensure_future(self._whole(slot))
        self._leave = functools.partial(_cancel, asyncio.get_running_loop(), whole)
        try:
            if self._sought is None:
                await asyncio.wait([whole])
        finally:
            self._leave = None
            whole.cancel()
            await asyncio.gather(whole, return_exceptions=True)
        if self._sought is None:
            whole.result()

    async def _whole(self, slot: Slot) -> None:
        for store in (None if slot.init is None else slot.init.store, slot.store):
            if store is not None:
                await wait_range(store, 0, _WHOLE)

    async def stream(self, chunk: int = CHUNK, *, variant: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of one variant, decrypted: each init section where it changes, and the segments."""
        self._check()
        pinned = self.variant if variant is None else variant
        await portal().arun(self._engine.catalogue.load(pinned))
        reader = SyncReader(self._bytes(pinned), SyncReaderParams(blocking=False))
        try:
            async for data in iterate(reader, chunk):
                yield data
        finally:
            reader.close()

    def source(self, params: SyncReaderParams | None = None) -> SyncReader:
        """As `as_file`, of the variant that is heard or would be begun with. Close it yourself."""
        return self.as_file(params=params)

    def as_file(self, variant: int | None = None, *, params: SyncReaderParams | None = None) -> SyncReader:
        """A reader over the bytes of one variant. Waits for its playlist where that is not here. Close it yourself."""
        self._check()
        pinned = self.variant if variant is None else variant
        if not 0 <= pinned < len(self.variants):
            raise ValueError(f"variant {pinned} of {len(self.variants)}")
        if pinned not in self._engine.catalogue.timelines:
            portal().run(self._engine.catalogue.load(pinned))
        source = self._bytes(pinned)
        return SyncReader(source, params, media=source.media)

    def bytes_source(self) -> VariantBytes:
        """The bytes of the variant that is heard or would be begun with, as a source."""
        self._check()
        return self._bytes(self.variant)

    def segment_source(self) -> HlsSegments:
        """The segments for a decoder's thread."""
        self._check()
        return HlsSegments(self, self._engine)

    def exported(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """All variants, decrypted, as files of a folder that any HLS player plays: name and bytes of each.

        For a thread: waits as it goes. What a playlist names comes before it. Take the bytes of a file before the next.
        Raises Unsupported where the presentation may grow, and whatever keeps a part of it from being had.
        """
        self._check()
        return exported(self._engine, self.url)

    def events(self) -> Subscription:
        """What happens from now on: ``async for event in session.events()``."""
        return self.bus.subscribe()

    async def stop(self) -> None:
        """End it: fetching stops, the cache keeps what is whole. Iterators end. May be repeated."""
        if self._closed:
            return
        self._closed = True
        await portal().arun(_release(self._release))
        self.bus.close()

    def close(self) -> None:
        """`stop`, for a thread without a loop. On the portal's own thread it only begins to."""
        if self._closed:
            return
        self._closed = True
        if not self._portal.closed:
            ending = self._portal.submit(_release(self._release))
            if not self._portal.here:
                ending.result()
        self.bus.close()

    def heard(self, variant: int) -> None:
        """Note that the listener was given a segment of *variant*."""
        self._variant = variant

    def _bytes(self, variant: int) -> VariantBytes:
        if not self._engine.catalogue.timelines[variant].playlist.ended:
            raise Unsupported("a live presentation is no file; take its segments", url=self.url)
        return VariantBytes(self, self._engine, variant)

    def _timeline(self) -> Timeline:
        timelines = self._engine.catalogue.timelines
        return timelines.get(self.variant) or next(iter(timelines.values()))

    def _check(self) -> None:
        if self._closed:
            raise Closed("the session is closed", url=self.url)


def _cancel(loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop that waited is closed
        loop.call_soon_threadsafe(waiting.cancel)


async def _release(release: Callable[[], Awaitable[None]]) -> None:
    await release()
