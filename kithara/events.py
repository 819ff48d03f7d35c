"""What happened, told to whoever listens: frozen event dataclasses and a bus that never waits.

A publisher is never slowed by a listener: each subscription keeps the newest *capacity* events, and one that
fell behind is told how many it missed by a `Lagged` event in their place.
"""

from __future__ import annotations

import asyncio
import collections
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

__all__ = [
    "Committed",
    "EventBus",
    "Evicted",
    "Failed",
    "Lagged",
    "PhaseChanged",
    "Progress",
    "Response",
    "Resumed",
    "Retrying",
    "Seeked",
    "Stalled",
    "Started",
    "Subscription",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lagged:
    """*missed* events were dropped because this listener was too slow."""

    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A session on *url* (redacted) began; *cached* bytes were here already."""

    url: str
    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The headers of an answer arrived and were found valid."""

    status: int
    length: int | None
    ranges: bool
    start: int
    stop: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """*received* of *length* bytes are here. Told at most a few times a second."""

    received: int
    length: int | None
    rate: float
    """Bytes per second since the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeked:
    """A reader went to *position*; *cached* tells whether bytes are here."""

    position: int
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """No byte has come for *seconds* although one is wanted."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """Attempt number *attempt* failed with *error*; the next comes after *delay* seconds."""

    error: Exception
    attempt: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A transfer goes on from *offset* after it broke."""

    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Every byte is here and has its final name."""

    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The transfer ended for good with *error*."""

    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChanged:
    """The file session moved to *phase* (a `kithara.file.FilePhase`)."""

    phase: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted:
    """The cache dropped the asset *asset_id* to make room; *size* bytes were freed."""

    asset_id: str
    size: int


class EventBus:
    """Hands every published event to every current subscription. Thread-safe; `publish` never waits.

    Args:
        capacity: How many events a subscription keeps for a listener that is busy.
    """

    def __init__(self, capacity: int = 64) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.capacity = capacity
        self._lock = threading.Lock()
        self._closed = False
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an EventBus cannot be pickled: its listeners are here; send options with bus=None")

    def publish(self, event: object) -> None:
        """Give *event* to every subscription."""
        if not self._subscriptions:
            return
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription._push(event)

    def subscribe(self) -> Subscription:
        """Events from now on, as an iterator and an async iterator."""
        subscription = Subscription(self.capacity)
        with self._lock:
            if self._closed:
                subscription.close()
            self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription once its kept events are read."""
        with self._lock:
            self._closed = True
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()


class Subscription:
    """One listener's events. Iterate in a thread (`for`) or in a task (`async for`); ends when the bus closes."""

    def __init__(self, capacity: int) -> None:
        self._events: collections.deque[object] = collections.deque()
        self._capacity = capacity
        self._missed = 0
        self._closed = False
        self._condition = threading.Condition()
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def _push(self, event: object) -> None:
        with self._condition:
            if self._closed:
                return
            if len(self._events) >= self._capacity:
                self._events.popleft()
                self._missed += 1
            self._events.append(event)
            self._wake()

    def _wake(self) -> None:
        self._condition.notify()
        if self._waiting is not None:
            loop, future = self._waiting
            self._waiting = None
            try:
                loop.call_soon_threadsafe(_settle, future)
            except RuntimeError:
                self._closed = True  # the listener's loop is closed; nobody will read

    def _pop(self) -> object | None:
        if self._missed:
            missed, self._missed = self._missed, 0
            return Lagged(missed=missed)
        return self._events.popleft() if self._events else None

    def get_nowait(self) -> object | None:
        """The next event, or None when there is none yet."""
        with self._condition:
            return self._pop()

    def close(self) -> None:
        """Stop listening; what is kept can still be read."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            self._wake()

    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self) -> object:
        with self._condition:
            while (event := self._pop()) is None:
                if self._closed:
                    raise StopIteration
                self._condition.wait()
            return event

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        loop = asyncio.get_running_loop()
        while True:
            with self._condition:
                if (event := self._pop()) is not None:
                    return event
                if self._closed:
                    raise StopAsyncIteration
                future: asyncio.Future[None] = loop.create_future()
                self._waiting = (loop, future)
            await future


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
