"""How much a crash would cost, and when that is enough to save it."""

from __future__ import annotations

import time

CHECKPOINT_BYTES = 4 << 20
CHECKPOINT_AFTER = 2.0
"""Bytes, and seconds, that a crash may cost."""

CHECKPOINT_PAUSE = 0.25
"""Seconds between two checkpoints at least: on a link that is as fast as the disk they would have it for themselves."""

DURABLE_AFTER = 10.0
"""Seconds after which a checkpoint also waits for its own rename to reach the disk."""


class Unsaved:
    """What has changed since the last checkpoint, bytes or facts. One thread at a time changes it; any may look."""

    def __init__(self) -> None:
        self._written = self._saved = 0
        self._since: float | None = None
        self._saved_at = 0.0
        self._durable_at = time.monotonic()

    def wrote(self, size: int) -> None:
        """Count *size* new bytes."""
        self._written += size
        self.changed()

    def changed(self) -> None:
        """Note that there is something to save."""
        if self._since is None:
            self._since = time.monotonic()

    def inherit(self, size: int) -> None:
        """Begin anew, with *size* bytes that another process wrote and perhaps did not save."""
        self._written, self._saved = size, 0
        self._since = time.monotonic() if size else None

    @property
    def any(self) -> bool:
        """Whether there is something to save."""
        return self._since is not None

    @property
    def size(self) -> int:
        """How many bytes are not saved."""
        return self._written - self._saved

    @property
    def due(self) -> bool:
        """Whether 4 MiB of a quarter of a second, or 2 s of work, would be lost."""
        since = self._since
        if since is None:
            return False
        now = time.monotonic()
        enough = self.size >= CHECKPOINT_BYTES and now - max(since, self._saved_at) >= CHECKPOINT_PAUSE
        return enough or now - since >= CHECKPOINT_AFTER

    @property
    def durable_due(self) -> bool:
        """Whether it is time to wait until a sidecar itself is on the disk."""
        return time.monotonic() - self._durable_at >= DURABLE_AFTER

    def begin(self) -> tuple[int, bool]:
        """A checkpoint begins: what to give to `end`, and whether bytes are in it. What changes from now on is not."""
        self._since = None
        return self._written, self._written != self._saved

    def end(self, mark: int, *, durable: bool) -> None:
        """The checkpoint that began at *mark* is over; *durable*: its sidecar is on the disk."""
        self._saved = mark
        self._saved_at = time.monotonic()
        if durable:
            self._durable_at = self._saved_at
