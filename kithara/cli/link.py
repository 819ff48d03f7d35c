"""The modelled link of the loopback origin: one token bucket, and sending that ends when the client has gone."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterable

QUANTUM_SECONDS = 0.004
UNMETERED_BLOCK = 256 * 1024
GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Link:
    """A token bucket that all connections share: `reserve` tells when so many bytes have passed. Thread-safe.

    Args:
        rate: Bytes a second, or None for no limit. May be changed later.
        burst: How many seconds the link may fall behind and then catch up; covers the scheduler's jitter.
    """

    def __init__(self, rate: float | None, burst: float) -> None:
        self.rate = rate
        self._burst = burst
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def quantum(self) -> int:
        """How many bytes go out at once: what passes in 4 ms."""
        rate = self.rate
        return UNMETERED_BLOCK if rate is None else max(256, min(UNMETERED_BLOCK, int(rate * QUANTUM_SECONDS)))

    @property
    def send_buffer(self) -> int:
        """A size for the kernel's buffer: what an aborted transfer leaves there was counted as sent for nothing.

        Less than a few quanta would make every send wait for a delayed acknowledgement (40 ms on Linux).
        """
        return max(16 * 1024, min(UNMETERED_BLOCK, 4 * self.quantum))

    def reserve(self, size: int) -> float:
        """Take *size* bytes of the link; returns the monotonic time at which they have passed it."""
        with self._lock:
            now, rate = time.monotonic(), self.rate
            if rate is None:
                return now
            self._free_at = max(self._free_at, now - self._burst) + size / rate
            return self._free_at


def stays(connection: socket.socket, until: float) -> bool:
    """Wait until the monotonic time *until*; False, at once, when the client has gone by then."""
    poll = select.poll()
    poll.register(connection, GONE)
    while True:
        left = until - time.monotonic()
        if poll.poll(max(0.0, left * 1000)):
            return False
        if left <= 0:
            return True


def send(
    connection: socket.socket, blocks: Iterable[bytes | memoryview], link: Link, passed: Callable[[int], None]
) -> bool:
    """Send *blocks* over *link*; False when the client has gone.

    *passed* is told of every piece before the client can see it, and with a negative count of what did not leave.
    """
    for block in blocks:
        if not stays(connection, link.reserve(len(block))):
            return False
        view = memoryview(block)
        while view:
            passed(len(view))
            count = 0
            try:
                count = connection.send(view)
            except (BrokenPipeError, ConnectionResetError):
                return False
            finally:
                passed(count - len(view))
            view = view[count:]
    return True
