"""One request under way, what it is for, and what it asks of the network."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from ..net.prompt import Prompt

QUANTUM = 16 << 10
"""The least that a request asks for, unless a planner says less."""

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

    *priority* is asked when connections are few: who answers the smallest goes first. A *prompt* is the request, sent.
    """

    def __call__(
        self, start: int, stop: int | None, *, priority: Callable[[], int], prompt: Prompt | None
    ) -> AbstractAsyncContextManager[Body]: ...


class Need(enum.IntEnum):
    """Why bytes are fetched, the most urgent first."""

    WAITING = 0
    AHEAD = 1
    AMPLE = 2
    """Ahead of a cursor that has enough for now: what is under way goes on, nothing new is asked for."""
    HOLE = 3


NEEDS = tuple(Need)


@dataclass(eq=False, slots=True)
class Transfer:
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
    prompt: Prompt | None = None  # sent, and nobody waits for the answer yet
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.at = self.start

    def end(self) -> None:
        """Want no more of it."""
        if self.prompt is not None:
            self.prompt.drop()
        if self.task is not None:
            self.task.cancel()

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.stop - self.at

    @property
    def size(self) -> int:
        """Bytes asked for."""
        return self.stop - self.start

    def covers(self, position: int) -> bool:
        """Whether the byte at *position* is still to come."""
        return self.at <= position < self.stop

    def lead(self, now: float) -> int:
        """How many bytes before its end the next request must be sent for its answer to follow without a pause."""
        if self.answered is None or now <= self.answered:
            return QUANTUM
        delay = self.answered - self.began
        rate = (self.at - self.start) / (now - self.answered)
        return max(QUANTUM, int(1.25 * rate * delay)) + self.piece  # one more may come before the next look


def merged(wanted: list[tuple[int, int, int]]) -> dict[int, tuple[int, Need]]:
    """Holes by where they start: how far they go at most, and the most urgent need; in the order of urgency."""
    holes: dict[int, tuple[int, Need]] = {}
    for start, stop, number in wanted:
        need = NEEDS[number]
        known = holes.get(start)
        holes[start] = (stop, need) if known is None else (max(stop, known[0]), min(need, known[1]))
    return holes
