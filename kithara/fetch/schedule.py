"""What is asked for next: who waits comes first, then what lies ahead of readers, and at last the lowest hole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .._core.resource import Resource
from ..events import Stalled
from .transfer import ENDLESS, QUANTUM, Need, Transfer, merged

READ_OUT = 64 << 10
"""A transfer that nobody wants any more is dropped, unless no more than this is left of it."""

SOON = 256 << 10
"""A waiter this close ahead of a transfer is served by it; further ahead it gets a request of its own."""

BACKGROUND = 256 << 10
"""The first request of filling a hole that nobody waits for."""

QUIET = 0.25
"""Seconds without a demand before holes are filled: a reader that jumps about has the link to itself."""

TURN = 1.0
"""Seconds of bytes that a transfer for one who waits may have for itself while another waits for a transfer at all."""

STALLED_AFTER = 2.0
"""Seconds that somebody waits without a byte before that is told."""


class Schedule:
    """Which requests are under way to fill *store*: starts those that are due, and drops those that are in the way.

    The part of a `Filler` that decides; the other part does what is decided here.
    """

    def __init__(
        self,
        store: Resource,
        *,
        look_ahead: int,
        complete: bool,
        in_order: bool,
        publish: Callable[[object], None],
    ) -> None:
        self.store = store
        self.complete = complete
        self.in_order = in_order
        self.ranges: bool = True
        self._look_ahead = look_ahead
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._drawn = asyncio.Event()  # somebody may want more of what is held back
        self._transfers: list[Transfer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sizes: dict[int, int] = {}  # where a transfer ended → its size, for those that follow on
        self._not_before = 0.0
        self._last_demand = self._last_byte = self._loop.time()
        self._stalled = False

    def look(self) -> None:
        """See what is wanted now, and start and drop transfers accordingly."""
        raise NotImplementedError

    def _demands(self) -> list[tuple[int, int, int]]:
        """What is missed, in the form of `Store.wanted`."""
        raise NotImplementedError

    async def _bring(self, transfer: Transfer) -> None:
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError

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

    def _schedule(self) -> float | None:
        """Start and drop transfers as the demands require. Seconds after which to look again, or None."""
        now = self._loop.time()
        wanted = merged(self._demands())
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

    def _drop(self, transfer: Transfer) -> None:
        transfer.end()
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

    def _covering(self, position: int, need: Need) -> Transfer | None:
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
        transfer = Transfer(slot, start, stop, need, now, in_order)
        self._transfers.append(transfer)
        self.store.transfer(slot, start, stop)
        self._send(transfer)

    def _send(self, transfer: Transfer) -> None:
        """Have *transfer* brought."""
        transfer.task = self._loop.create_task(self._bring(transfer))
        self._tasks.add(transfer.task)
        transfer.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (mistake := task.exception()) is not None:
            self._end(mistake)  # ours; it must not leave readers waiting

    def _forget(self, transfer: Transfer) -> bool:
        """Count *transfer* no more; whether it counted until now."""
        if transfer not in self._transfers:
            return False
        self._transfers.remove(transfer)
        self.store.transfer(transfer.slot, 0, 0)
        return True
