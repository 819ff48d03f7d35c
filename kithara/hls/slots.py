"""The segments that are wanted, one slot each: what it is, where its bytes go, and how far it is."""

from __future__ import annotations

import asyncio
import enum
import math
from dataclasses import dataclass, field

from .._core.memory_resource import MemoryResource
from .._core.resource import Resource
from ..assets import AssetId, AssetStore, ResourceKey
from ..errors import Busy, Interrupted, KitharaError, StoreError, redact_url
from ..media import MediaInfo
from ..source import Segment
from .events import SegmentGivenUp, SegmentLoaded
from .model import Init, MediaSegment
from .names import init_name, segment_name
from .timeline import Timeline
from .transfer import Transfer


def instead(reason: str, error: KitharaError | None = None) -> Interrupted:
    """What a listener is told who is to ask again, for *reason*. Readers of bytes are told *error*, which led to it."""
    told = Interrupted(f"{reason}; ask for it again")
    told.__cause__ = error
    return told


class State(enum.Enum):
    """How far a slot is."""

    AWAITED = "awaited"
    """A live list does not have it yet."""
    PENDING = "pending"
    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"


@dataclass(eq=False, slots=True)
class Slot:
    """Segment *index* of *variant*, which begins at *start* seconds.

    Attributes:
        init: The store of its init section, or None.
        taken: A listener has it, the last one since *taken_at* by the loop's clock.
        excluded: Variants that failed to give this piece of time already.
        ticket: The decision that put it here, where the variant changed.
        second: Its bytes were asked for once before, and were no good.
        before: The slot of the segment before it in its variant, where that is to prime a new decoder.
        unprimed: Nothing is to, since it would not come in time.
        refused: When its server refused it for good, by the loop's clock.
        since: Second from which it is asked for, should that lie before its own start: where what is heard before it
            ends, or what it stands in for begins.
        heard: Second from which it is heard, should that lie behind its own start: where what is heard before it ends,
            or a seek went.
        sought: A seek went into it.
        instead: The places (`place`) by which who is to get it may ask: of what it stands in for and was handed out.
    """

    variant: int
    index: int
    start: float
    segment: MediaSegment
    key: ResourceKey | None
    store: Resource
    init: InitSection | None
    media: MediaInfo | None
    state: State = State.PENDING
    taken: bool = False
    excluded: frozenset[int] = frozenset()
    ticket: int | None = None
    second: bool = False
    before: Slot | None = None
    unprimed: bool = False
    refused: float = -math.inf
    since: float = math.inf
    heard: float = -math.inf
    sought: bool = False
    instead: frozenset[tuple[int, int, float]] = frozenset()
    taken_at: float = 0.0
    task: asyncio.Task[None] | None = None
    transfer: Transfer | None = None

    @property
    def stop(self) -> float:
        """Second at which it ends."""
        return self.start + self.segment.duration

    @property
    def place(self) -> tuple[int, int, float]:
        """Variant, index and start: what whoever was handed it knows it by."""
        return self.variant, self.index, self.start

    def sounds_at(self, seconds: float) -> bool:
        """Whether it is what is to be heard at *seconds*."""
        return min(self.start, self.since) <= seconds < self.stop

    def fits(self, timeline: Timeline) -> bool:
        """Whether what it was handed out as is what the list brings there now."""
        segment = timeline.segment(self.index)
        held = None if self.init is None else self.init.init
        return segment.init == held and not segment.gap and segment.discontinuity == self.segment.discontinuity

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (State.DONE, State.FAILED)

    def loaded(self, size: int, seconds: float, *, cached: bool) -> SegmentLoaded:
        """The event that tells that it is whole."""
        return SegmentLoaded(
            index=self.index,
            variant=self.variant,
            start=self.start,
            stop=self.stop,
            size=size,
            seconds=seconds,
            cached=cached,
        )

    def given_up(self, error: KitharaError | None, now: float) -> SegmentGivenUp:
        """The event that tells that it will not be whole, *now* by the loop's clock."""
        transfer = self.transfer
        answered = None if transfer is None else transfer.answered
        return SegmentGivenUp(
            index=self.index,
            variant=self.variant,
            error=error,
            start=self.start,
            stop=self.stop,
            size=0 if transfer is None else transfer.received,
            seconds=0.0 if answered is None else now - answered,
        )

    @property
    def usable(self) -> bool:
        """Whether it has, or may still bring, its bytes. Its file may have been begun anew by another process."""
        return self.state is not State.FAILED and self.store.status in ("active", "committed")

    def as_segment(self, epoch: int) -> Segment:
        """What a decoder is given."""
        return Segment(
            index=self.index,
            start=self.start,
            duration=self.segment.duration,
            store=self.store,
            init=None if self.init is None else self.init.store,
            media=self.media,
            variant=self.variant,
            discontinuity=self.segment.discontinuity,
            epoch=epoch,
            before=None if self.before is None else self.before.as_segment(epoch),
        )


