"""The one loop: fetch the first missing range that somebody wants, until none is missing.

First download, resume after a crash, seek, retry and "all cached" are that one sentence. The store says what is wanted;
waiting readers are served first, then what lies ahead of cursors, and at the lowest priority the lowest hole. Every
request is a closed range. The first after a miss asks for what the waiter wants; each that follows on from another is
twice as large, and is sent just early enough that its answer comes when the one before it ends.
"""

from __future__ import annotations

import asyncio
import enum
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._core.resource import Resource
from .errors import KitharaError, ProtocolViolation
from .events import Progress, Resumed, Retrying
from .net import Backoff
from .storage import StreamingResource

QUANTUM = 16 << 10
"""The least that a request asks for, unless a planner says less."""

READ_OUT = 64 << 10
"""A transfer that nobody wants any more is dropped, unless no more than this is left of it."""

SOON = 256 << 10
"""A waiter this close ahead of a transfer is served by it; further ahead it gets a request of its own."""

BACKGROUND = 256 << 10
"""The first request of filling a hole that nobody waits for."""

QUIET = 0.25
"""Seconds without a demand before holes are filled: a reader that jumps about has the link to itself."""

FOLLOW_EVERY = 0.01
"""Seconds between two looks at what another process has brought, while something is missed here."""

GLANCE_EVERY = 0.05
"""Seconds between two looks at whether another process misses something, or has left."""

PROGRESS_EVERY = 0.25
ENDLESS = 1 << 62


class Body(Protocol):
    """One validated answer; iterating gives its bytes as they arrive and raises when it ends early."""

    start: int
    stop: int | None
    ranges: bool

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Fetch(Protocol):
    """Asks the origin for ``[start, stop)``: one attempt.

    *priority* is asked when connections are few: who answers the smallest goes first.
    """

    def __call__(
        self, start: int, stop: int | None, *, priority: Callable[[], int]
    ) -> AbstractAsyncContextManager[Body]: ...


class Need(enum.IntEnum):
    """Why bytes are fetched, the most urgent first."""

    WAITING = 0
    AHEAD = 1
    AMPLE = 2
    """Ahead of a cursor that has enough for now: what is under way goes on, nothing new is asked for."""
    HOLE = 3


@dataclass(eq=False, slots=True)
class _Transfer:
    """One request under way: it has brought the bytes before `at`, and is to bring those before `stop`."""

    slot: int
    start: int
    stop: int
    need: Need
    began: float
    at: int = field(init=False)
    answered: float | None = None
    call_at: int = ENDLESS  # wake the loop when `at` gets here: the next request is due
    whole: bool = False  # the server sends everything from 0, whatever was asked
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.at = self.start

    @property
    def left(self) -> int:
        return self.stop - self.at

    @property
    def size(self) -> int:
        return self.stop - self.start

    def covers(self, position: int) -> bool:
        return self.at <= position < self.stop

    def lead(self, now: float) -> int:
        """How many bytes before its end the next request must be sent for its answer to follow without a pause."""
        if self.answered is None or now <= self.answered:
            return QUANTUM
        delay = self.answered - self.began
        rate = (self.at - self.start) / (now - self.answered)
        return max(QUANTUM, int(1.25 * rate * delay))


