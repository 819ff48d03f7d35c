"""Fetches segments in the order in which they will be heard, from the variants that are worth it.

The engine lives on the portal's loop; what decoders' threads call (`at`, `following`, `part`) only looks and notes,
under one lock that is never held across an await. Every piece of time that is wanted has one `Slot`. A slot whose
download is given up is replaced; whoever waits in its store is told `Interrupted` and asks again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from .._core.resource import Resource
from ..errors import Closed, KitharaError
from ..net import HttpClient
from ..net.policy import Trust
from .catalogue import Catalogue
from .choice import Choice, Mode
from .delivery import Delivery
from .documents import Documents
from .events import SegmentGivenUp
from .fetcher import Fetcher
from .ladder import HlsVariant
from .listings import Listings
from .live import follow
from .local import LocalTree
from .model import MasterPlaylist, MediaPlaylist
from .options import HlsOptions
from .parts import Parts
from .program import Program
from .slots import InitSection, Shelf, Slot, State
from .timeline import Timeline
from .wish import Wish

TYPICAL = 6.0
"""Seconds of a segment, as long as no playlist has told."""


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
        master: MasterPlaylist | None = None,
        trust: Trust | None = None,
        local: LocalTree | None = None,
    ) -> None:
        self.variants = variants
        self._lock = threading.RLock()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.catalogue: Catalogue = Catalogue(variants, documents, master=master, trust=trust, lock=self._lock)
        self._documents = documents
        self._fetcher = Fetcher(
            client,
            documents,
            self.catalogue,
            headers=headers,
            offline=offline,
            local=local,
            changed=self._wake.set,
            failed=lambda section, error: self._delivery.init_failed(section, error),
        )
        self._shelf = shelf
        self._options = options
        self._publish = publish
        self._active: list[Slot] = []
        self._wish = Wish(
            options.variant,
            self.catalogue,
            lock=self._lock,
            play=lambda mode: self.program.set_mode(mode),
            failed=lambda variant, error: publish(SegmentGivenUp(index=-1, variant=variant, error=error)),
        )
        self._listings = Listings(self.catalogue, self._blame, self._lock)
        self._tasks: list[asyncio.Task[None]] = []
        self._errands: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references
        self._closed = False
        self._mistake: Exception | None = None

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    async def start(self, entry: MediaPlaylist | None) -> None:
        """Load what playing begins with; *entry* is the media playlist where the presentation has no master.

        Raises whatever keeps every variant from being played.
        """
        if entry is not None:
            self.catalogue.adopt(entry)
        elif self._wish.mode == "auto" and self._shelf.store is not None:
            await self.catalogue.recall()
        timeline, choice = await self._load_first()
        options = self._options
        self.program = Program(
            self.variants,
            self.catalogue,
            self._shelf,
            choice,
            self._publish,
            self._loop.time,
            exact=options.splice == "exact",
            is_read=lambda slot: self._parts.reads(slot),
        )
        seconds, size = options.look_ahead, options.look_ahead_bytes
        self._parts = Parts(self.catalogue, self.program.make, seconds=seconds, size=size)
        self._delivery = Delivery(
            self.program,
            self.catalogue,
            self._fetcher,
            self._shelf,
            self._publish,
            lock=self._lock,
            have=lambda variant: self._listings.have_one(self.program, variant),
            is_read=self._parts.reads,
        )
        self._tasks.append(self._loop.create_task(self._run()))
        if not timeline.playlist.ended:
            self._tasks.append(self._loop.create_task(self._follow()))
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Tell everybody if what runs for all of them broke: a mistake of ours must not leave readers waiting."""
        if task.cancelled() or not isinstance(error := task.exception(), Exception):
            return
        with self._lock:
            self._mistake = error
            for store in self._stores():
                store.fail(error)

    async def close(self) -> None:
        """Stop fetching; whoever waits for a byte that is not here gets `Cancelled`."""
        self._closed = True
        self._wish.settle()
        await self._fetcher.close()
        tasks: list[asyncio.Task[Any] | None] = [*self._tasks, *self._errands, *self._listings.tasks]
        tasks += self.catalogue.loading
        tasks += [slot.task for slot in self._active]
        tasks += [init.task for init in list(self._shelf.inits.values())]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._documents.close()
        with self._lock:
            for store in self._stores():
                store.cancel()

    def _stores(self) -> list[Resource]:
        """Whatever somebody may wait for."""
        slots = self._slots() if self._tasks else []  # none if it never began
        stores = [slot.store for slot in slots] + [init.store for init in self._shelf.inits.values()]
        return [store for store in stores if store.status == "active"]

    def _slots(self) -> list[Slot]:
        """Every slot in use, each once."""
        with self._lock:
            chain = self.program.chain
            primers = [slot.before for slot in chain if slot.before is not None]
            return list({id(slot): slot for slot in (*chain, *primers, *self._parts.slots.values())}.values())

    async def _load_first(self) -> tuple[Timeline, Choice]:
        """The playlist to start with: of the variant wished for, else of one whose beginning the cache has, else of the
        first that can be had.
        """
        mode = self._wish.mode
        if mode != "auto" and mode >= len(self.variants):
            raise ValueError(f"variant {mode} of {len(self.variants)}")
        lists = self.catalogue.timelines
        choice = self._choice(mode, TYPICAL)
        begins = [(line, index, line.index_at(line.beginning)) for index, line in lists.items()]
        here = choice.best_held([begin[1] for begin in begins if self._shelf.holds(*begin)])
        timeline, failures = await self._listings.first(sorted(choice.order(), key=lambda index: index != here))
        choice = self._choice(mode, timeline.playlist.target_duration)
        for failed in failures:
            choice.block(failed, self._loop.time())
        return timeline, choice

    def _choice(self, mode: Mode, duration: float) -> Choice:
        options = self._options
        return Choice(self.variants, mode, duration=duration, capacity=options.look_ahead, options=options.abr)

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

    def available_ranges(self) -> list[tuple[float, float]]:
        """The parts that are whole, from the segment that the listener has, in seconds."""
        with self._lock:
            return [(slot.start, slot.stop) for slot in self.program.chain if slot.state is State.DONE]

    def at(self, seconds: float) -> Slot | None:
        """The slot that sounds at *seconds*, of a new epoch; None past the end.

        Where the listener has just wished for another variant, its store waits a moment for that one's playlist.
        """
        with self._asked():
            waiting = self._wish.place(self.program.variant, -1, seconds) if self.program.offers(seconds) else None
            return waiting or self.program.at(seconds)

    def again(self, variant: int, index: int, start: float) -> Slot | None:
        """The slot to hear instead of segment *index* of *variant*, handed out with *start*, that broke off; None past
        the end.
        """
        with self._asked():
            return self.program.again((variant, index, start)) or self.at(start)

    def following(self, variant: int, index: int, stop: float) -> Slot | None:
        """The slot to hear after segment *index* of *variant*, which ends at *stop* seconds; None at the end.

        Where the listener has just wished for another variant, its store waits a moment for that one's playlist.
        """
        with self._asked():
            return self._wish.place(variant, index, stop) or self.program.following(variant, index, stop)

    def before(self, variant: int, index: int) -> Slot | None:
        """What comes before segment *index* of *variant*, the slot taken last, to prime a decoder; None without any."""
        with self._asked():
            return self.program.before(variant, index)

    def part(self, variant: int, index: int) -> Slot:
        """Segment *index* of *variant* for a reader of that variant's bytes; `leave` it when done."""
        with self._asked():
            return self._parts.take(variant, index)

    def leave(self, variant: int, index: int) -> None:
        """The reader that took `part` has left it."""
        with self._lock:
            self._parts.leave(variant, index)
        self._call()

    def init_of(self, variant: int, index: int) -> InitSection | None:
        """The init section that segment *index* of *variant* needs, being fetched from now on."""
        with self._lock:
            self._check()
            section = self._shelf.init(variant, self.catalogue.timelines[variant].segment(index))
        self._loop.call_soon_threadsafe(self._fetcher.begin_init, section)
        return section

    def set_mode(self, mode: int | Literal["auto"]) -> None:
        """Want variant *mode* from the next segment on, as soon as its playlist is here; or let the network decide."""
        if mode != "auto" and mode not in range(len(self.variants)):
            raise ValueError(f"variant {mode} of {len(self.variants)}")
        with self._asked():
            number = self._wish.begin(mode)
            if number is not None:
                self._loop.call_soon_threadsafe(self._fulfil, number)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Under the lock, what a thread asks for; then see to it that it is fetched."""
        with self._lock:
            self._check()
            yield
        self._call()

    def _check(self) -> None:
        if self._mistake is not None:
            raise self._mistake
        if self._closed:
            raise Closed("the session is closed")

    def _fulfil(self, number: int) -> None:
        if not self._closed:
            errand = self._loop.create_task(self._wish.fulfil(number))
            self._errands.add(errand)
            errand.add_done_callback(self._fulfilled)

    def _fulfilled(self, errand: asyncio.Task[None]) -> None:
        self._errands.discard(errand)
        self._wake.set()

    async def ready(self) -> None:
        """Wait until the playlist of the variant that is to come next is here.

        Raises what keeps a variant that the listener wants from being played.
        """
        mode = self._wish.mode
        if mode != "auto":
            await self._wish.have(mode)
            return
        if (tail := self.program.tail) is not None:
            await self._listings.prepare(self.program, tail)

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
                if slot.store.status != "active":  # who shares it has brought it, or has failed
                    slot.state = State.DONE if slot.store.status == "committed" else State.FAILED
                    continue
                if any(slot.store is other.store for other in self._active):
                    continue  # the listener and a reader of bytes want the same
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
        await self._listings.prepare(self.program, tail)
        with self._lock:
            return self.program.extend(tail) or self._parts.extend()

    def _blame(self, variant: int, error: KitharaError) -> None:
        """The playlist of *variant* cannot be had, because of *error*: leave the variant alone for a while."""
        with self._lock:
            self.program.choice.block(variant, self._loop.time())
        self._publish(SegmentGivenUp(index=-1, variant=variant, error=error))

    async def _bring(self, slot: Slot) -> None:
        """Fetch *slot* to its end, whatever that is."""
        try:
            if await self._delivery.bring(slot):
                self._listings.load_ahead(self.program)
        finally:
            self._active.remove(slot)
            slot.task = None
            slot.transfer = None
            self._wake.set()