@dataclass(eq=False, slots=True)
class InitSection:
    """An initialization section of *variant*, shared by the slots that need it."""

    variant: int
    init: Init
    key: ResourceKey | None
    store: Resource
    task: asyncio.Task[None] | None = None


@dataclass(eq=False, slots=True)
class Shelf:
    """Opens the stores of slots: in the cache, or in memory where there is none.

    Attributes:
        inits: The init sections in use, by variant and section.
    """

    store: AssetStore | None
    asset: AssetId
    inits: dict[tuple[int, Init], InitSection] = field(default_factory=dict)

    def slot(self, timeline: Timeline, variant: int, index: int, media: MediaInfo | None) -> Slot:
        """A slot for segment *index* of *timeline*; opens files, does not wait for the network."""
        segment = timeline.segment(index)
        keep = timeline.playlist.kind != "live"  # what slides out of a window is not worth a place on disk
        key = self._key(segment_name(variant, segment), segment.uri) if keep else None
        # what is there of an encrypted segment cannot be gone on with: the cipher's state is lost
        store = self._open(key, segment.uri, fresh_if_resumed=segment.key is not None)
        slot = Slot(variant, index, timeline.starts[index], segment, key, store, self.init(variant, segment), media)
        if store.status == "committed":
            slot.state = State.DONE
        return slot

    def holds(self, timeline: Timeline, variant: int, index: int) -> bool:
        """Whether segment *index* of *timeline* is in the cache as a whole."""
        segment = timeline.segment(index)
        if self.store is None or segment.gap or timeline.playlist.kind == "live":
            return False
        key = self._key(segment_name(variant, segment), segment.uri)
        try:
            return key is not None and self.store.holds(key)
        except StoreError:
            return False

    def reopen(self, slot: Slot) -> Resource:
        """A new store for the same segment, because what came into the old one was no good."""
        self.discard(slot.key)
        return self._open(slot.key, slot.segment.uri, fresh_if_resumed=True)

    def discard(self, key: ResourceKey | None) -> None:
        """Drop what the cache holds under *key*."""
        if self.store is not None and key is not None:
            self.store.remove_resource(key)

    def init(self, variant: int, segment: MediaSegment) -> InitSection | None:
        """The init section that *segment* of *variant* needs; the same one for all that do."""
        init = segment.init
        if init is None:
            return None
        held = self.inits.get((variant, init))
        if held is None or held.store.status in ("failed", "cancelled"):
            key = self._key(init_name(variant, init), init.uri)
            held = InitSection(variant, init, key, self._open(key, init.uri, fresh_if_resumed=True))
            self.inits[variant, init] = held
        return held

    def _key(self, name: str, uri: str) -> ResourceKey | None:
        return None if self.store is None else ResourceKey(self.asset, name, redact_url(uri))

    def _open(self, key: ResourceKey | None, uri: str, *, fresh_if_resumed: bool) -> Resource:
        if self.store is not None and key is not None:
            try:
                kept = self.store.open_streaming(key)
                if fresh_if_resumed and kept.status == "active" and kept.total and kept.resumed:
                    kept = self.store.supersede(key)
                return kept
            except Busy:
                pass  # another process is bringing it; we bring our own
            except StoreError:
                pass  # a full or read-only disk does not stop the music
        resource = MemoryResource()
        resource.label = redact_url(uri)
        return resource
