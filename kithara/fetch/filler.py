"""The one loop: fetch the first missing range that somebody wants, until none is missing.

First download, resume after a crash, seek, retry and "all cached" are that one sentence. The store says what is wanted;
waiting readers are served first, then what lies ahead of cursors, and at the lowest priority the lowest hole. Every
request is a closed range. The first after a miss asks for what the waiter wants; each that follows on from another is
twice as large, and is sent just early enough that its answer comes when the one before it ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from .._core.memory_resource import MemoryResource
from .._core.resource import Resource
from ..errors import EmptyBody, KitharaError, NoSpace
from ..events import Progress, Resumed, Retrying
from ..net import Backoff
from ..net.prompt import Prompt
from ..storage import StreamingResource
from .bounds import BROADCAST, GLANCE_EVERY, Bounds
from .schedule import Schedule
from .transfer import ENDLESS, Body, Fetch, Transfer

FOLLOW_EVERY = 0.01
"""Seconds between two looks at what another process has brought, while something is missed here."""

TELL_EVERY = 0.001
"""Seconds between two notes to other processes within one transfer; its end is told at once."""

PROGRESS_EVERY = 0.25
"""Seconds between two `Progress` events, at least."""


class Filler(Bounds):
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
        ask: Sends the request for a range at once, where that can be.
        alike: Is called before the bytes of its answer are stored, which is like those before.
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
        ask: Callable[[int, int], Prompt | None] = lambda start, stop: None,
        alike: Callable[[int, int], None] = lambda start, stop: None,
        outgrown: Callable[[], Awaitable[bool]] | None = None,
        learned: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(store, look_ahead=look_ahead, complete=complete, in_order=in_order, publish=publish)
        self.sealed: bool = False
        self._outgrown = outgrown
        self._shared = store if isinstance(store, StreamingResource) else None
        if self._shared is not None:
            self._shared.tell_every = TELL_EVERY
        self._asked: list[tuple[int, int, int]] = []  # what other processes miss, as of the last glance
        self._learned = learned
        self._fetch = fetch
        self._answered = answered
        self._finish = finish or store.commit
        self._prove = prove
        self._failing = failing
        self._ask = ask
        self._alike = alike
        self._backoff = Backoff(retries)
        self._over: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._glancing: asyncio.TimerHandle | None = None
        self._looked = False
        self._saving = False
        self._broken = False
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
            transfer.end()
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

    # ── one request ──────────────────────────────────────────────────────────────────────────

    def _send(self, transfer: Transfer) -> None:
        if not transfer.in_order and not self.sealed:
            transfer.prompt = self._ask(transfer.start, transfer.stop)
        if transfer.prompt is None:
            super()._send(transfer)
        else:
            transfer.prompt.listen(_Asked(self, transfer))

    def _take_whole(self, transfer: Transfer, piece: memoryview) -> None:
        """As `_bring`, with the answer here, as it was expected."""
        try:
            self._alike(transfer.start, transfer.start + len(piece))
            self._answer_came(transfer)
            transfer.call_at = ENDLESS  # the look at the end is soon enough
            self._take(transfer, piece)
        except KitharaError as exc:
            if self._forget(transfer):
                self._on_failure(exc)
        except Exception as exc:
            self._end(exc)  # a mistake of ours; it must not leave readers waiting
        self._forget(transfer)
        if self._shared is not None:
            self._shared.tell()
        self.look()

    async def _bring(self, transfer: Transfer) -> None:
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

    async def _exchange(self, transfer: Transfer) -> None:
        stop = None if transfer.stop == ENDLESS else transfer.stop
        async with self._fetch(transfer.start, stop, priority=lambda: transfer.need, prompt=transfer.prompt) as body:
            await self._answered(body)
            if body.endless:
                await self._outgrow(BROADCAST)
            self.ranges: bool = body.ranges
            if transfer.in_order or not body.ranges or body.start != transfer.start:
                transfer.in_order = True
                # Of a broadcast a new answer is what comes next.
                transfer.start = transfer.at = self.store.head if body.endless else body.start
                transfer.stop = ENDLESS if body.stop is None else body.stop
                self.store.transfer(transfer.slot, transfer.at, transfer.stop)
            elif body.stop is not None:
                transfer.stop = min(transfer.stop, body.stop)
            self._answer_came(transfer)
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

    def _answer_came(self, transfer: Transfer) -> None:
        transfer.answered = self._last_byte = self._loop.time()
        if self._broken:
            self._broken = False
            self._publish(Resumed(offset=transfer.start))

    async def _receive(self, transfer: Transfer, body: Body) -> None:
        if not transfer.in_order and not self.sealed:
            left = b""

            def take(piece: bytes | memoryview) -> bool:
                nonlocal left
                if self.sealed:  # meanwhile; what comes now may have to wait
                    left = bytes(piece)
                    return False
                return self._take(transfer, piece) or body.stop == transfer.stop  # else a waiter cut it short

            await body.pour(take)
            if not left or not await self._take_care(transfer, body, left):
                return
        async for chunk in body:
            if not await self._take_care(transfer, body, chunk):
                return

    async def _take_care(self, transfer: Transfer, body: Body, chunk: bytes) -> bool:
        """As `_take`, of what is held back, has to be proven first, or finds its room limited."""
        if transfer.in_order:
            await self._check_bounds(transfer, len(chunk))
        if len(chunk) > transfer.left:
            chunk = chunk[: transfer.left]
        if self.sealed or transfer.tail:
            chunk = await self._withhold(transfer, chunk)
        try:
            return self._take(transfer, chunk) or body.stop == transfer.stop
        except NoSpace:  # a cache in memory has a limit that is none for what is not kept; a full disk is full
            limited = isinstance(self.store, MemoryResource) and transfer.in_order
            if not limited or not await self._outgrow(0):
                raise
            await self._check_bounds(transfer, len(chunk))
            return self._take(transfer, chunk) or body.stop == transfer.stop

    def _take(self, transfer: Transfer, piece: bytes | memoryview) -> bool:
        """Store *piece*; whether more is to come."""
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
        return transfer.at < transfer.stop

    async def _withhold(self, transfer: Transfer, chunk: bytes) -> bytes:
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


class _Asked:
    """Who a prompt tells what became of *transfer*."""

    __slots__ = ("_filler", "_transfer")

    def __init__(self, filler: Filler, transfer: Transfer) -> None:
        self._filler = filler
        self._transfer = transfer

    @property
    def is_ready(self) -> bool:
        return not self._filler.sealed

    def whole(self, body: memoryview) -> None:
        self._filler._take_whole(self._transfer, body)

    def other(self) -> None:
        Schedule._send(self._filler, self._transfer)
