"""Fetches segments in the order in which they will be heard, from the variants that are worth it.

The engine lives on the portal's loop; what decoders' threads call (`at`, `following`, `part`) only looks and notes,
under one lock that is never held across an await. Every piece of time that is wanted has one `Slot`. A slot whose
download is given up, before anybody was given a byte of it, is replaced; whoever waits in its store is told
`Interrupted` and asks again.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from .._core.resource import MemoryResource
from ..errors import (
    Cancelled,
    Closed,
    DecodeError,
    HlsError,
    HttpStatus,
    Interrupted,
    KeyInvalid,
    KitharaError,
    RangeMismatch,
    RepresentationChanged,
    StoreError,
    Unsupported,
)
from ..net import HttpClient
from ..net.policy import Trust
from .choice import Choice, Mode
from .documents import Documents
from .events import SegmentGivenUp, SegmentLoaded, VariantApplied, VariantDecided
from .fetcher import Fetcher
from .ladder import HlsVariant
from .library import Library
from .live import follow
from .model import MediaPlaylist
from .options import HlsOptions
from .parts import Parts
from .slots import InitSection, Shelf, Slot, State
from .timeline import Timeline
from .transfer import Transfer

LOOK = 0.1
"""Seconds between two looks at a download that might better be given up."""

WISH = 1.0
"""Seconds that a wish for another variant may hold up the next segment."""

_ABOUT_THE_BYTES = (DecodeError, HlsError, RepresentationChanged, RangeMismatch)
"""Errors after which what came is worthless."""


class Engine:
    """What fetches one presentation. Made and closed on the portal's loop.

    Attributes:
        variants: What can be chosen, in the playlist's order.
        library: Their playlists.
        choice: Which variant comes next; used under the lock.
        epoch: Counts the seeks.
    """

    def __init__(
        self,
        variants: tuple[HlsVariant, ...],
        documents: Documents,
        client: HttpClient,
        shelf: Shelf,
        options: HlsOptions,
        publish: Callable[[object], None],
        *,
        headers: Mapping[str, str] | None,
        offline: bool,
        variables: Mapping[str, str] | None = None,
        trust: Trust | None = None,
    ) -> None:
        self.variants = variants
        self.epoch = 0
        self.choice: Choice | None = None
        self._lock = threading.RLock()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.library = Library(variants, documents, variables=variables, trust=trust, lock=self._lock)
        self._documents = documents
        self._fetcher = Fetcher(
            client, documents, self.library, headers=headers, offline=offline, changed=self._wake.set
        )
        self._shelf = shelf
        self._options = options
        self._publish = publish
        self._chain: list[Slot] = []  # what the listener hears, from the segment before the one it has
        self._parts = Parts(self.library, self._make, seconds=options.look_ahead, size=options.look_ahead_bytes)
        self._active: list[Slot] = []
        self._mode: Mode = options.variant
        self._wish_settled = threading.Event()
        self._tickets = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._speculation: asyncio.Task[None] | None = None  # the loop itself keeps only weak references
        self._live_error: KitharaError | None = None
        self._closed = False

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    async def start(self, entry: MediaPlaylist | None) -> None:
        """Load what playing begins with; *entry* is the media playlist where the presentation has no master.

        Raises whatever keeps every variant from being played.
        """
        if entry is not None:
            self.library.adopt(entry)
        timeline = await self._load_first()
        self._tasks.append(self._loop.create_task(self._run()))
        if not timeline.playlist.ended:
            self._tasks.append(self._loop.create_task(self._follow()))

    async def close(self) -> None:
        """Stop fetching; whoever waits for a byte that is not here gets `Cancelled`."""
        self._closed = True
        await self._fetcher.close()
        with self._lock:
            slots = [*self._chain, *self._parts.slots.values()]
            inits = list(self._shelf.inits.values())
        tasks: list[asyncio.Task[Any] | None] = [*self._tasks, self._speculation, *self.library.loading]
        tasks += [slot.task for slot in self._active] + [init.task for init in inits]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._documents.close()
        for store in [slot.store for slot in slots] + [init.store for init in inits]:
            if store.status == "active":
                store.cancel()

    async def _load_first(self) -> Timeline:
        """The playlist to start with: of the variant wished for, else of the first that can be had."""
        failures: list[KitharaError] = []
        order = sorted(range(len(self.variants)), key=lambda index: self.variants[index].rate or 1 << 62)
        if self._mode != "auto":
            if self._mode >= len(self.variants):
                raise ValueError(f"variant {self._mode} of {len(self.variants)}")
            order = [self._mode]
        for index in order:
            try:
                timeline = await self.library.load(index)
            except KitharaError as exc:
                failures.append(exc)
                continue
            self.choice = Choice(
                self.variants,
                self._mode,
                duration=timeline.playlist.target_duration,
                capacity=self._options.look_ahead,
                options=self._options.abr,
            )
            for failed in order[: len(failures)]:
                self.choice.block(failed, self._loop.time())
            return timeline
        raise failures[0]

    # ── what decoders' threads ask ───────────────────────────────────────────────────────────

    @property
    def first_variant(self) -> int:
        """Where playing would begin."""
        with self._lock:
            return self._first_of(self._loaded())

    def at(self, seconds: float) -> Slot | None:
        """The slot that sounds at *seconds*, of a new epoch; None past the end. Begins a new chain there."""
        with self._lock:
            self._check()
            seconds = self._within_window(seconds)
            self.epoch += 1
            here = next((slot for slot in self._chain if slot.start <= seconds < slot.stop), None)
            if here is not None and here.state is not State.FAILED:
                for slot in self._chain:
                    slot.taken = False
                self._chain = self._chain[self._chain.index(here) :]
                return self._take(here)
            new = self._slot_at(seconds, self._chain[-1].variant if self._chain else None)
            if new is None:
                return None
            self._chain = [new]
            return self._take(new)

    def following(self, variant: int, index: int, stop: float) -> Slot | None:
        """The slot to hear after segment *index* of *variant*, which ends at *stop* seconds; None at the end.

        At the end of a live list it is one that the playlist does not have yet. Where the listener has just wished for
        another variant, it waits a moment for that one's playlist.
        """
        if self._mode != "auto" and self._mode not in self.library.timelines:
            self._wish_settled.wait(WISH)
        with self._lock:
            self._check()
            last: Slot | None = None
            for place, slot in enumerate(self._chain):
                if slot.variant == variant and slot.index == index:
                    if place + 1 < len(self._chain) and self._chain[place + 1].state is not State.FAILED:
                        return self._take(self._chain[place + 1])
                    del self._chain[place + 1 :]
                    last = slot
                    break
            else:
                self._chain.clear()
            after = self._next_slot(variant, index, stop)
            if after is None and not self.library.timelines[variant].playlist.ended:
                after = self._awaited(variant, index, stop, last)
            if after is None:
                return None
            self._chain.append(after)
            return self._take(after)

    def part(self, variant: int, index: int) -> Slot:
        """Segment *index* of *variant* for a reader of that variant's bytes; `leave` it when done."""
        with self._lock:
            self._check()
            slot = self._parts.take(variant, index)
        self._call()
        return slot

    def leave(self, variant: int, index: int) -> None:
        """The reader that took `part` has left it."""
        with self._lock:
            self._parts.leave(variant, index)
        self._call()

    def init_of(self, variant: int, index: int) -> InitSection | None:
        """The init section that segment *index* of *variant* needs, being fetched from now on."""
        slot = self.part(variant, index)
        self.leave(variant, index)
        self._loop.call_soon_threadsafe(self._fetcher.begin_init, slot.init)
        return slot.init

    def set_mode(self, mode: int | Literal["auto"]) -> None:
        """Want variant *mode* from the next segment on, as soon as its playlist is here; or let the network decide."""
        if mode != "auto" and not 0 <= mode < len(self.variants):
            raise ValueError(f"variant {mode} of {len(self.variants)}")
        with self._lock:
            self._check()
            self._mode = mode
            if mode == "auto" or mode in self.library.timelines:
                self._apply_mode()
        if mode != "auto" and mode not in self.library.timelines:
            self._wish_settled.clear()
            self._loop.call_soon_threadsafe(self._load_wanted, mode)
        self._call()

    def _load_wanted(self, variant: int) -> None:
        if self._closed or variant in self.library.timelines:
            self._wish_settled.set()
        else:
            self._speculation = self._loop.create_task(self._load_then_apply(variant))

    async def _load_then_apply(self, variant: int) -> None:
        try:
            await self.library.load(variant)
        except KitharaError as exc:
            self._publish(SegmentGivenUp(index=-1, variant=variant, error=exc))
        else:
            with self._lock:
                if self._mode == variant:
                    self._apply_mode()
        finally:
            self._wish_settled.set()
            self._wake.set()

    async def ready(self) -> None:
        """Wait until the playlist of the variant that is to come next is here.

        Raises what keeps a variant that the listener wants from being played.
        """
        mode = self._mode
        if mode != "auto":
            await self.library.load(mode)
            with self._lock:
                if self._mode == mode:
                    self._apply_mode()
            return
        with self._lock:
            tail = self._chain[-1] if self._chain else None
        if tail is not None:
            await self._prepare(tail)

    def _apply_mode(self) -> None:
        if self.choice is None or self.choice.mode == self._mode:
            return
        self.choice.mode = self._mode
        taken = max((place for place, slot in enumerate(self._chain) if slot.taken), default=-1)
        del self._chain[taken + 1 :]

    # ── the chain ────────────────────────────────────────────────────────────────────────────

    def _take(self, slot: Slot) -> Slot:
        slot.taken = True
        place = self._chain.index(slot)
        del self._chain[: max(0, place - 1)]
        if slot.ticket is not None:
            self._publish(VariantApplied(ticket=slot.ticket, variant=slot.variant, index=slot.index))
            slot.ticket = None
        self._call()
        return slot

    def _within_window(self, seconds: float) -> float:
        """*seconds*, moved to what a live presentation offers: its live point to begin with, its window later."""
        timeline = self.library.timelines[self._first_of(self._loaded())]
        if timeline.playlist.ended:
            return max(0.0, seconds)
        if self.epoch == 0 and seconds <= 0:
            return timeline.live_start
        return min(max(seconds, timeline.starts[timeline.window]), timeline.starts[-1])

    def _slot_at(self, seconds: float, last: int | None) -> Slot | None:
        """A slot for *seconds*, of the best variant whose playlist is here."""
        allowed = self._loaded()
        variant = last if last in allowed else self._first_of(allowed)
        timeline = self.library.timelines[variant]
        if seconds >= timeline.stop and timeline.playlist.ended:
            return None
        index = timeline.index_at(seconds)
        variant, index = self._around_gaps(variant, index, seconds, allowed)
        if index >= len(self.library.timelines[variant]):
            return None
        return self._with_ticket(self._make(variant, index), last, "start")

    def _first_of(self, allowed: list[int]) -> int:
        assert self.choice is not None
        first = self.choice.first(self._loop.time())
        return first if first in allowed else allowed[0]

    def _loaded(self) -> list[int]:
        """The variants to choose among whose playlists are here and fresh; never empty."""
        assert self.choice is not None
        here = self.library.timelines
        wished = [
            index
            for index in self.choice.available(self._loop.time())
            if self.library.is_fresh(index) or (self._chain and index == self._chain[-1].variant)
        ]
        return wished or list(here)

    def _next_slot(self, variant: int, index: int, stop: float) -> Slot | None:
        """The slot behind segment *index* of *variant*, decided now among the playlists that are here."""
        timeline = self.library.timelines[variant]
        if index + 1 >= len(timeline):
            return None
        allowed = self._loaded()
        chosen = self._advised(variant, index + 1, stop, allowed)
        place = index + 1 if chosen == variant else self.library.timelines[chosen].boundary_near(stop)
        chosen, place = self._around_gaps(chosen, place, stop, allowed)
        if place >= len(self.library.timelines[chosen]):
            return None
        manual = self.choice is not None and self.choice.mode != "auto"
        return self._with_ticket(self._make(chosen, place), variant, "manual" if manual else "throughput")

    def _around_gaps(self, variant: int, index: int, stop: float, allowed: list[int]) -> tuple[int, int]:
        """Another variant where this one has a gap; past the gap where all have one."""
        timelines = self.library.timelines
        while index < len(timelines[variant]) and timelines[variant].segment(index).gap:
            for other in allowed:
                place = timelines[other].boundary_near(stop)
                if not timelines[other].segment(place).gap:
                    return other, place
            stop += timelines[variant].segment(index).duration
            index += 1
        return variant, index

    def _awaited(self, variant: int, index: int, stop: float, last: Slot | None) -> Slot | None:
        """A slot for the segment that a live list is to bring next. Raises what ended the list."""
        if self._live_error is not None:
            raise self._live_error.renewed()
        playlist = self.library.timelines[variant].playlist
        segment = replace(
            playlist.segments[-1], sequence=playlist.segments[-1].sequence + 1, duration=playlist.target_duration
        )
        store = MemoryResource()
        store.label = self.variants[variant].uri
        init = None if last is None else last.init
        media = None if last is None else last.media
        return Slot(variant, index + 1, stop, segment, None, store, init, media, state=State.AWAITED)

    def _advised(self, last: int, index: int, stop: float, allowed: list[int]) -> int:
        assert self.choice is not None
        playlist = self.library.timelines[last].playlist
        count = len(playlist.segments) if playlist.ended else None
        return self.choice.best(self._ahead(stop), last=last, index=index, count=count, allowed=allowed)

    def _ahead(self, stop: float) -> float:
        """Seconds between the listener and *stop*: half of the segment it has is taken for heard."""
        taken = [slot for slot in self._chain if slot.taken]
        heard = taken[-1].start + taken[-1].segment.duration / 2 if taken else stop
        return max(0.0, stop - heard)

    def _make(self, variant: int, index: int) -> Slot:
        timeline = self.library.timelines[variant]
        media = self.variants[variant].media(timeline.segment(index).uri)
        slot = self._shelf.slot(timeline, variant, index, media)
        if slot.state is State.DONE:
            size = slot.store.length or 0
            self._publish(SegmentLoaded(index=index, variant=variant, size=size, seconds=0.0, cached=True))
        return slot

    def _with_ticket(self, slot: Slot, last: int | None, reason: str) -> Slot:
        if slot.variant != last:
            slot.ticket = next(self._tickets)
            self._publish(VariantDecided(ticket=slot.ticket, variant=slot.variant, index=slot.index, reason=reason))
        return slot

    def _check(self) -> None:
        if self._closed:
            raise Closed("the session is closed")

    # ── live ─────────────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> None:
        """Reload the list that is heard, and hand what it brings to whoever waits for it."""
        try:
            await follow(self.library, self._heard, self._grown)
        except KitharaError as exc:
            with self._lock:
                self._live_error = exc
                for slot in self._chain:
                    if slot.state is State.AWAITED:
                        slot.state = State.FAILED
                        slot.store.fail(exc)

    def _heard(self) -> int:
        with self._lock:
            return self._chain[-1].variant if self._chain else self._first_of(self._loaded())

    def _grown(self, variant: int) -> None:
        timeline = self.library.timelines[variant]
        with self._lock:
            for slot in self._chain:
                if slot.state is not State.AWAITED or slot.variant != variant:
                    continue
                if slot.index < len(timeline) and self._fits(slot, timeline):
                    slot.segment = timeline.segment(slot.index)
                    slot.start = timeline.starts[slot.index]
                    slot.state = State.PENDING
                elif slot.index < len(timeline) or timeline.playlist.ended:
                    slot.state = State.FAILED
                    slot.store.fail(Interrupted("this segment is another now, or the end; ask for it again"))
        self._wake.set()

    def _fits(self, slot: Slot, timeline: Timeline) -> bool:
        segment = timeline.segment(slot.index)
        held = None if slot.init is None else slot.init.init
        return segment.init == held and not segment.gap and segment.discontinuity == slot.segment.discontinuity

    # ── fetching ─────────────────────────────────────────────────────────────────────────────

    def _call(self) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            self._drop_stale()
            if not self._begin_next() and await self._extend():
                continue
            await self._wake.wait()

    def _drop_stale(self) -> None:
        """Forget parts that no reader is near to, and stop what is fetched for nobody."""
        with self._lock:
            self._parts.prune()
            wanted = {id(slot) for slot in (*self._chain, *self._parts.slots.values())}
            for slot in self._active:
                if id(slot) not in wanted and slot.task is not None:
                    slot.task.cancel()

    def _begin_next(self) -> bool:
        """Start the most urgent download, one at a time, two where a listener waits. False when there is none."""
        with self._lock:
            slots = list({id(slot): slot for slot in (*self._chain, *self._parts.slots.values())}.values())
        for slot in sorted(slots, key=lambda slot: (not slot.taken, slot.start)):
            if slot.state is State.PENDING:
                hurried = slot.taken and not any(other.taken for other in self._active)
                if not self._active or (hurried and len(self._active) < 2):
                    slot.state = State.ACTIVE
                    self._active.append(slot)
                    slot.task = self._loop.create_task(self._bring(slot))
                return True
            if slot.state is State.DONE:
                self._fetcher.begin_init(slot.init)
        return bool(self._active)

    async def _extend(self) -> bool:
        """Want one more segment ahead, when there is room for it. False when nothing more is wanted."""
        with self._lock:
            tail = self._chain[-1] if self._has_room() else None
            if tail is None:
                return self._parts.extend()
        await self._prepare(tail)
        with self._lock:
            if self._chain and self._chain[-1] is tail:
                after = self._next_slot(tail.variant, tail.index, tail.stop)
                if after is None:
                    return self._parts.extend()
                self._chain.append(after)
        return True

    async def _prepare(self, tail: Slot) -> None:
        """Have the playlists that deciding what comes behind *tail* takes: of the best variant; at a gap, of all."""
        assert self.choice is not None
        with self._lock:
            wanted = [self._wish(tail)]
            timeline = self.library.timelines[tail.variant]
            if tail.index + 1 < len(timeline) and timeline.segment(tail.index + 1).gap:
                wanted += self.choice.available(self._loop.time())
        for variant in wanted:
            await self._load_or_blame(variant)

    def _has_room(self) -> bool:
        taken = [slot for slot in self._chain if slot.taken]
        if not taken or self._chain[-1].state in (State.FAILED, State.AWAITED):
            return False
        seconds = self._chain[-1].stop - taken[-1].start
        size = sum(slot.store.total for slot in self._chain)
        return seconds < self._options.look_ahead and size < self._options.look_ahead_bytes

    def _wish(self, tail: Slot) -> int:
        """The variant that would be best behind *tail*, its playlist here or not."""
        assert self.choice is not None
        allowed = self.choice.available(self._loop.time())
        return self._advised(tail.variant, tail.index + 1, tail.stop, allowed) if allowed else tail.variant

    def _load_ahead(self) -> None:
        """Begin to load the playlist of the variant that would be best now."""
        with self._lock:
            wished = self._wish(self._chain[-1]) if self._chain else None
        if wished is not None and not self.library.is_fresh(wished):
            self._speculation = self._loop.create_task(self._load_or_blame(wished))

    async def _load_or_blame(self, variant: int) -> None:
        """Have the playlist of *variant*, or leave the variant alone for a while."""
        if self._chain and variant == self._chain[-1].variant:
            return  # a live list that is heard is reloaded by its own clock
        try:
            await self.library.load(variant)
        except KitharaError as exc:
            assert self.choice is not None
            with self._lock:
                self.choice.block(variant, self._loop.time())
            self._publish(SegmentGivenUp(index=-1, variant=variant, error=exc))

    # ── one segment ──────────────────────────────────────────────────────────────────────────

    async def _bring(self, slot: Slot) -> None:
        """Fetch *slot* to its end, whatever that is."""
        try:
            await self._fetcher.have_init(slot.init)
            size = await self._watched(slot)
        except KitharaError as exc:
            await self._on_failure(slot, exc)
        except asyncio.CancelledError:
            slot.state = State.PENDING
            raise
        except Exception as exc:
            slot.state = State.FAILED
            slot.store.fail(exc)  # a mistake of ours must not leave readers waiting
            raise
        else:
            if size is not None:
                slot.state = State.DONE
                self._learn(slot, size, aborted=False)
                self._load_ahead()
        finally:
            self._active.remove(slot)
            slot.task = None
            slot.transfer = None
            self._wake.set()

    async def _watched(self, slot: Slot) -> int | None:
        """Bytes that came; None when the download was given up for another variant."""
        transfer = slot.transfer = await self._fetcher.transfer(slot)
        running = self._loop.create_task(transfer.run())
        try:
            while not running.done():
                await asyncio.wait([running], timeout=LOOK)
                better = None if running.done() else self._better(slot, transfer)
                if better is not None and self._give_up(slot, better):
                    return None
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return transfer.received

    def _better(self, slot: Slot, transfer: Transfer) -> int | None:
        """The variant for which the download of *slot* should be given up, or None."""
        if transfer.asked is None or slot not in self._chain or (slot.taken and slot.store.total):
            return None
        begun = transfer.answered or transfer.asked
        assert self.choice is not None
        with self._lock:
            typical = int(self.variants[slot.variant].rate * slot.segment.duration / 8)
            return self.choice.better(
                slot.variant,
                done=transfer.received,
                total=max(transfer.expected or typical, transfer.received),
                seconds=self._loop.time() - begun,
                latency=begun - transfer.asked,
                buffer_seconds=self._ahead(slot.start),
                allowed=self._loaded(),
            )

    def _give_up(self, slot: Slot, variant: int) -> bool:
        """Let *variant* take the place of *slot*, whose download goes badly."""
        transfer = slot.transfer
        if not self._replace(slot, variant, "abandoned"):
            return False
        if transfer is not None:
            self._learn(slot, transfer.received, aborted=True)
        self._publish(SegmentGivenUp(index=slot.index, variant=slot.variant, error=None))
        return True

    def _learn(self, slot: Slot, size: int, *, aborted: bool) -> None:
        transfer = slot.transfer
        if transfer is None or transfer.asked is None:
            return
        answered = transfer.answered or transfer.asked
        seconds = max(self._loop.time() - answered, 1e-3)
        latency = max(answered - transfer.asked, 0.0)
        with self._lock:
            assert self.choice is not None
            self.choice.feed(size, seconds, latency, variant=slot.variant, aborted=aborted)
        if not aborted:
            loaded = SegmentLoaded(index=slot.index, variant=slot.variant, size=size, seconds=seconds, cached=False)
            self._publish(loaded)

    def _replace(self, slot: Slot, variant: int, reason: str) -> bool:
        """Put a slot of *variant* where *slot* is in the chain. False when that cannot be."""
        with self._lock:
            if slot not in self._chain or variant not in self.library.timelines:
                return False
            index = self.library.timelines[variant].boundary_near(slot.start)
            new = self._with_ticket(self._make(variant, index), slot.variant, reason)
            new.excluded = slot.excluded | {slot.variant}
            self._chain[self._chain.index(slot) :] = [new]
        slot.state = State.FAILED
        self._shelf.discard(slot.key)
        if slot.store.status == "active":
            slot.store.fail(Interrupted("this segment comes from another variant now; ask for it again"))
        return True

    async def _on_failure(self, slot: Slot, error: KitharaError) -> None:
        if isinstance(error, Cancelled):
            slot.state = State.FAILED
            return
        worthless = isinstance(error, _ABOUT_THE_BYTES)
        heard = slot.taken and slot.store.total > 0
        if worthless and not slot.second and not heard and not isinstance(error, (KeyInvalid, Unsupported)):
            await self._renew(slot)
            return
        if isinstance(error, HttpStatus) and error.status in (401, 403) and await self._with_new_address(slot):
            return
        self._publish(SegmentGivenUp(index=slot.index, variant=slot.variant, error=error))
        if slot in self._chain and not heard:
            other = await self._other(slot.excluded | {slot.variant})
            if other is not None and self._replace(slot, other, "failover"):
                return
        slot.state = State.FAILED
        gone = isinstance(error, HttpStatus) and error.status in (404, 410)
        try:  # what the cache keeps is settled before the listener hears of it, and may leave
            if worthless or gone or slot.store.total == 0:
                await asyncio.to_thread(self._shelf.discard, slot.key)
        except StoreError:
            pass  # it is never taken for whole anyway
        finally:
            slot.store.fail(error)

    async def _renew(self, slot: Slot) -> None:
        """Let *slot* be fetched once more, with a key that is asked for again. Who waits in an empty store goes on."""
        if slot.store.total:
            slot.store.cancel()
            slot.store = await asyncio.to_thread(self._shelf.reopen, slot)
        slot.second = True
        slot.state = State.PENDING

    async def _with_new_address(self, slot: Slot) -> bool:
        """Let *slot* be fetched from where the playlist, asked for again, says now: signed addresses expire."""
        if slot.second:
            return False
        slot.second = True
        try:
            timeline = await self.library.reload(slot.variant)
        except KitharaError:
            return False
        with self._lock:
            index = timeline.index_of(slot.segment.sequence)
            if index is None or timeline.segment(index).uri == slot.segment.uri:
                return False
            slot.segment = timeline.segment(index)
            slot.state = State.PENDING
        return True

    async def _other(self, tried: frozenset[int]) -> int | None:
        """The best variant not *tried* whose playlist can be had."""
        assert self.choice is not None
        if self.choice.mode != "auto":
            return None
        with self._lock:
            candidates = self.choice.available(self._loop.time(), tried)
        for variant in reversed(candidates):
            await self._load_or_blame(variant)
            if variant in self.library.timelines:
                return variant
        return None
