"""One segment from wish to store: fetched, watched while it comes, asked for again, or had from another variant."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Awaitable, Callable

from ..abr.estimator import Watch
from ..errors import (
    Cancelled,
    DecodeError,
    EmptyBody,
    HlsError,
    HttpStatus,
    Interrupted,
    KeyInvalid,
    KitharaError,
    RangeMismatch,
    RepresentationChanged,
    StoreError,
    Unsupported,
    WriterGone,
)
from .catalogue import Catalogue
from .events import SegmentGivenUp
from .fetcher import Fetcher
from .local import is_local
from .priming import SOON, is_worth
from .program import Program
from .slots import InitSection, Shelf, Slot, State, instead
from .transfer import Transfer

LOOK = 0.1
"""Seconds between two looks at a download that might better be given up."""

_ABOUT_THE_BYTES = (DecodeError, EmptyBody, HlsError, RepresentationChanged, RangeMismatch)
"""Errors after which what came is worthless."""


class Delivery:
    """Brings slots to their end, whatever that is. Lives on one loop.

    Args:
        lock: Under which *program* is used.
        have: Has the playlist of a variant, if it comes in time; sees to it that one which has none is left alone.
        is_read: Whether a reader of bytes has the store of a slot.
    """

    def __init__(
        self,
        program: Program,
        catalogue: Catalogue,
        fetcher: Fetcher,
        shelf: Shelf,
        publish: Callable[[object], None],
        *,
        lock: threading.RLock,
        have: Callable[[int], Awaitable[None]],
        is_read: Callable[[Slot], bool],
    ) -> None:
        self._program = program
        self._catalogue = catalogue
        self._fetcher = fetcher
        self._shelf = shelf
        self._publish = publish
        self._lock = lock
        self._have = have
        self._is_read = is_read
        self._loop = asyncio.get_running_loop()

    async def bring(self, slot: Slot) -> bool:
        """Fetch *slot*. False when it was not: given up, to be fetched anew, had from elsewhere, or failed."""
        try:
            size = await self._watched(slot)
        except KitharaError as exc:
            await self._on_failure(slot, exc)
            return False
        except asyncio.CancelledError:
            slot.state = State.PENDING
            raise
        except Exception as exc:
            slot.state = State.FAILED
            slot.store.fail(exc)  # a mistake of ours must not leave readers waiting
            raise
        if size is None:
            return False
        slot.state = State.DONE
        transfer = slot.transfer
        if transfer is not None and transfer.begun is not None:
            self._publish(slot.loaded(size, self._seconds(transfer), cached=False))
        elif transfer is not None:  # a file of this machine, or another process brought it
            self._publish(slot.loaded(slot.store.length or 0, 0.0, cached=True))
        return True

    async def _watched(self, slot: Slot) -> int | None:
        """Bytes that came; None when the download was given up for another variant."""
        since, watch = self._loop.time(), Watch(slot.variant, 0)
        running = self._loop.create_task(self._fetched(slot))
        listing: asyncio.Task[None] | None = None
        try:
            while not running.done():
                await asyncio.wait([running], timeout=LOOK)
                if not running.done() and self._forgo(slot, since, watch):
                    return None
                better = None if running.done() else self._better(slot, since)
                if better is None:
                    continue
                if not self._program.is_loaded(better):
                    if listing is None or listing.done():
                        listing = self._loop.create_task(self._listed(better))
                elif self._give_up(slot, better):
                    return None
            return await running
        finally:
            started = [task for task in (running, listing) if task is not None]
            for task in started:
                task.cancel()
            await asyncio.gather(*started, return_exceptions=True)

    async def _fetched(self, slot: Slot) -> int:
        """Fetch *slot*, and what it takes besides; the bytes that came."""
        await self._fetcher.have_init(slot.init)
        transfer = slot.transfer = await self._fetcher.transfer(slot)
        # Before its last byte can be read: who has read it asks what comes next at once.
        transfer.arrived = lambda: self._learn(slot, transfer, aborted=False)
        try:
            await transfer.run()
        finally:
            transfer.arrived = None  # which refers to the slot, and so keeps its file
        return transfer.received

    async def _listed(self, variant: int) -> None:
        await self._have(variant)

    def _better(self, slot: Slot, since: float) -> int | None:
        """The variant for which the download of *slot*, which began at *since*, should be given up, or None.

        Its init section and its key are part of it. One whose playlist is here is preferred.
        """
        transfer = slot.transfer
        if is_local(slot.segment.uri) or slot not in self._program.chain or self._is_read(slot):
            return None
        if transfer is None:
            begun, latency, done, missing = since, 0.0, 0, None
        elif transfer.begun is None or transfer.ended is not None:
            return None
        else:
            begun, latency, done, missing = _begun(transfer), _latency(transfer), transfer.received, transfer.missing
        with self._lock:
            program = self._program
            typical = program.prospect.typical(slot.variant, slot.segment.duration)
            total = done + (max(typical - done, 0) if missing is None else missing)
            begin = max(slot.start, slot.heard)
            share = program.prospect.weight(slot.variant, slot.index, begin, program.choice.duration)

            def better(allowed: list[int]) -> int | None:
                return program.choice.better(
                    slot.variant,
                    done=done,
                    total=total,
                    seconds=self._loop.time() - begun,
                    latency=latency,
                    buffer_seconds=program.left_of(slot, done / total if total and slot.store.total else 0.0),
                    allowed=allowed,
                    share=share,
                )

            here = better(program.loaded())
            return better(program.choice.available(self._loop.time())) if here is None else here

    def _forgo(self, slot: Slot, since: float, watch: Watch) -> bool:
        """Do without *slot*, whose download began at *since* and goes as *watch* tells, if it only primes a decoder and
        what is to be heard would come late for it.
        """
        with self._lock:
            program = self._program
            primed = program.primed_by(slot)
            if primed is None or is_local(slot.segment.uri) or self._is_read(slot):
                return False
            if is_worth(self._left(slot, since, watch), program.ahead(max(primed.start, primed.heard))):
                return False
            primed.before, primed.unprimed = None, True
            slot.state = State.FAILED
            if slot.store.status == "active":
                slot.store.fail(Cancelled("nobody waits for what only primes a decoder"))
        if slot.transfer is not None:
            self._learn(slot, slot.transfer, aborted=True)
        return True

    def _left(self, slot: Slot, since: float, watch: Watch) -> float:
        """Seconds that the download of *slot*, which began at *since*, is likely to go on; *watch* learns of it."""
        transfer, now = slot.transfer, self._loop.time()
        size = self._program.prospect.size(slot.variant, slot.segment)
        if transfer is None or transfer.answered is None or not transfer.received or now < transfer.answered + SOON:
            return max(self._program.choice.seconds_for(size) or 0.0, now - since)
        watch.look(transfer.received, now - transfer.answered)
        missing = transfer.missing
        missing = max(size - transfer.received, 0) if missing is None else missing
        return 8 * missing / math.exp(watch.level)

    def _give_up(self, slot: Slot, variant: int) -> bool:
        """Let *variant* take the place of *slot*, whose download goes badly."""
        transfer = slot.transfer
        with self._lock:  # whoever reads bytes may have come meanwhile
            if self._is_read(slot) or not self._program.replace(slot, variant, "abandoned"):
                return False
            if transfer is None:  # not the link is slow, but whoever has its keys
                self._program.choice.block(slot.variant, self._loop.time())
        init = slot.init
        if init is not None and init.store.status == "active":  # who waits for that waits for nothing
            if init.task is not None:
                init.task.cancel()
            init.store.fail(instead("another variant is heard now, whose segment needs no such init section"))
        if transfer is not None:
            self._learn(slot, transfer, aborted=True)
        self._publish(slot.given_up(None, self._loop.time()))
        return True

    def _learn(self, slot: Slot, transfer: Transfer, *, aborted: bool) -> None:
        """Tell the controller how *transfer* went, if it went over the network."""
        if transfer.begun is None:
            return
        with self._lock:
            self._program.choice.feed(
                transfer.received, self._seconds(transfer), _latency(transfer), variant=slot.variant, aborted=aborted
            )

    def _seconds(self, transfer: Transfer) -> float:
        """What the bytes of *transfer* took from the first to the last, or take until now."""
        return max((transfer.ended or self._loop.time()) - _begun(transfer), 1e-3)

    async def _on_failure(self, slot: Slot, error: KitharaError) -> None:
        if isinstance(error, (Cancelled, Interrupted, WriterGone)):  # another has its place, or its file
            slot.state = State.FAILED
            if slot.store.status == "active":
                slot.store.fail(error)
            return
        told = slot.given_up(error, self._loop.time())
        if (heard := self._heard(slot)) is not slot:
            slot.state = State.PENDING  # their store will tell
            await self._settle(heard, error, told)
            slot.segment = heard.segment  # its address may be another now
        else:
            await self._settle(slot, error, told)

    def _heard(self, slot: Slot) -> Slot:
        """The listener's slot that has the store of *slot*, for which another may stand in; else *slot* itself."""
        with self._lock:
            return self._program.sharing(slot) or slot

    async def _settle(self, slot: Slot, error: KitharaError, told: SegmentGivenUp) -> None:
        """Have *slot*, which *error* ended, fetched once more; or tell, and let another stand in, or let it fail."""
        worthless = isinstance(error, _ABOUT_THE_BYTES)
        again = worthless and not slot.second and not isinstance(error, (KeyInvalid, Unsupported))
        # Who reads bytes cannot take back those it has. A listener can: it drops what it heard already.
        if again and (slot in self._program.chain or not (slot.taken and slot.store.total)):
            await self._renew(slot, error)
            return
        if isinstance(error, HttpStatus) and error.status in (401, 403) and await self._with_new_address(slot):
            return
        self._publish(told)
        gone = isinstance(error, HttpStatus) and error.status in (404, 410)
        if (gone and await self._skipped(slot, error)) or await self._replaced(slot, error):
            return
        try:  # what the cache keeps is settled before the listener hears of it, and may leave
            if worthless or gone or slot.store.total == 0:
                await asyncio.to_thread(self._shelf.discard, slot.key)
        except StoreError:
            pass  # it is never taken for whole anyway
        finally:
            with self._lock:  # at once: who asks in between would be given a new slot, in the dying store or a new file
                slot.state = State.FAILED
                if isinstance(error, HttpStatus) and not error.retryable:
                    slot.refused = self._loop.time()
                slot.store.fail(error)

    async def init_failed(self, section: InitSection, error: KitharaError) -> None:
        """Tell whoever waits for *section*, which *error* keeps away: to ask again where another variant stands in."""
        with self._lock:
            slot = next((slot for slot in self._program.chain if slot.init is section), None)
        replaced = slot is not None and await self._replaced(slot, error)
        if slot is not None:
            self._publish(slot.given_up(error, self._loop.time()))
        section.store.fail(instead("another variant stands in for the segment", error) if replaced else error)

    async def _replaced(self, slot: Slot, error: KitharaError) -> bool:
        """Let another variant stand in for *slot*, which is to be heard and failed; False where none can."""
        if slot not in self._program.chain:
            return False
        other = await self._other(slot)
        if other is None:
            return False
        with self._lock:
            return self._program.replace(slot, other, "failover", error)

    async def _skipped(self, slot: Slot, error: KitharaError) -> bool:
        """Go on behind *slot*, if a listener who paused finds that its server offers it no more; False if not."""
        timeline = self._catalogue.timelines[slot.variant]
        if timeline.playlist.kind == "live":
            with contextlib.suppress(KitharaError):  # then what is known of the window must do
                await self._catalogue.reload(slot.variant)
        elif not timeline.window:  # complete, or an EVENT
            return False
        with self._lock:
            return self._program.skip(slot, error)

    async def _renew(self, slot: Slot, error: KitharaError) -> None:
        """Let *slot* be fetched once more, with a key that is asked for again. Who waits in an empty store goes on."""
        slot.second = True
        if not slot.store.total:
            slot.state = State.PENDING
            return
        opening = asyncio.ensure_future(asyncio.to_thread(self._shelf.reopen, slot))
        try:
            fresh = await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.gather(opening, return_exceptions=True)
            with contextlib.suppress(KitharaError):  # nobody will fill the file that it has made
                self._shelf.discard(slot.key)
            raise
        with self._lock:  # nobody had the old store; somebody may have taken it meanwhile
            old, slot.store = slot.store, fresh
            slot.state = State.PENDING
            heard = slot in self._program.chain
        if old.status == "active":
            old.fail(instead("what came is no good, and is fetched anew", error) if heard else error)

    async def _with_new_address(self, slot: Slot) -> bool:
        """Let *slot* be fetched from where the playlist, asked for again, says now: signed addresses expire."""
        if slot.second:
            return False
        slot.second = True
        try:
            timeline = await self._catalogue.reload(slot.variant)
        except KitharaError:
            return False
        with self._lock:
            index = timeline.index_of(slot.segment.sequence)
            if index is None or timeline.segment(index).uri == slot.segment.uri:
                return False
            slot.segment = timeline.segment(index)
            slot.state = State.PENDING
        return True

    async def _other(self, slot: Slot) -> int | None:
        """The best variant that can stand in for *slot* and was not tried, whose playlist can be had."""
        choice = self._program.choice
        if choice.mode != "auto":
            return None
        with self._lock:
            candidates = choice.instead_of(slot.variant, self._loop.time(), slot.excluded | {slot.variant})
        for variant in candidates:
            await self._have(variant)
            with self._lock:
                if self._program.stand_in(slot, variant) is not None:
                    return variant
        return None


def _begun(transfer: Transfer) -> float:
    """When the bytes of *transfer* began to come, or to be waited for."""
    return transfer.answered or transfer.begun or 0.0


def _latency(transfer: Transfer) -> float:
    """Seconds to the first byte of *transfer*, of the attempt that was answered; 0 of one that was not."""
    if transfer.answered is None or transfer.asked is None:
        return 0.0
    return max(transfer.answered - transfer.asked, 0.0)