class Filler:
    """Fills *store* through *fetch* for as long as `run` runs.

    Args:
        store: Where the bytes go.
        fetch: Where they come from.
        answered: Awaited with each answer before its bytes are stored; raises if they must not be.
        look_ahead: How many bytes beyond a reader are fetched at most.
        complete: Whether holes are filled although nobody wants them.
        failing: Awaited with the error that ends it, before the readers hear of it.
        retries: Failures in a row without progress after which it gives up.
        publish: Is told the events.
        learned: Is called when another process was found to have learned something about the resource.

    Where another process fills the same file, this one takes what that one brings and asks it for what is missed
    here, and goes on by itself as soon as the other stops or dies.
    """

    def __init__(
        self,
        store: Resource,
        fetch: Fetch,
        answered: Callable[[Any], Awaitable[None]],
        *,
        look_ahead: int,
        complete: bool,
        failing: Callable[[BaseException], Awaitable[None]],
        retries: int = 4,
        publish: Callable[[object], None] = lambda event: None,
        learned: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self._shared = store if isinstance(store, StreamingResource) else None
        self._learned = learned
        self.complete = complete
        self.ranges = True
        self._fetch = fetch
        self._answered = answered
        self._look_ahead = look_ahead
        self._failing = failing
        self._publish = publish
        self._backoff = Backoff(retries)
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._transfers: list[_Transfer] = []
        self._sizes: dict[int, int] = {}  # where a transfer ended → its size, for those that follow on
        self._not_before = 0.0
        self._last_demand = self._loop.time()
        self._saving: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._broken = False
        self._told = (0.0, 0)

    async def run(self) -> None:
        """Fill until the store is whole (then it is committed) or has failed. Cancel it to stop filling."""
        # This thread must never wait for what it brings itself.
        self.store.produce(self._demanded, look_ahead=self._look_ahead, thread=threading.get_ident())
        try:
            while self.store.status == "active":
                self._wake.clear()
                if self._failure is not None:
                    await self._give_up(self._failure)
                    return
                if self._is_whole():
                    await self._commit()
                    return
                if self._shared is not None and not self._shared.is_writer:
                    timeout: float | None = self._follow(self._shared)
                else:
                    timeout = self._schedule()
                    if self._shared is not None:
                        timeout = GLANCE_EVERY if timeout is None else min(timeout, GLANCE_EVERY)
                await self._pause(timeout)
        finally:
            for transfer in self._transfers:
                transfer.task.cancel()
            await asyncio.gather(*(transfer.task for transfer in self._transfers), return_exceptions=True)
            if self._saving is not None:
                await asyncio.gather(self._saving, return_exceptions=True)
            self.store.retire()

    def _demanded(self) -> None:
        self._loop.call_soon_threadsafe(self._on_demand)

    def _on_demand(self) -> None:
        self._last_demand = self._loop.time()
        self._wake.set()

    async def _pause(self, timeout: float | None) -> None:
        timer = None if timeout is None else self._loop.call_later(timeout, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _follow(self, store: StreamingResource) -> float:
        """Take what another process has brought, and ask it for what is missed here; seconds until the next look."""
        known = store.length, store.validators
        leads = store.follow()
        if known != (store.length, store.validators):
            self._learned()
        if leads or store.status != "active":
            return 0
        return FOLLOW_EVERY if store.length is None or store.wanted() else GLANCE_EVERY

    def _demands(self) -> list[tuple[int, int, int]]:
        """What is missed here and in other processes, in the form of `Store.wanted`."""
        wanted = self.store.wanted()
        return wanted if self._shared is None else wanted + self._shared.asked()

    def _is_whole(self) -> bool:
        length = self.store.length
        return length is not None and self.store.next_gap(0, length) is None

    async def _commit(self) -> None:
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
        try:
            await asyncio.to_thread(self.store.commit)
        except KitharaError as exc:
            self.store.fail(exc)

    # ── what to fetch next ───────────────────────────────────────────────────────────────────

    def _schedule(self) -> float | None:
        """Start and drop transfers as the demands require. Seconds after which to look again, or None."""
        now = self._loop.time()
        wanted = _merged(self._demands())
        if not self.ranges:
            return self._schedule_whole(now)
        self._drop_stale(wanted)
        if now < self._not_before:
            return self._not_before - now
        for start, (stop, need) in wanted.items():
            if need is not Need.AMPLE:
                self._serve(start, stop, need, now)
        if self._transfers or not self.complete or self.store.length is None:
            return None
        quiet = self._last_demand + QUIET - now
        if quiet > 0 and self.store.cursors:
            return quiet
        hole = self.store.next_gap(0, self.store.length)
        if hole is not None:
            start, stop = hole
            size = max(BACKGROUND, min(self._look_ahead, 2 * self._sizes.get(start, 0)))
            self._start(start, min(stop, start + size), Need.HOLE, now)
        return None

    def _schedule_whole(self, now: float) -> float | None:
        """One transfer brings everything in order; it holds itself back when it is far enough ahead."""
        if now < self._not_before:
            return self._not_before - now
        if not self._transfers:
            self._start(0, ENDLESS if self.store.length is None else self.store.length, Need.WAITING, now)
        return None

    def _drop_stale(self, wanted: dict[int, tuple[int, Need]]) -> None:
        """End transfers that only take the link away from what is wanted."""
        waiting = any(need is Need.WAITING for _, need in wanted.values())
        for transfer in list(self._transfers):
            if transfer.left <= READ_OUT or transfer.whole:
                continue
            useful = any(start < transfer.stop and transfer.at < stop for start, (stop, _) in wanted.items())
            wanted_more = waiting if transfer.need is Need.HOLE else bool(wanted)
            if wanted_more and not useful:
                self._drop(transfer)

    def _drop(self, transfer: _Transfer) -> None:
        transfer.task.cancel()
        self._forget(transfer)

    def _serve(self, start: int, stop: int, need: Need, now: float) -> None:
        """See to it that the hole ``[start, stop)`` is being fetched, as far as that is due."""
        position, before = start, None
        while (transfer := self._covering(position, need)) is not None:
            before, position = transfer, transfer.stop
            need = max(need, Need.AHEAD)  # the waiter itself is served
            if position >= stop:
                return
        gap = self.store.next_gap(position, stop)
        if gap is None:
            return
        position, stop = gap
        doubled = 2 * self._sizes.get(position, 0)
        if before is not None and position == before.stop:
            lead = before.lead(now)
            if before.left > lead:
                before.call_at = min(before.call_at, before.stop - lead)
                return
            doubled = 2 * before.size
        size = stop - position
        if need is not Need.WAITING:
            size = max(QUANTUM, min(size, doubled))
        limit = self.store.length
        if limit is not None and limit - position - size < QUANTUM:
            size = limit - position  # no crumb for a request of its own at the very end
        following = [t.start for t in self._transfers if t.start > position]
        stop = min([position + size, *following] if limit is None else [position + size, limit, *following])
        gap = self.store.next_gap(position, stop)
        if gap is not None and self._make_room(need):
            self._start(position, gap[1], need, now)

    def _covering(self, position: int, need: Need) -> _Transfer | None:
        """The transfer that brings the byte at *position* soon enough."""
        for transfer in self._transfers:
            if transfer.covers(position):
                if need is Need.WAITING and position - transfer.at > SOON and not transfer.whole:
                    transfer.stop = position  # it ends there; the waiter gets a request of its own
                    self.store.transfer(transfer.slot, transfer.at, transfer.stop)
                    continue
                transfer.need = min(transfer.need, need)  # it may still be standing in line
                return transfer
        return None

    def _make_room(self, need: Need) -> bool:
        """Have a free slot for *need*, if need be by dropping what is less urgent."""
        if len(self._transfers) < 2:
            return True
        victim = max(self._transfers, key=lambda transfer: (transfer.need, transfer.left))
        if victim.need > need and victim.left > READ_OUT:
            self._drop(victim)
            return True
        return False

    def _start(self, start: int, stop: int, need: Need, now: float) -> None:
        slot = 1 if any(transfer.slot == 0 for transfer in self._transfers) else 0
        transfer = _Transfer(slot, start, stop, need, now)
        self._transfers.append(transfer)
        self.store.transfer(slot, start, stop)
        transfer.task = self._loop.create_task(self._bring(transfer))

    def _forget(self, transfer: _Transfer) -> None:
        if transfer in self._transfers:
            self._transfers.remove(transfer)
            self.store.transfer(transfer.slot, 0, 0)
        self._wake.set()

    # ── one request ──────────────────────────────────────────────────────────────────────────

    async def _bring(self, transfer: _Transfer) -> None:
        try:
            await self._exchange(transfer)
            self._sizes[transfer.at] = transfer.at - transfer.start
            if len(self._sizes) > 64:
                del self._sizes[next(iter(self._sizes))]
        except KitharaError as exc:
            if transfer in self._transfers:
                self._on_failure(exc)
        finally:
            self._forget(transfer)

    async def _exchange(self, transfer: _Transfer) -> None:
        stop = None if transfer.stop == ENDLESS else transfer.stop
        async with self._fetch(transfer.start, stop, priority=lambda: transfer.need) as body:
            await self._answered(body)
            transfer.answered = self._loop.time()
            self.ranges = body.ranges
            if not body.ranges or body.start != transfer.start:
                transfer.whole = True
                transfer.start = transfer.at = body.start
                transfer.stop = ENDLESS if body.stop is None else body.stop
                self.store.transfer(transfer.slot, transfer.at, transfer.stop)
            elif body.stop is not None:
                transfer.stop = min(transfer.stop, body.stop)
            if self._broken:
                self._broken = False
                self._publish(Resumed(offset=transfer.start))
            await self._receive(transfer, body)
            if body.stop is None and transfer.whole:
                if transfer.at == 0:
                    raise ProtocolViolation("the body is empty", operation="fetching")
                if self.store.length is None:
                    self.store.set_length(transfer.at)

    async def _receive(self, transfer: _Transfer, body: Body) -> None:
        async for chunk in body:
            if transfer.whole and self._is_ahead(transfer.at):
                await self._hold_back(transfer)
            if transfer.stop != ENDLESS and len(chunk) > transfer.left:
                chunk = chunk[: transfer.left]
            self.store.write_at(transfer.at, chunk)
            transfer.at += len(chunk)
            self._backoff.reset(len(chunk))
            self._tell_progress()
            if transfer.at >= transfer.call_at:
                transfer.call_at = ENDLESS
                self._wake.set()
            if getattr(self.store, "due", False) and self._saving is None:
                self._saving = self._loop.create_task(self._save())
            if transfer.at >= transfer.stop and body.stop != transfer.stop:
                return  # cut short by a waiter further ahead

    def _is_ahead(self, at: int) -> bool:
        """Whether a body that comes in order, wanted or not, is further ahead than anybody asks for."""
        if self.complete or any(need == Need.WAITING for _, _, need in self._demands()):
            return False
        return all(at - position >= self._look_ahead for position in self.store.cursors)

    async def _hold_back(self, transfer: _Transfer) -> None:
        while self._is_ahead(transfer.at):
            self._wake.clear()
            await self._wake.wait()
        self._wake.set()

    def _on_failure(self, error: KitharaError) -> None:
        delay = self._backoff.next(error)
        if delay is None:
            self._failure = self._backoff.final(error)
            return
        self._broken = True
        self._not_before = self._loop.time() + delay
        self._publish(Retrying(error=error, attempt=self._backoff.attempt - 1, delay=delay))

    async def _give_up(self, error: BaseException) -> None:
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
        await self._failing(error)
        self.store.fail(error)

    async def _save(self) -> None:
        """Let what is here survive a crash, off the loop."""
        try:
            await asyncio.to_thread(self.store.checkpoint)  # type: ignore[attr-defined]
        except KitharaError as exc:
            self._failure = exc
            self._wake.set()
        finally:
            self._saving = None

    def _tell_progress(self) -> None:
        now = time.monotonic()
        then, received = self._told
        if now - then >= PROGRESS_EVERY:
            total = self.store.total
            rate = (total - received) / (now - then) if then else 0.0
            self._told = (now, total)
            self._publish(Progress(received=total, length=self.store.length, rate=rate))


def _merged(wanted: list[tuple[int, int, int]]) -> dict[int, tuple[int, Need]]:
    """Holes by where they start: how far they go at most, and the most urgent need; in the order of urgency."""
    holes: dict[int, tuple[int, Need]] = {}
    for start, stop, need in wanted:
        known_stop, known_need = holes.get(start, (stop, Need(need)))
        holes[start] = (max(stop, known_stop), min(Need(need), known_need))
    return holes
