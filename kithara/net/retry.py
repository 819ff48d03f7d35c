"""When to try again, and when to give up."""

from __future__ import annotations

import random as _random
from collections.abc import Callable

from ..errors import HttpStatus, KitharaError, RetryExhausted

BASE = 0.25
CAP = 8.0
RETRY_AFTER_CAP = 60.0
PROGRESS = 256 << 10
BODY_FACTOR = 8


class Backoff:
    """Delays between attempts: jittered, doubling from 0.25 s to 8 s, longer where the server asks for it.

    Two budgets. The *call*: so many failures in a row without a byte of progress. The *body*: eight times as
    many over the whole transfer, of which every 256 KiB received give one back, so that a server which dies after each
    byte is left some day and a flaky link is not.

    Args:
        retries: Failures forgiven between two pieces of progress.
        random: Gives the jitter; a number in [0, 1).
    """

    def __init__(self, retries: int = 4, *, random: Callable[[], float] = _random.random) -> None:
        self._retries = retries
        self._random = random
        self._call = 0
        self._body = 0.0
        self.attempt: int = 1
        """Which attempt is under way, counted from 1 over the whole transfer."""

    def next(self, error: BaseException) -> float | None:
        """Seconds to wait before trying again after *error*, or None when it is time to raise `final`."""
        if not isinstance(error, KitharaError) or not error.retryable:
            return None
        if self._call >= self._retries or self._body >= self._retries * BODY_FACTOR:
            return None
        delay: float = min(CAP, BASE * 2.0**self._call) * (0.5 + self._random() / 2)
        self._call += 1
        self._body += 1
        self.attempt += 1
        asked = error.retry_after if isinstance(error, HttpStatus) else None
        return delay if asked is None else max(delay, min(asked, RETRY_AFTER_CAP))

    def reset(self, received: int = 1) -> None:
        """*received* bytes came: the call's budget is whole again, the body's recovers in proportion."""
        if received > 0:
            self._call = 0
            self._body = max(0.0, self._body - received / PROGRESS)

    def final(self, error: KitharaError) -> KitharaError:
        """What to raise when `next` gave None: *error* itself if trying again is pointless, else `RetryExhausted`."""
        error.attempt = self.attempt
        if not error.retryable:
            return error
        exhausted = RetryExhausted(
            f"gave up after {self.attempt} attempts: {error.args[0] if error.args else error}",
            range=error.range,
            operation=error.operation,
            attempt=self.attempt,
        )
        exhausted.url = error.url
        exhausted.__cause__ = error
        return exhausted
