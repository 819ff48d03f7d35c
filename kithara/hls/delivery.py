"""One segment from wish to store: fetched, watched while it comes, asked for again, or had from another variant."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

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
from .fetcher import Fetcher
from .program import Program
from .slots import InitSection, Shelf, Slot, State
from .transfer import Transfer

LOOK = 0.1
"""Seconds between two looks at a download that might better be given up."""

_ABOUT_THE_BYTES = (DecodeError, EmptyBody, HlsError, RepresentationChanged, RangeMismatch)
"""Errors after which what came is worthless."""


class Delivery:
    """Brings slots to their end, whatever that is. Lives on one loop.

    Args:
        lock: Under which *program* is used.
        have: Has the playlist of a variant, or sees to it that the variant is left alone for a while.
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
    ) -> None:
        self._program = program
        self._catalogue = catalogue
        self._fetcher = fetcher
        self._shelf = shelf
        self._publish = publish
        self._lock = lock
        self._have = have
        self._loop = asyncio.get_running_loop()

    async def bring(self, slot: Slot) -> bool:
        """Fetch *slot*. False when it was not: given up, to be fetched anew, had from elsewhere, or failed."""
        try:
            await self._fetcher.have_init(slot.init)
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
        if transfer is not None and transfer.asked is not None:
            self._publish(slot.loaded(size, self._seconds(transfer), cached=False))
        return True

    async def _watched(self, slot: Slot) -> int | None:
        """Bytes that came; None when the download was given up for another variant."""
        transfer = slot.transfer = await self._fetcher.transfer(slot)
        # Before its last byte can be read: who has read it asks what comes next at once.
        transfer.arrived = lambda: self._learn(slot, transfer, aborted=False)
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
            transfer.arrived = None  # which refers to the slot, and so keeps its file
        return transfer.received

    def _better(self, slot: Slot, transfer: Transfer) -> int | None:
        """The variant for which the download of *slot* should be given up, or None."""
        if transfer.asked is None or transfer.ended is not None or slot not in self._program.chain:
            return None
        if slot.taken and slot.store.total:  # it is being heard
            return None
        begun = transfer.answered or transfer.asked
        with self._lock:
            typical = self._program.typical(slot.variant, slot.segment.duration)
            return self._program.choice.better(
                slot.variant,
                done=transfer.received,
                total=max(transfer.expected or typical, transfer.received),
                seconds=self._loop.time() - begun,
                latency=begun - transfer.asked,
                buffer_seconds=self._program.ahead(slot.start),
                allowed=self._program.loaded(),
            )

    def _give_up(self, slot: Slot, variant: int) -> bool:
        """Let *variant* take the place of *slot*, whose download goes badly."""
        transfer = slot.transfer
        with self._lock:
            if not self._program.replace(slot, variant, "abandoned"):
                return False
        if transfer is not None:
            self._learn(slot, transfer, aborted=True)
        self._publish(slot.given_up(None, self._loop.time()))
        return True

    def _learn(self, slot: Slot, transfer: Transfer, *, aborted: bool) -> None:
        """Tell the controller how *transfer* went."""
        if transfer.asked is None:
            return
        latency = max((transfer.answered or transfer.asked) - transfer.asked, 0.0)
        with self._lock:
            self._program.choice.feed(
                transfer.received, self._seconds(transfer), latency, variant=slot.variant, aborted=aborted
            )

    def _seconds(self, transfer: Transfer) -> float:
        """What the bytes of *transfer* took from the first to the last, or take until now."""
        begun = transfer.answered or transfer.asked or 0.0
        return max((transfer.ended or self._loop.time()) - begun, 1e-3)

    async def _on_failure(self, slot: Slot, error: KitharaError) -> None:
        if isinstance(error, (Cancelled, Interrupted, WriterGone)):  # another has its place, or its file
            slot.state = State.FAILED
            if slot.store.status == "active":
                slot.store.fail(error)
            return
        worthless = isinstance(error, _ABOUT_THE_BYTES)
        heard = slot.taken and slot.store.total > 0
        if worthless and not slot.second and not heard and not isinstance(error, (KeyInvalid, Unsupported)):
            await self._renew(slot, error)
            return
        if isinstance(error, HttpStatus) and error.status in (401, 403) and await self._with_new_address(slot):
            return
        self._publish(slot.given_up(error, self._loop.time()))
        if not heard and await self._replaced(slot):
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

    async def init_failed(self, section: InitSection, error: KitharaError) -> None:
        """Tell whoever waits for *section*, which *error* keeps away: to ask again where another variant stands in."""
        with self._lock:
            slot = next((slot for slot in self._program.chain if slot.init is section), None)
        replaced = slot is not None and await self._replaced(slot)
        if slot is not None:
            self._publish(slot.given_up(error, self._loop.time()))
        section.store.fail(Interrupted("another variant stands in; ask for the segment again") if replaced else error)

    async def _replaced(self, slot: Slot) -> bool:
        """Let another variant stand in for *slot*, which is to be heard; False where none can."""
        if slot not in self._program.chain:
            return False
        other = await self._other(slot.variant, slot.excluded | {slot.variant})
        if other is None:
            return False
        with self._lock:
            return self._program.replace(slot, other, "failover")

    async def _renew(self, slot: Slot, error: KitharaError) -> None:
        """Let *slot* be fetched once more, with a key that is asked for again. Who waits in an empty store goes on."""
        slot.second = True
        if not slot.store.total:
            slot.state = State.PENDING
            return
        fresh = await asyncio.to_thread(self._shelf.reopen, slot)
        with self._lock:  # nobody had the old store; somebody may have taken it meanwhile
            old, slot.store = slot.store, fresh
            slot.state = State.PENDING
            heard = slot in self._program.chain
        if old.status == "active":
            old.fail(Interrupted("what came is no good, and is fetched anew; ask for it again") if heard else error)

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

    async def _other(self, failed: int, tried: frozenset[int]) -> int | None:
        """The best variant instead of *failed*, not *tried*, whose playlist can be had."""
        choice = self._program.choice
        if choice.mode != "auto":
            return None
        with self._lock:
            candidates = choice.instead_of(failed, self._loop.time(), tried)
        for variant in candidates:
            await self._have(variant)
            if variant in self._catalogue.timelines:
                return variant
        return None
