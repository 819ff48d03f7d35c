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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from .._core.resource import Resource
from ..errors import (
    Cancelled,
    Closed,
    DecodeError,
    HlsError,
    HttpStatus,
    Interrupted,
    KeyInvalid,
    KitharaError,
    OfflineMiss,
    PlaylistInvalid,
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
from .keys import Decryptor, require_supported, segment_decryptor, segment_iv
from .ladder import HlsVariant
from .model import Key, MasterPlaylist, MediaPlaylist
from .names import variant_name
from .options import HlsOptions
from .slots import InitSection, Shelf, Slot, State
from .timeline import Timeline
from .transfer import Transfer

LOOK = 0.1
"""Seconds between two looks at a download that might better be given up."""

WISH = 1.0
"""Seconds that a wish for another variant may hold up the next segment."""

COMMITTING = 2.0
"""Seconds that closing gives the disk to keep what is whole."""

_ABOUT_THE_BYTES = (DecodeError, HlsError, RepresentationChanged, RangeMismatch)
"""Errors after which what came is worthless."""


class Engine:
    """What fetches one presentation. Made and closed on the portal's loop.

    Attributes:
        variants: What can be chosen, in the playlist's order.
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
        self._documents = documents
        self._client = client
        self._shelf = shelf
        self._options = options
        self._publish = publish
        self._headers = headers
        self._offline = offline
        self._variables = variables
        self._trust = trust
        self._lock = threading.RLock()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._timelines: dict[int, Timeline] = {}
        self._trusts: dict[int, Trust | None] = {}
        self._loading: dict[int, asyncio.Task[Timeline]] = {}
        self._chain: list[Slot] = []  # what the listener hears, from the segment before the one it has
        self._parts: dict[tuple[int, int], Slot] = {}  # what readers of one variant's bytes have open, and what follows
        self._open_parts: dict[tuple[int, int], int] = {}
        self._mode: Mode = options.variant
        self._wish_settled = threading.Event()
        self._active: list[Slot] = []
        self._commits: set[asyncio.Task[None]] = set()
        self._tickets = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._speculation: asyncio.Task[None] | None = None  # the loop itself keeps only weak references
        self._closed = False

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    async def start(self, entry: MediaPlaylist | None) -> None:
        """Load what playing begins with; *entry* is the media playlist where the presentation has no master.

        Raises whatever keeps every variant from being played.
        """
        if entry is not None:
            self._timelines[0] = Timeline(self._playable(entry))
            self._trusts[0] = self._trust
        await self._load_first()
        self._task = self._loop.create_task(self._run())

    async def close(self) -> None:
        """Stop fetching; whoever waits for a byte that is not here gets `Cancelled`."""
        self._closed = True
        if self._commits:
            await asyncio.wait(self._commits, timeout=COMMITTING)
        tasks: list[asyncio.Task[Any] | None] = [self._task, self._speculation, *self._loading.values()]
        with self._lock:
            slots = [*self._chain, *self._parts.values()]
            inits = list(self._shelf.inits.values())
        tasks += [slot.task for slot in self._active] + [init.task for init in inits]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._documents.close()
        for store in [slot.store for slot in slots] + [init.store for init in inits]:
            if store.status == "active":
                store.cancel()

    async def _load_first(self) -> None:
        """The playlist to start with: of the variant wished for, else of the first that can be had."""
        failures: list[KitharaError] = []
        order = sorted(range(len(self.variants)), key=lambda index: self.variants[index].rate or 1 << 62)
        if self._mode != "auto":
            if self._mode >= len(self.variants):
                raise ValueError(f"variant {self._mode} of {len(self.variants)}")
            order = [self._mode]
        for index in order:
            try:
                timeline = await self.load(index)
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
            return
        raise failures[0]

    # ── playlists ────────────────────────────────────────────────────────────────────────────

    @property
    def first_variant(self) -> int:
        """Where playing would begin."""
        with self._lock:
            return self._first_of(self._loaded())

    @property
    def timelines(self) -> dict[int, Timeline]:
        """The timelines that are here, by variant."""
        return self._timelines

    async def load(self, variant: int) -> Timeline:
        """The timeline of *variant*; fetched once, however many ask. Raises what keeps it from being played."""
        held = self._timelines.get(variant)
        if held is not None:
            return held
        task = self._loading.get(variant)
        if task is None:
            task = self._loading[variant] = self._loop.create_task(self._load(variant))
            task.add_done_callback(lambda _: self._loading.pop(variant, None))
        return await asyncio.shield(task)

    async def _load(self, variant: int) -> Timeline:
        listing = await self._documents.playlist(
            self.variants[variant].uri, variant_name(variant), trust=self._trust, variables=self._variables
        )
        if isinstance(listing.playlist, MasterPlaylist):
            raise PlaylistInvalid("a master playlist inside a master playlist", url=self.variants[variant].uri)
        playlist = self._playable(listing.playlist)
        with self._lock:
            reference = next(iter(self._timelines.values()), None)
            timeline = Timeline(playlist) if reference is None else reference.aligned(playlist)
            self._timelines[variant] = timeline
            self._trusts[variant] = listing.trust
        return timeline

    def _playable(self, playlist: MediaPlaylist) -> MediaPlaylist:
        if playlist.iframes_only:
            raise Unsupported("a playlist of pictures", url=playlist.url)
        for segment in playlist.segments:
            for key in (segment.key, None if segment.init is None else segment.init.key):
                if key is not None:
                    require_supported(key, url=playlist.url)
        if not playlist.segments:
            raise PlaylistInvalid("a playlist without segments", url=playlist.url)
        if not playlist.ended:
            raise Unsupported("live playlists are not supported yet", url=playlist.url)
        return playlist

    # ── what decoders' threads ask ───────────────────────────────────────────────────────────

    def at(self, seconds: float) -> Slot | None:
        """The slot that sounds at *seconds*, of a new epoch; None past the end. Begins a new chain there."""
        with self._lock:
            self._check()
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

        Where the listener has just wished for another variant, it waits a moment for that one's playlist.
        """
        if self._mode != "auto" and self._mode not in self._timelines:
            self._wish_settled.wait(WISH)
        with self._lock:
            self._check()
            for place, slot in enumerate(self._chain):
                if slot.variant == variant and slot.index == index:
                    if place + 1 < len(self._chain) and self._chain[place + 1].state is not State.FAILED:
                        return self._take(self._chain[place + 1])
                    del self._chain[place + 1 :]
                    break
            else:
                self._chain.clear()
            after = self._next_slot(variant, index, stop)
            if after is None:
                return None
            self._chain.append(after)
            return self._take(after)

    def part(self, variant: int, index: int) -> Slot:
        """Segment *index* of *variant* for a reader of that variant's bytes; `leave` it when done."""
        with self._lock:
            self._check()
            slot = self._parts.get((variant, index))
            if slot is None or slot.state is State.FAILED:
                slot = self._parts[variant, index] = self._make(variant, index)
            slot.taken = True
            self._open_parts[variant, index] = self._open_parts.get((variant, index), 0) + 1
        self._call()
        return slot

    def leave(self, variant: int, index: int) -> None:
        """The reader that took `part` has left it."""
        with self._lock:
            left = self._open_parts.get((variant, index), 0) - 1
            if left > 0:
                self._open_parts[variant, index] = left
            else:
                self._open_parts.pop((variant, index), None)
        self._call()

    def init_of(self, variant: int, index: int) -> InitSection | None:
        """The init section that segment *index* of *variant* needs, being fetched from now on."""
        slot = self.part(variant, index)
        self.leave(variant, index)
        if slot.init is not None:
            self._loop.call_soon_threadsafe(self._begin_init, slot.init)
        return slot.init

    @property
    def mode(self) -> Mode:
        """``"auto"``, or the variant that the listener wants."""
        return self._mode

    def set_mode(self, mode: int | Literal["auto"]) -> None:
        """Want variant *mode* from the next segment on, as soon as its playlist is here; or let the network decide."""
        if mode != "auto" and not 0 <= mode < len(self.variants):
            raise ValueError(f"variant {mode} of {len(self.variants)}")
        with self._lock:
            self._check()
            self._mode = mode
            if mode == "auto" or mode in self._timelines:
                self._apply_mode()
        if mode != "auto" and mode not in self._timelines:
            self._wish_settled.clear()
            self._loop.call_soon_threadsafe(self._load_wanted, mode)
        self._call()

    def _load_wanted(self, variant: int) -> None:
        if self._closed or variant in self._timelines:
            self._wish_settled.set()
        else:
            self._speculation = self._loop.create_task(self._load_then_apply(variant))

    async def _load_then_apply(self, variant: int) -> None:
        try:
            await self.load(variant)
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
            await self.load(mode)
            with self._lock:
                if self._mode == mode:
                    self._apply_mode()
            return
        with self._lock:
            wished = self._wish(self._chain[-1]) if self._chain else None
        if wished is not None:
            await self._load_or_blame(wished)

    def _apply_mode(self) -> None:
        if self.choice is None or self.choice.mode == self._mode:
            return
        self.choice.mode = self._mode
        taken = max((place for place, slot in enumerate(self._chain) if slot.taken), default=-1)
        dropped = self._chain[taken + 1 :]
        del self._chain[taken + 1 :]
        self._loop.call_soon_threadsafe(self._stop_tasks, dropped)

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

    def _slot_at(self, seconds: float, last: int | None) -> Slot | None:
        """A slot for *seconds*, of the best variant whose playlist is here."""
        allowed = self._loaded()
        variant = last if last in allowed else self._first_of(allowed)
        timeline = self._timelines[variant]
        if seconds >= timeline.stop and timeline.playlist.ended:
            return None
        return self._with_ticket(self._make(variant, timeline.index_at(max(0.0, seconds))), last, "start")

    def _first_of(self, allowed: list[int]) -> int:
        assert self.choice is not None
        first = self.choice.first(self._loop.time())
        return first if first in allowed else allowed[0]

    def _loaded(self, excluded: frozenset[int] = frozenset()) -> list[int]:
        """The variants to choose among whose playlists are here; never empty unless all are *excluded*."""
        assert self.choice is not None
        wished = [index for index in self.choice.available(self._loop.time(), excluded) if index in self._timelines]
        return wished or [index for index in self._timelines if index not in excluded]

    def _next_slot(self, variant: int, index: int, stop: float) -> Slot | None:
        """The slot behind segment *index* of *variant*, decided now among the playlists that are here."""
        timeline = self._timelines[variant]
        if index + 1 >= len(timeline) and timeline.playlist.ended:
            return None
        allowed = self._loaded()
        chosen = self._advised(variant, index + 1, stop, allowed)
        place = index + 1 if chosen == variant else self._timelines[chosen].boundary_near(stop)
        chosen, place = self._around_gaps(chosen, place, stop, allowed)
        if place >= len(self._timelines[chosen]):
            return None
        manual = self.choice is not None and self.choice.mode != "auto"
        return self._with_ticket(self._make(chosen, place), variant, "manual" if manual else "throughput")

    def _around_gaps(self, variant: int, index: int, stop: float, allowed: list[int]) -> tuple[int, int]:
        """Another variant where this one has a gap; past the gap where all have one."""
        while index < len(self._timelines[variant]) and self._timelines[variant].segment(index).gap:
            for other in allowed:
                place = self._timelines[other].boundary_near(stop)
                if not self._timelines[other].segment(place).gap:
                    return other, place
            stop += self._timelines[variant].segment(index).duration
            index += 1
        return variant, index

    def _advised(self, last: int, index: int, stop: float, allowed: list[int]) -> int:
        assert self.choice is not None
        timeline = self._timelines[last]
        return self.choice.best(self._ahead(stop), last=last, index=index, count=len(timeline), allowed=allowed)

    def _ahead(self, stop: float) -> float:
        """Seconds between the listener and *stop*: half of the segment it has is taken for heard."""
        taken = [slot for slot in self._chain if slot.taken]
        heard = taken[-1].start + taken[-1].segment.duration / 2 if taken else stop
        return max(0.0, stop - heard)

    def _make(self, variant: int, index: int) -> Slot:
        segment = self._timelines[variant].segment(index)
        slot = self._shelf.slot(self._timelines[variant], variant, index, self.variants[variant].media(segment.uri))
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

    def _slots(self) -> Iterator[Slot]:
        """Every slot in use, the most urgent first."""
        slots = {id(slot): slot for slot in (*self._chain, *self._parts.values())}.values()
        yield from sorted(slots, key=lambda slot: (not slot.taken, slot.start))

    def _drop_stale(self) -> None:
        """Forget parts that no reader is near to, and stop what is fetched for nobody."""
        with self._lock:
            for place in list(self._parts):
                if not self._is_near(place):
                    del self._parts[place]
            wanted = {id(slot) for slot in (*self._chain, *self._parts.values())}
            self._stop_tasks([slot for slot in self._active if id(slot) not in wanted])

    def _is_near(self, place: tuple[int, int]) -> bool:
        variant, index = place
        start = self._timelines[variant].starts[index]
        for other, opened in self._open_parts:
            if other == variant:
                lead = start - self._timelines[variant].starts[opened]
                if 0 <= lead <= self._options.look_ahead:
                    return True
        return False

    def _stop_tasks(self, slots: list[Slot]) -> None:
        for slot in slots:
            if slot.task is not None and not slot.task.done():
                slot.task.cancel()
                slot.task = None
                slot.state = State.PENDING

    def _begin_next(self) -> bool:
        """Start the most urgent download, one at a time, two where a listener waits. False when there is none."""
        with self._lock:
            slots = list(self._slots())
        active = self._active
        for slot in slots:
            if slot.state is State.PENDING:
                hurried = slot.taken and not any(other.taken for other in active)
                if not active or (hurried and len(active) < 2):
                    slot.state = State.ACTIVE
                    self._active.append(slot)
                    slot.task = self._loop.create_task(self._bring(slot))
                return True
            if slot.state is State.DONE and slot.init is not None:
                self._begin_init(slot.init)
        return bool(active)

    async def _extend(self) -> bool:
        """Want one more segment ahead, when there is room for it. False when nothing more is wanted."""
        with self._lock:
            tail = self._chain[-1] if self._chain else None
            taken = [slot for slot in self._chain if slot.taken]
            if tail is not None and taken and tail.state is not State.FAILED:
                ahead = sum(slot.store.total for slot in self._chain)
                if tail.stop - taken[-1].start < self._options.look_ahead and ahead < self._options.look_ahead_bytes:
                    wished = self._wish(tail)
                else:
                    tail = None
            else:
                tail = None
        if tail is None:
            return self._extend_parts()
        if wished not in self._timelines:
            await self._load_or_blame(wished)
        with self._lock:
            if self._chain and self._chain[-1] is tail:
                after = self._next_slot(tail.variant, tail.index, tail.stop)
                if after is None:
                    return self._extend_parts()
                self._chain.append(after)
        return True

    def _load_ahead(self) -> None:
        """Begin to load the playlist of the variant that would be best now."""
        with self._lock:
            wished = self._wish(self._chain[-1]) if self._chain else None
        if wished is not None and wished not in self._timelines and wished not in self._loading:
            self._speculation = self._loop.create_task(self._load_or_blame(wished))

    async def _load_or_blame(self, variant: int) -> None:
        try:
            await self.load(variant)
        except KitharaError as exc:
            self._blame(variant, exc)

    def _wish(self, tail: Slot) -> int:
        """The variant that would be best behind *tail*, its playlist here or not."""
        assert self.choice is not None
        allowed = self.choice.available(self._loop.time())
        if not allowed:
            return tail.variant
        return self._advised(tail.variant, tail.index + 1, tail.stop, allowed)

    def _extend_parts(self) -> bool:
        """One more segment behind those that readers of one variant have open."""
        with self._lock:
            for variant, index in sorted(self._open_parts):
                timeline = self._timelines[variant]
                size = 0
                for after in range(index, len(timeline)):
                    if timeline.starts[after] - timeline.starts[index] > self._options.look_ahead:
                        break
                    slot = self._parts.get((variant, after))
                    if slot is None and not timeline.segment(after).gap:
                        self._parts[variant, after] = self._make(variant, after)
                        return True
                    size += 0 if slot is None else slot.store.total
                    if size > self._options.look_ahead_bytes:
                        break
        return False

    def _blame(self, variant: int, error: KitharaError) -> None:
        assert self.choice is not None
        with self._lock:
            self.choice.block(variant, self._loop.time())
        self._publish(SegmentGivenUp(index=-1, variant=variant, error=error))

    # ── one segment ──────────────────────────────────────────────────────────────────────────

    async def _bring(self, slot: Slot) -> None:
        """Fetch *slot* to its end, whatever that is."""
        try:
            await self._bring_init(slot.init)
            size = await self._watched(slot)
        except KitharaError as exc:
            await self._on_failure(slot, exc)
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
        if self._offline:
            raise OfflineMiss("offline, and the segment is not in the cache", url=slot.segment.uri)
        transfer = await self._transfer(slot)
        slot.transfer = transfer
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

    async def _transfer(self, slot: Slot) -> Transfer:
        segment = slot.segment
        decryptor: Decryptor | None = None
        trust = self._trusts.get(slot.variant)
        if segment.key is not None:
            playlist_url = self._timelines[slot.variant].playlist.url
            content = await self._documents.key(segment.key, playlist_url, trust=trust, refresh=slot.second)
            decryptor = segment_decryptor(content, segment)
        return Transfer(
            self._client,
            segment.uri,
            slot.store,
            byterange=segment.byterange,
            decryptor=decryptor,
            headers=self._headers,
            trust=trust,
            priority=0 if slot.taken else 1,
            commit=self._commit,
        )

    def _better(self, slot: Slot, transfer: Transfer) -> int | None:
        """The variant for which the download of *slot* should be given up, or None."""
        total = transfer.expected
        if transfer.asked is None or slot not in self._chain or (slot.taken and slot.store.total):
            return None
        now = self._loop.time()
        begun = transfer.answered or transfer.asked
        assert self.choice is not None
        with self._lock:
            typical = int(self.variants[slot.variant].rate * slot.segment.duration / 8)
            return self.choice.better(
                slot.variant,
                done=transfer.received,
                total=max(total or typical, transfer.received),
                seconds=now - begun,
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
        now = self._loop.time()
        answered = transfer.answered or transfer.asked
        seconds = max(now - answered, 1e-3)
        with self._lock:
            assert self.choice is not None
            self.choice.feed(size, seconds, max(answered - transfer.asked, 0.0), variant=slot.variant, aborted=aborted)
        if not aborted:
            self._publish(
                SegmentLoaded(index=slot.index, variant=slot.variant, size=size, seconds=seconds, cached=False)
            )

    def _replace(self, slot: Slot, variant: int, reason: str) -> bool:
        """Put a slot of *variant* where *slot* is in the chain. False when it is not there any more."""
        with self._lock:
            if slot not in self._chain or variant not in self._timelines:
                return False
            timeline = self._timelines[variant]
            index = slot.index if variant == slot.variant else timeline.boundary_near(slot.start)
            new = self._with_ticket(self._make(variant, index), slot.variant, reason)
            new.excluded = slot.excluded | ({slot.variant} if variant != slot.variant else frozenset())
            place = self._chain.index(slot)
            self._chain[place:] = [new]
            new.taken = False
        slot.state = State.FAILED
        self._shelf.discard(slot.key)
        if slot.store.status == "active":
            slot.store.fail(Interrupted("this segment comes from another variant now; ask for it again"))
        return True

    async def _on_failure(self, slot: Slot, error: KitharaError) -> None:
        if isinstance(error, Cancelled):
            return
        worthless = isinstance(error, _ABOUT_THE_BYTES)
        heard = slot.taken and slot.store.total > 0
        if worthless and not slot.second and not heard and not isinstance(error, (KeyInvalid, Unsupported)):
            await self._renew(slot)
            return
        self._publish(SegmentGivenUp(index=slot.index, variant=slot.variant, error=error))
        tried = slot.excluded | {slot.variant}
        if slot in self._chain and not heard:
            for variant in await self._others(tried):
                slot.excluded = tried
                if self._replace(slot, variant, "failover"):
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

    async def _others(self, tried: frozenset[int]) -> list[int]:
        """The variants that may stand in, the nearest first, whose playlists can be had."""
        assert self.choice is not None
        with self._lock:
            candidates = self.choice.available(self._loop.time(), tried)
        if self.choice.mode != "auto":
            return []
        for variant in reversed(candidates):
            await self._load_or_blame(variant)
            if variant in self._timelines:
                return [variant]
        return []

    async def _commit(self, store: Resource) -> None:
        """Commit *store* in a worker thread, to the end even if its reader has read all and left."""
        task = self._loop.create_task(asyncio.to_thread(store.commit))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        await asyncio.shield(task)

    # ── init sections ────────────────────────────────────────────────────────────────────────

    def _begin_init(self, section: InitSection) -> None:
        if section.task is None and section.store.status == "active" and not self._closed:
            section.task = self._loop.create_task(self._fetch_init(section))

    async def _bring_init(self, section: InitSection | None) -> None:
        """Have *section*. Raises what keeps it away."""
        if section is None or section.store.status == "committed":
            return
        self._begin_init(section)
        if section.task is not None:
            await asyncio.shield(section.task)
        if section.store.status != "committed":
            section.store.wait_range(0, 1, 0)  # raises what it failed with

    async def _fetch_init(self, section: InitSection) -> None:
        try:
            if self._offline and not section.init.uri.startswith("data:"):
                raise OfflineMiss("offline, and the init section is not in the cache", url=section.init.uri)
            transfer = Transfer(
                self._client,
                section.init.uri,
                section.store,
                byterange=section.init.byterange,
                decryptor=await self._init_decryptor(section.variant, section.init.key, section.init.uri),
                headers=self._headers,
                trust=self._trusts.get(section.variant),
                commit=self._commit,
            )
            await transfer.run()
        except KitharaError as exc:
            section.store.fail(exc)
        finally:
            section.task = None
            self._wake.set()

    async def _init_decryptor(self, variant: int, key: Key | None, url: str) -> Decryptor | None:
        if key is None:
            return None
        playlist_url = self._timelines[variant].playlist.url
        content = await self._documents.key(key, playlist_url, trust=self._trusts.get(variant))
        return content.decryptor(segment_iv(key, 0), url=url)
