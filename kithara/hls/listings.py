"""The playlists that a decision takes: asked for in time, and not waited for longer than a decision can wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence

from ..errors import KitharaError
from .catalogue import Catalogue
from .program import Program
from .slots import Slot
from .timeline import Timeline

PATIENCE = 1.0
"""Seconds that going on may wait for the playlist of another variant; it is used once it is here."""

LONG_PATIENCE = 5.0
"""Seconds that are waited for a playlist without which nothing goes on, before another one is asked for, too."""


class Listings:
    """Has the playlists of *catalogue* loaded. Lives on one loop.

    Args:
        failed: Called with a variant whose playlist cannot be had, and why.
        lock: Under which programs are used.
    """

    def __init__(
        self, catalogue: Catalogue, failed: Callable[[int, KitharaError], None], lock: threading.RLock
    ) -> None:
        self._catalogue = catalogue
        self._failed = failed
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, tuple[float, asyncio.Task[None]]] = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What is under way."""
        return [task for _, task in self._tasks.values()]

    def begin(self, variant: int) -> None:
        """See to it that the playlist of *variant* is being loaded, unless it is here."""
        if variant not in self._tasks and not self._catalogue.is_fresh(variant):
            task = self._loop.create_task(self._load(variant))
            self._tasks[variant] = self._loop.time(), task
            task.add_done_callback(lambda _: self._tasks.pop(variant, None))

    async def have(self, variants: Iterable[int], patience: float = PATIENCE) -> None:
        """Load the playlists of *variants*, all at once; wait until each is here, cannot be had, or was asked for
        *patience* seconds ago.
        """
        wanted = list(variants)
        for variant in wanted:
            self.begin(variant)
        asked = [self._tasks[variant] for variant in wanted if variant in self._tasks]
        if asked:
            until = max(begun for begun, _ in asked) + patience
            await asyncio.wait([task for _, task in asked], timeout=max(until - self._loop.time(), 0.0))

    async def prepare(self, program: Program, tail: Slot) -> None:
        """Have the playlists that deciding what comes behind *tail* takes: of the best variant; at a gap, of all.

        Not at any price: while one keeps silent, the music goes on in those that are here.
        """
        with self._lock:
            wished = program.wish(tail)
            others = program.choice.available(self._loop.time()) if program.is_before_gap(tail) else []
        if not program.is_loaded(wished):
            await self.have([wished])
        if others := [variant for variant in others if not program.is_loaded(variant)]:
            await self.have(others, LONG_PATIENCE)

    def load_ahead(self, program: Program) -> None:
        """Begin to load the playlist of the variant that would be best now."""
        with self._lock:
            tail = program.tail
            wished = None if tail is None else program.wish(tail)
        if wished is not None and not program.is_loaded(wished):
            self.begin(wished)

    async def have_one(self, program: Program, variant: int) -> None:
        """Have the playlist of *variant*, without which nothing goes on, if it comes in time."""
        if not program.is_loaded(variant):
            await self.have([variant], LONG_PATIENCE)

    async def _load(self, variant: int) -> None:
        try:
            await self._catalogue.load(variant)
        except KitharaError as exc:
            self._failed(variant, exc)

    async def first(self, order: Sequence[int]) -> tuple[Timeline, list[int]]:
        """The first of *order* that can be had, and those that failed before. One that keeps silent for long holds up
        no other. Raises the first failure when there is none.
        """
        failures: dict[int, KitharaError] = {}
        asked: dict[asyncio.Task[Timeline], int] = {}
        left = list(order)
        try:
            while left or asked:
                if left:
                    variant = left.pop(0)
                    asked[self._loop.create_task(self._catalogue.load(variant))] = variant
                patience = LONG_PATIENCE if left else None
                done, _ = await asyncio.wait(asked, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    variant = asked.pop(task)
                    try:
                        return task.result(), list(failures)
                    except KitharaError as exc:
                        failures[variant] = exc
            raise next(iter(failures.values()))
        finally:
            for task in asked:
                task.cancel()  # the catalogue goes on loading it
