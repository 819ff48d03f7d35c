"""Bounds on how long things may take, and waiting for a fact instead of sleeping."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from support.tools import IN_CI

T = TypeVar("T")
# A sanitizer's run says how much slower it is by itself.
FACTOR = (3.0 if IN_CI else 1.0) * float(os.environ.get("KITHARA_SLOWER", "1"))


def liveness(bound: float) -> float:
    """*bound* seconds; three times as much in CI, where cores are shared, and again under a sanitizer."""
    return bound * FACTOR


def eventually(fact: Callable[[], T], timeout: float = 5.0) -> T:
    """What *fact* gives once it is true; fails when it still is not after *timeout* × the liveness factor.

    For facts that nothing signals (an entry in /proc, a line in another process's log).
    """
    deadline = time.monotonic() + liveness(timeout)
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {found!r} after {liveness(timeout)} s: {fact}")
        threading.Event().wait(0.002)
    return found


class Background:
    """Calls *action* in a thread of its own: `result()` gives what it gives, or raises what it raises."""

    def __init__(self, action: Callable[[], T], *, daemon: bool = True) -> None:
        self._value: object = None
        self._error: BaseException | None = None
        self.started = time.monotonic()
        self.ended: float | None = None
        self._thread = threading.Thread(target=self._run, args=(action,), name="test-background", daemon=daemon)
        self._thread.start()

    def _run(self, action: Callable[[], object]) -> None:
        try:
            self._value = action()
        except BaseException as error:
            self._error = error
        self.ended = time.monotonic()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    @property
    def seconds(self) -> float:
        """How long it ran."""
        assert self.ended is not None, "still running"
        return self.ended - self.started

    def result(self, timeout: float = 10.0) -> object:
        self._thread.join(liveness(timeout))
        if self._thread.is_alive():
            raise AssertionError(f"still running after {liveness(timeout)} s")
        if self._error is not None:
            raise self._error
        return self._value


def held_up(monkeypatch: Any, owner: type, name: str) -> tuple[threading.Event, threading.Event]:
    """Let calls of method *name* of *owner* wait: the first event tells that one began, the second lets it go on."""
    begun, go_on = threading.Event(), threading.Event()
    method = getattr(owner, name)

    def slowly(*args: object) -> object:
        begun.set()
        assert go_on.wait(30)
        return method(*args)

    monkeypatch.setattr(owner, name, slowly)
    return begun, go_on
