"""The one loop: fetch the first missing range that somebody wants, until none is missing.

First download, resume after a crash, seek, retry and "all cached" are that one sentence. The store says what is wanted;
waiting readers are served first, then what lies ahead of cursors, and at the lowest priority the lowest hole. Every
request is a closed range. The first after a miss asks for what the waiter wants; each that follows on from another is
twice as large, and is sent just early enough that its answer comes when the one before it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._core.resource import MemoryResource, Resource
from .errors import EmptyBody, KitharaError, NoSpace
from .events import Progress, Resumed, Retrying, Stalled
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
"""Seconds between two looks at whether another process misses something, or has left; and whether to save."""

TELL_EVERY = 0.001
"""Seconds between two notes to other processes within one transfer; its end is told at once."""

PROGRESS_EVERY = 0.25
"""Seconds between two `Progress` events, at least."""

TURN = 1.0
"""Seconds of bytes that a transfer for one who waits may have for itself while another waits for a transfer at all."""

STALLED_AFTER = 2.0
"""Seconds that somebody waits without a byte before that is told."""

UNBOUNDED = 64 << 20
"""A body without a length is fetched for its own sake, and kept, up to here. From here on it may have no end: only the
last bytes are kept, and more are fetched as somebody reads."""

BROADCAST = 4 << 20
"""Bytes that are kept of a body that is known to have no end."""

AMPLE_ROOM = 1 << 20
"""Bytes at least in the room that is made for the last bytes of a body: more than come at once."""

LEFT_BEHIND = 2.0
"""Seconds that others wait, where only the last bytes are kept, for a reader that has stopped; then it has to see."""

ENDLESS = 1 << 62


class Body(Protocol):
    """One validated answer; iterating gives its bytes as they arrive and raises when it ends early."""

    start: int
    stop: int | None
    ranges: bool
    endless: bool

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def pour(self, sink: Callable[[bytes | memoryview], bool]) -> None:
        """Call *sink* with every piece, which is good only until the call returns, until it answers False."""


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


_NEEDS = tuple(Need)


@dataclass(eq=False, slots=True)
class _Transfer:
    """One request under way: it has brought the bytes before `at`, and is to bring those before `stop`."""

    slot: int
    start: int
    stop: int
    need: Need
    began: float
    in_order: bool  # not for somebody's sake: it brings everything, and holds itself back
    at: int = field(init=False)
    piece: int = 0  # the largest that came
    answered: float | None = None
    tail: bytes = b""  # the last byte that came, which is not given out yet
    call_at: int = ENDLESS  # look again when `at` gets here: the next request is due
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
        return max(QUANTUM, int(1.25 * rate * delay)) + self.piece  # one more may come before the next look


class Filler:
    """Fills *store* through *fetch* for as long as `run` runs.

    Args:
        store: Where the bytes go.
        fetch: Where they come from.
        answered: Awaited with each answer before its bytes are stored; raises if they must not be.
        look_ahead: How many bytes beyond a reader are fetched at most.
        complete: Whether holes are filled although nobody wants them.
        in_order: Whether bytes are only asked for in their order, whoever waits further ahead.
        retries: Failures in a row without progress after which it gives up.
        publish: Is told the events.
        finish: Commits the store once it is whole; called in a worker thread.
        prove: Says, given the last missing byte and its offset, whether the whole is what it should be, by raising;
            called in a worker thread. While the filler is `sealed`, nobody gets that byte before.
        failing: Awaited with the error before those who wait are told of it: what is to be gone then is gone.
        outgrown: Awaited once when a body without a length has passed `UNBOUNDED`, has filled what room there is, or
            says that it has no end: whether only its last bytes are kept from now on.
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
        in_order: bool = False,
        retries: int = 4,
        publish: Callable[[object], None] = lambda event: None,
        finish: Callable[[], None] | None = None,
        prove: Callable[[int, bytes], None] = lambda offset, last: None,
        failing: Callable[[BaseException], Awaitable[None]] | None = None,
        outgrown: Callable[[], Awaitable[bool]] | None = None,
        learned: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self._shared = store if isinstance(store, StreamingResource) else None
        if self._shared is not None:
            self._shared.tell_every = TELL_EVERY
        self._asked: list[tuple[int, int, int]] = []  # what other processes miss, as of the last glance
        self._learned = learned
        self.complete = complete
        self.in_order = in_order
        self.ranges: bool = True
        self.sealed = False
        self._fetch = fetch
        self._answered = answered
        self._look_ahead = look_ahead
        self._publish = publish
        self._finish = finish or store.commit
        self._prove = prove
        self._failing = failing
        self._outgrown = outgrown
        self._backoff = Backoff(retries)
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._glancing: asyncio.TimerHandle | None = None
        self._drawn = asyncio.Event()  # somebody may want more of what is held back
        self._transfers: list[_Transfer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sizes: dict[int, int] = {}  # where a transfer ended → its size, for those that follow on
        self._not_before = 0.0
        self._last_demand = self._last_byte = self._loop.time()
        self._looked = False
        self._stalled = False
        self._saving = False
        self._broken = False
        self._passing = False  # only the last bytes are kept
        self._told = (0.0, 0)

    async def run(self) -> None:
        """Fill until the store is whole (then it is committed) or has failed. Cancel it to stop filling."""
        # This thread must never wait for what it brings itself.
        self.store.produce(self._demanded, look_ahead=self._look_ahead, thread=threading.get_ident())
        try:
            self._glance()
            error = await self._over
            await self._end_transfers()
            if error is not None:
                await self._fail(error)
            elif self.store.status == "active":
                await self._commit()
        finally:
            for timer in (self._timer, self._glancing):
                if timer is not None:
                    timer.cancel()
            await self._end_transfers()
            self.store.retire()

    async def _end_transfers(self) -> None:
        tasks = list(self._tasks)
        for transfer in list(self._transfers):
            transfer.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _commit(self) -> None:
        try:
            await asyncio.to_thread(self._finish)
        except KitharaError as exc:
            await self._fail(exc)

    async def _fail(self, error: BaseException) -> None:
        if self._failing is not None:
            await self._failing(error)
        self.store.fail(error)

    @property
    def over(self) -> bool:
        """Whether nothing more will be fetched; what is left is to say so, on disk and to those who wait."""
        return self._over.done()

    def give_up(self, error: BaseException) -> None:
        """Fetch no more: what is here stays readable, and who waits for more gets *error*."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if not self._over.done():
            self._over.set_result(error)

    def _demanded(self) -> None:
        self._loop.call_soon_threadsafe(self._on_demand)

    def _on_demand(self) -> None:
        self._last_demand = self._loop.time()
        self.look()

    def look(self) -> None:
        """See what is wanted now, and start and drop transfers accordingly."""
        if self._over.done():
            return
        length = self.store.length
        if self.store.status != "active" or (length is not None and self.store.next_gap(0, length) is None):
            self._end(None)
        elif self._shared is not None and not self._shared.is_writer:
            self._again(self._follow(self._shared))
        else:
            self._again(self._schedule())

    def _again(self, delay: float | None) -> None:
        """Look again after *delay* seconds, if at all. To look sooner does no harm, so an earlier timer stays set."""
        if delay is None:
            return
        when = self._loop.time() + delay
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.look()

    # ── other processes ──────────────────────────────────────────────────────────────────────

    def _glance(self) -> None:
        """Look, and learn now and then whether another process misses something."""
        if self._shared is not None and not self._over.done():
            self._glancing = self._loop.call_later(GLANCE_EVERY, self._glance)
            self._save_if_due(self._shared)
            before, self._asked = self._asked, self._shared.asked()
            if before == self._asked and self._shared.is_writer and self._looked:
                return
        self._looked = True
        self.look()

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
        if not self._asked:
            return self.store.wanted()
        gaps = ((self.store.next_gap(start, stop), need) for start, stop, need in self._asked)
        return self.store.wanted() + [(*gap, need) for gap, need in gaps if gap is not None]

    # ── what to fetch next ───────────────────────────────────────────────────────────────────

    def _schedule(self) -> float | None:
        """Start and drop transfers as the demands require. Seconds after which to look again, or None."""
        now = self._loop.time()
        wanted = _merged(self._demands())
        if now < self._not_before:
            return self._not_before - now
        waiting = False
        if self.in_order or not self.ranges:
            self._schedule_in_order(now)
        elif self._transfers:
            self._drop_stale(wanted)
        for start, (stop, need) in wanted.items():
            waiting = waiting or need is Need.WAITING
            if need is not Need.AMPLE and self.ranges and not self.in_order:
                self._serve(start, stop, need, now)
        if waiting:
            return self._watch_stall(now)
        if self._transfers or not self.complete or self.store.length is None:
            return None
        quiet = self._last_demand + QUIET - now
        if quiet > 0:
            return quiet
        hole = self.store.next_gap(0, self.store.length)
        if hole is not None:
            start, stop = hole
            size = max(BACKGROUND, min(self._look_ahead, 2 * self._sizes.get(start, 0)))
            self._start(start, min(stop, start + size), Need.HOLE, now)
        return None

    def _watch_stall(self, now: float) -> float:
        """Tell, once, when somebody waits in vain."""
        silent = now - max(self._last_byte, self._last_demand)
        if silent < STALLED_AFTER:
            self._stalled = False
        elif not self._stalled:
            self._stalled = True
            self._publish(Stalled(seconds=silent))
        return STALLED_AFTER - silent % STALLED_AFTER

    def _schedule_in_order(self, now: float) -> None:
        """One transfer brings everything in order; it holds itself back when it is far enough ahead."""
        self._drawn.set()
        if self._transfers:
            return
        length = self.store.length
        start, stop = 0, ENDLESS if length is None else length
        if self.ranges and length is not None:
            start, stop = self.store.next_gap(0, length) or (start, stop)
        self._start(start, stop, Need.WAITING, now, in_order=True)

    def _drop_stale(self, wanted: dict[int, tuple[int, Need]]) -> None:
        """End transfers that only take the link away from what is wanted."""
        waiting = any(need is Need.WAITING for _, need in wanted.values())
        for transfer in list(self._transfers):
            if transfer.left <= READ_OUT or transfer.in_order:
                continue
            # A hole ends where the next bytes are: what brings those is wanted as well, though only the hole is named.
            useful = any(start < transfer.stop and transfer.start <= stop for start, (stop, _) in wanted.items())
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
                before.call_at = min(before.call_at, before.stop - before.left // 2)  # more may be wanted by then
                return
        gap = self.store.next_gap(position, stop)
        if gap is None:
            return
        position, stop = gap
        doubled = 2 * self._sizes.get(position, 0)
        if before is not None and position == before.stop:
            lead = before.lead(now)
            if before.left > lead:
                before.call_at = min(before.call_at, before.stop - max(lead, before.left // 2))
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
        if gap is not None and self._make_room(need, now):
            self._start(position, gap[1], need, now)

    def _covering(self, position: int, need: Need) -> _Transfer | None:
        """The transfer that brings the byte at *position* soon enough."""
        for transfer in self._transfers:
            if transfer.covers(position):
                if need is Need.WAITING and position - transfer.at > SOON and not transfer.in_order:
                    transfer.stop = position  # it ends there; the waiter gets a request of its own
                    self.store.transfer(transfer.slot, transfer.at, transfer.stop)
                    continue
                transfer.need = min(transfer.need, need)  # it may still be standing in line
                return transfer
        return None

    def _make_room(self, need: Need, now: float) -> bool:
        """Have a free slot for *need*, if need be by dropping what is less urgent."""
        if len(self._transfers) < 2:
            return True
        victim = max(self._transfers, key=lambda transfer: (transfer.need, transfer.left))
        if victim.need > need and victim.left > READ_OUT:
            self._drop(victim)
            return True
        return need is Need.WAITING and self._take_turn(now)

    def _take_turn(self, now: float) -> bool:
        """Have a free slot for one who waits while others do, too, once the first of them has had its turn."""
        served = [transfer for transfer in self._transfers if transfer.answered is not None and not transfer.in_order]
        first = min(served, key=lambda transfer: transfer.answered or now, default=None)
        if first is None or first.answered is None or first.left <= READ_OUT:
            return False  # there will be a place by itself
        if (left := first.answered + TURN - now) > 0:
            self._again(left)
            return False
        self._drop(first)
        return True

    def _start(self, start: int, stop: int, need: Need, now: float, *, in_order: bool = False) -> None:
        slot = 1 if any(transfer.slot == 0 for transfer in self._transfers) else 0
        transfer = _Transfer(slot, start, stop, need, now, in_order)
        self._transfers.append(transfer)
        self.store.transfer(slot, start, stop)
        transfer.task = self._loop.create_task(self._bring(transfer))
        self._tasks.add(transfer.task)
        transfer.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (mistake := task.exception()) is not None:
            self._end(mistake)  # ours; it must not leave readers waiting

    def _forget(self, transfer: _Transfer) -> bool:
        """Count *transfer* no more; whether it counted until now."""
        if transfer not in self._transfers:
            return False
        self._transfers.remove(transfer)
        self.store.transfer(transfer.slot, 0, 0)
        return True

    # ── one request ──────────────────────────────────────────────────────────────────────────

    async def _bring(self, transfer: _Transfer) -> None:
        try:
            await self._exchange(transfer)
        except KitharaError as exc:
            if self._forget(transfer):
                self._on_failure(exc)
        finally:
            self._forget(transfer)
            if self._shared is not None:
                self._shared.tell()
        self.look()

    async def _exchange(self, transfer: _Transfer) -> None:
        stop = None if transfer.stop == ENDLESS else transfer.stop
        async with self._fetch(transfer.start, stop, priority=lambda: transfer.need) as body:
            await self._answered(body)
            if body.endless:
                await self._outgrow(BROADCAST)
            transfer.answered = self._last_byte = self._loop.time()
            self.ranges = body.ranges
            if transfer.in_order or not body.ranges or body.start != transfer.start:
                transfer.in_order = True
                # Of a broadcast a new answer is what comes next.
                transfer.start = transfer.at = self.store.head if body.endless else body.start
                transfer.stop = ENDLESS if body.stop is None else body.stop
                self.store.transfer(transfer.slot, transfer.at, transfer.stop)
            elif body.stop is not None:
                transfer.stop = min(transfer.stop, body.stop)
            if self._broken:
                self._broken = False
                self._publish(Resumed(offset=transfer.start))
            await self._receive(transfer, body)
            if body.stop is None and transfer.in_order:
                if transfer.tail:
                    await asyncio.to_thread(self._prove, transfer.at, transfer.tail)
                    self.store.write_at(transfer.at, transfer.tail)
                    transfer.at += 1
                if transfer.at == 0:
                    raise EmptyBody("the body is empty", operation="fetching")
                if self.store.length is None:
                    self.store.set_length(transfer.at)

    async def _receive(self, transfer: _Transfer, body: Body) -> None:
        if not transfer.in_order and not self.sealed:
            left = b""

            def take(piece: bytes | memoryview) -> bool:
                nonlocal left
                if self.sealed:  # meanwhile; what comes now may have to wait
                    left = bytes(piece)
                    return False
                return self._take(transfer, body, piece)

            await body.pour(take)
            if not left or not await self._take_care(transfer, body, left):
                return
        async for chunk in body:
            if not await self._take_care(transfer, body, chunk):
                return

    async def _take_care(self, transfer: _Transfer, body: Body, chunk: bytes) -> bool:
        """As `_take`, of what is held back, has to be proven first, or finds its room limited."""
        if transfer.in_order:
            await self._check_bounds(transfer, len(chunk))
        if len(chunk) > transfer.left:
            chunk = chunk[: transfer.left]
        if self.sealed or transfer.tail:
            chunk = await self._withhold(transfer, chunk)
        try:
            return self._take(transfer, body, chunk)
        except NoSpace:  # a cache in memory has a limit that is none for what is not kept; a full disk is full
            limited = isinstance(self.store, MemoryResource) and transfer.in_order
            if not limited or not await self._outgrow(0):
                raise
            await self._check_bounds(transfer, len(chunk))
            return self._take(transfer, body, chunk)

    def _take(self, transfer: _Transfer, body: Body, piece: bytes | memoryview) -> bool:
        """Store *piece*; whether more of *body* is of use."""
        store = self.store
        if len(piece) > transfer.left:
            piece = piece[: transfer.left]
        store.write_at(transfer.at, piece)
        transfer.at += len(piece)
        transfer.piece = max(transfer.piece, len(piece))
        if not transfer.left:  # at once: who asks for what follows must find it
            self._sizes[transfer.at] = transfer.size
            if len(self._sizes) > 64:
                del self._sizes[next(iter(self._sizes))]
        self._last_byte = self._loop.time()
        self._backoff.reset(len(piece))
        self._tell_progress()
        if transfer.at >= transfer.call_at:
            transfer.call_at = ENDLESS
            self.look()
        return transfer.at < transfer.stop or body.stop == transfer.stop  # or cut short by a waiter further ahead

    async def _withhold(self, transfer: _Transfer, chunk: bytes) -> bytes:
        """What of *chunk* may be given out now: not the last byte that is missing, before the whole is proven."""
        store, length = self.store, self.store.length
        if length is None:  # any byte may be the last
            chunk = transfer.tail + chunk
            transfer.tail = chunk[-1:]
            return chunk[:-1]
        gap = store.next_gap(0, length)
        if gap is None or gap[0] < transfer.at or transfer.at + len(chunk) < gap[1]:
            return chunk
        if store.next_gap(gap[1], length) is None:
            last = gap[1] - 1 - transfer.at
            store.write_at(transfer.at, chunk[:last])
            await asyncio.to_thread(self._prove, transfer.at + last, chunk[last : last + 1])
        return chunk

    async def _check_bounds(self, transfer: _Transfer, size: int) -> None:
        """Wait until *size* bytes more are asked for, and there is room for them."""
        if transfer.at >= UNBOUNDED:
            await self._outgrow(UNBOUNDED + self._look_ahead)
        if self._is_ahead(transfer.at) or not self._has_room(size):
            await self._hold_back(transfer, size)

    async def _outgrow(self, capacity: int) -> bool:
        """Keep only the last *capacity* bytes of a body that may have no end, and all that are here; False: not."""
        store, outgrown = self.store, self._outgrown
        if outgrown is None or store.length is not None:
            return False
        self._outgrown = None
        head = store.head
        if not capacity and head < AMPLE_ROOM:
            return False
        if not await outgrown():
            return False
        self._shared = None  # what no cache holds is no other process's
        ring = max(store.head, capacity + AMPLE_ROOM if capacity else 0)
        store.keep_last(ring)
        self._look_ahead = min(self._look_ahead, ring - min(AMPLE_ROOM, ring // 2))
        self._passing = True
        return True

    def _is_ahead(self, at: int) -> bool:
        """Whether a body that comes in order, wanted or not, is further ahead than anybody asks for."""
        if self.complete and not self._passing and (self.store.length is not None or at < UNBOUNDED):
            return False
        if any(need == Need.WAITING for _, _, need in self._demands()):
            return False
        return all(at - position >= self._look_ahead for position in self.store.cursors)

    def _has_room(self, size: int) -> bool:
        """Whether *size* bytes more take the place of none that somebody has yet to read."""
        return not self._passing or self.store.room >= size

    def _is_missed(self, at: int) -> bool:
        """Whether somebody has read all that came before *at*, and has nothing to do but to wait for it."""
        waits = any(need == Need.WAITING for _, _, need in self._demands())
        return waits or any(position >= at for position in self.store.cursors)

    async def _hold_back(self, transfer: _Transfer, size: int) -> None:
        """Wait until more is asked for and there is room for *size* bytes of it.

        Nothing is coming meanwhile, so whoever misses a byte must say so. A reader that stands still while others
        have nothing left to read is left behind.
        """
        store = self.store
        store.transfer(transfer.slot, 0, 0)
        slowest, since = store.slowest, self._loop.time()
        while (ahead := self._is_ahead(transfer.at)) or not self._has_room(size):
            self._drawn.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if ahead else GLANCE_EVERY):
                    await self._drawn.wait()
            if ahead or store.slowest != slowest:
                slowest, since = store.slowest, self._loop.time()
            elif slowest is not None and self._loop.time() - since >= LEFT_BEHIND and self._is_missed(transfer.at):
                store.pass_by(slowest + 1)
        store.transfer(transfer.slot, transfer.at, transfer.stop)

    def _on_failure(self, error: KitharaError) -> None:
        delay = self._backoff.next(error)
        if delay is None:
            self._end(self._backoff.final(error))
            return
        self._broken = True
        self._not_before = self._loop.time() + delay
        self._publish(Retrying(error=error, attempt=self._backoff.attempt - 1, delay=delay))

    def _save_if_due(self, store: StreamingResource) -> None:
        if store.due and not self._saving:
            self._saving = True
            saving = self._loop.create_task(self._save(store))
            self._tasks.add(saving)
            saving.add_done_callback(self._ended)

    async def _save(self, store: StreamingResource) -> None:
        """Let what is here survive a crash, off the loop."""
        try:
            await asyncio.to_thread(store.checkpoint)
        except KitharaError as exc:
            self._end(exc)
        finally:
            self._saving = False

    def _tell_progress(self) -> None:
        now = self._last_byte
        then, received = self._told
        if now - then >= PROGRESS_EVERY:
            total = self.store.total
            rate = (total - received) / (now - then) if then else 0.0
            self._told = (now, total)
            self._publish(Progress(received=total, length=self.store.length, rate=rate))


def _merged(wanted: list[tuple[int, int, int]]) -> dict[int, tuple[int, Need]]:
    """Holes by where they start: how far they go at most, and the most urgent need; in the order of urgency."""
    holes: dict[int, tuple[int, Need]] = {}
    for start, stop, number in wanted:
        need = _NEEDS[number]
        known = holes.get(start)
        holes[start] = (stop, need) if known is None else (max(stop, known[0]), min(need, known[1]))
    return holes
