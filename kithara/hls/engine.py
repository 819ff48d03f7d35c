"""Fetches segments in the order in which they will be heard, from the variants that are worth it.

The engine lives on the portal's loop; what decoders' threads call (`at`, `following`, `part`) only looks and notes,
under one lock that is never held across an await. Every piece of time that is wanted has one `Slot`. A slot whose
download is given up, before anybody was given a byte of it, is replaced; whoever waits in its store is told
`Interrupted` and asks again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..errors import (
    Cancelled,
    Closed,
    DecodeError,
    HlsError,
    HttpStatus,
    KeyInvalid,
    KitharaError,
    RangeMismatch,
    RepresentationChanged,
    StoreError,
    Unsupported,
)
from ..net import HttpClient
from ..net.policy import Trust
from .catalogue import Catalogue
from .choice import Choice, Mode
from .documents import Documents
from .events import SegmentGivenUp, SegmentLoaded
from .fetcher import Fetcher
from .ladder import HlsVariant
from .live import follow
from .model import MediaPlaylist
from .options import HlsOptions
from .parts import Parts
from .program import Program
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
        catalogue: Their playlists.
        program: What the listener hears; used under the lock. There once `start` has returned.
    """

    program: Program

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
        self._lock = threading.RLock()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.catalogue: Catalogue = Catalogue(variants, documents, variables=variables, trust=trust, lock=self._lock)
        self._documents = documents
        self._fetcher = Fetcher(
            client, documents, self.catalogue, headers=headers, offline=offline, changed=self._wake.set
        )
        self._shelf = shelf
        self._options = options
        self._publish = publish
        self._active: list[Slot] = []
        self._mode: Mode = options.variant
        self._wish_settled = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._speculation: asyncio.Task[None] | None = None  # the loop itself keeps only weak references
        self._closed = False

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    async def start(self, entry: MediaPlaylist | None) -> None:
        """Load what playing begins with; *entry* is the media playlist where the presentation has no master.

        Raises whatever keeps every variant from being played.
        """
        if entry is not None:
            self.catalogue.adopt(entry)
        timeline, choice = await self._load_first()
        self.program = Program(self.variants, self.catalogue, self._shelf, choice, self._publish, self._loop.time)
        options = self._options
        seconds, size = options.look_ahead, options.look_ahead_bytes
        self._parts = Parts(self.catalogue, self.program.make, seconds=seconds, size=size)
        self._tasks.append(self._loop.create_task(self._run()))
        if not timeline.playlist.ended:
            self._tasks.append(self._loop.create_task(self._follow()))

    async def close(self) -> None:
        """Stop fetching; whoever waits for a byte that is not here gets `Cancelled`."""
        self._closed = True
        await self._fetcher.close()
        inits = list(self._shelf.inits.values())
        tasks: list[asyncio.Task[Any] | None] = [*self._tasks, self._speculation, *self.catalogue.loading]
        tasks += [slot.task for slot in self._active] + [init.task for init in inits]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._documents.close()
        slots = self._slots() if self._tasks else []  # none if it never began
        for store in [slot.store for slot in slots] + [init.store for init in inits]:
            if store.status == "active":
                store.cancel()

    def _slots(self) -> list[Slot]:
        """Every slot in use, each once."""
        with self._lock:
            return list({id(slot): slot for slot in (*self.program.chain, *self._parts.slots.values())}.values())

    async def _load_first(self) -> tuple[Timeline, Choice]:
        """The playlist to start with: of the variant wished for, else of the first that can be had."""
        failures: list[KitharaError] = []
        order = sorted(range(len(self.variants)), key=lambda index: self.variants[index].rate or 1 << 62)
        if self._mode != "auto":
            if self._mode >= len(self.variants):
                raise ValueError(f"variant {self._mode} of {len(self.variants)}")
            order = [self._mode]
        for index in order:
            try:
                timeline = await self.catalogue.load(index)
            except KitharaError as exc:
                failures.append(exc)
                continue
            choice = Choice(
                self.variants,
                self._mode,
                duration=timeline.playlist.target_duration,
                capacity=self._options.look_ahead,
                options=self._options.abr,
            )
            for failed in order[: len(failures)]:
                choice.block(failed, self._loop.time())
            return timeline, choice
        raise failures[0]

    # ── what decoders' threads ask ───────────────────────────────────────────────────────────

    @property
    def first_variant(self) -> int:
        """Where playing would begin."""
        with self._lock:
            return self.program.variant

    @property
    def epoch(self) -> int:
        """Counts the seeks."""
        return self.program.epoch

    def at(self, seconds: float) -> Slot | None:
        """The slot that sounds at *seconds*, of a new epoch; None past the end."""
        with self._lock:
            self._check()
            slot = self.program.at(seconds)
        self._call()
        return slot

    def following(self, variant: int, index: int, stop: float) -> Slot | None:
        """The slot to hear after segment *index* of *variant*, which ends at *stop* seconds; None at the end.

        Where the listener has just wished for another variant, it waits a moment for that one's playlist.
        """
        if self._mode != "auto" and self._mode not in self.catalogue.timelines:
            self._wish_settled.wait(WISH)
        with self._lock:
            self._check()
            slot = self.program.following(variant, index, stop)
        self._call()
        return slot

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
            if mode == "auto" or mode in self.catalogue.timelines:
                self.program.set_mode(self._mode)
        if mode != "auto" and mode not in self.catalogue.timelines:
            self._wish_settled.clear()
            self._loop.call_soon_threadsafe(self._load_wanted, mode)
        self._call()

    def _check(self) -> None:
        if self._closed:
            raise Closed("the session is closed")

    def _load_wanted(self, variant: int) -> None:
        if self._closed or variant in self.catalogue.timelines:
            self._wish_settled.set()
        else:
            self._speculation = self._loop.create_task(self._load_then_apply(variant))

    async def _load_then_apply(self, variant: int) -> None:
        try:
            await self.catalogue.load(variant)
        except KitharaError as exc:
            self._publish(SegmentGivenUp(index=-1, variant=variant, error=exc))
        else:
            with self._lock:
                if self._mode == variant:
                    self.program.set_mode(self._mode)
        finally:
            self._wish_settled.set()
            self._wake.set()

    async def ready(self) -> None:
        """Wait until the playlist of the variant that is to come next is here.

        Raises what keeps a variant that the listener wants from being played.
        """
        mode = self._mode
        if mode != "auto":
            await self.catalogue.load(mode)
            with self._lock:
                if self._mode == mode:
                    self.program.set_mode(self._mode)
            return
        tail = self.program.tail
        if tail is not None:
            await self._prepare(tail)

    # ── live ─────────────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> None:
        """Reload the list that is heard, and hand what it brings to whoever waits for it."""
        try:
            await follow(self.catalogue, lambda: self.first_variant, self._grown)
        except KitharaError as exc:
            with self._lock:
                self.program.fail(exc)

    def _grown(self, variant: int) -> None:
        with self._lock:
            self.program.grown(variant)
        self._wake.set()

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
        wanted = self._slots()
        for slot in self._active:
            if slot not in wanted and slot.task is not None:
                slot.task.cancel()

    def _begin_next(self) -> bool:
        """Start the most urgent download, one at a time, two where a listener waits. False when there is none."""
        for slot in sorted(self._slots(), key=lambda slot: (not slot.taken, slot.start)):
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
            room = self.program.has_room(self._options.look_ahead, self._options.look_ahead_bytes)
            tail = self.program.tail if room else None
            if tail is None:
                return self._parts.extend()
        await self._prepare(tail)
        with self._lock:
            return self.program.extend(tail) or self._parts.extend()

    async def _prepare(self, tail: Slot) -> None:
        """Have the playlists that deciding what comes behind *tail* takes: of the best variant; at a gap, of all."""
        with self._lock:
            wanted = [self.program.wish(tail)]
            if self.program.is_before_gap(tail):
                wanted += self.program.choice.available(self._loop.time())
        for variant in wanted:
            await self._load_or_blame(variant)

    def _load_ahead(self) -> None:
        """Begin to load the playlist of the variant that would be best now."""
        with self._lock:
            tail = self.program.tail
            wished = None if tail is None else self.program.wish(tail)
        if wished is not None and not self.catalogue.is_fresh(wished):
            self._speculation = self._loop.create_task(self._load_or_blame(wished))

    async def _load_or_blame(self, variant: int) -> None:
        """Have the playlist of *variant*, or leave the variant alone for a while."""
        tail = self.program.tail
        if tail is not None and variant == tail.variant:
            return  # a live list that is heard is reloaded by its own clock
        try:
            await self.catalogue.load(variant)
        except KitharaError as exc:
            with self._lock:
                self.program.choice.block(variant, self._loop.time())
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
        if transfer.asked is None or slot not in self.program.chain or (slot.taken and slot.store.total):
            return None
        begun = transfer.answered or transfer.asked
        with self._lock:
            typical = int(self.variants[slot.variant].rate * slot.segment.duration / 8)
            return self.program.choice.better(
                slot.variant,
                done=transfer.received,
                total=max(transfer.expected or typical, transfer.received),
                seconds=self._loop.time() - begun,
                latency=begun - transfer.asked,
                buffer_seconds=self.program.ahead(slot.start),
                allowed=self.program.loaded(),
            )

    def _give_up(self, slot: Slot, variant: int) -> bool:
        """Let *variant* take the place of *slot*, whose download goes badly."""
        transfer = slot.transfer
        with self._lock:
            if not self.program.replace(slot, variant, "abandoned"):
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
            self.program.choice.feed(size, seconds, latency, variant=slot.variant, aborted=aborted)
        if not aborted:
            loaded = SegmentLoaded(index=slot.index, variant=slot.variant, size=size, seconds=seconds, cached=False)
            self._publish(loaded)

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
        if slot in self.program.chain and not heard:
            other = await self._other(slot.excluded | {slot.variant})
            if other is not None:
                with self._lock:
                    if self.program.replace(slot, other, "failover"):
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
            timeline = await self.catalogue.reload(slot.variant)
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
        choice = self.program.choice
        if choice.mode != "auto":
            return None
        with self._lock:
            candidates = choice.available(self._loop.time(), tried)
        for variant in reversed(candidates):
            await self._load_or_blame(variant)
            if variant in self.catalogue.timelines:
                return variant
        return None
