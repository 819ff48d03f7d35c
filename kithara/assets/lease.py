"""Who holds what, between threads and between processes: locks that die with their holder.

One file carries every lock as an open-file-description byte-range lock (`fcntl(2)`, ``F_OFD_SETLK``) at a hashed
offset: nothing to clean up after ``kill -9``, no process ids to go stale, no file per asset. Two tables in one process
conflict as two processes do. After `fork` the child holds nothing: it closes the inherited descriptor (to unlock it
would free the parent's locks) and opens its own at first use.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
import threading
import time
import weakref
from typing import Final, Self

from ..errors import Busy, ReadOnlyStore, StoreIo
from ..storage.files import Directory, store_error

PIN: Final = "pin"
"""Shared by readers of an asset; taken exclusively by whoever evicts it."""
WRITER: Final = "writer"
"""Exclusive: the one download of a resource."""
SLOT: Final = "slot"
"""Exclusive: a follower's place on a live page."""
REBUILD: Final = "rebuild"
"""Exclusive: whoever rebuilds the index."""

_FLOCK = struct.Struct("hhqqi4x")
_LOCKED = (errno.EAGAIN, errno.EACCES)

_tables: weakref.WeakSet[LockTable] = weakref.WeakSet()


class Lock:
    """Something held. Release it, or let `with` do so; a forgotten one is released when collected."""

    __slots__ = ("__weakref__", "_finalizer")

    def __init__(self, table: LockTable, offset: int, epoch: int) -> None:
        self._finalizer = weakref.finalize(self, table._release, offset, epoch)
        self._finalizer.atexit = False  # the kernel releases it then

    @property
    def held(self) -> bool:
        """Whether it was not released yet."""
        return self._finalizer.alive

    def release(self) -> None:
        """Let go; doing so again is nothing."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class LockTable:
    """The locks of one store, in the file *name* of *directory*. Thread-safe; waits only in `shared`.

    Without a directory, or where that cannot be written, the locks are between the threads of this process only.
    """

    def __init__(self, directory: Directory | None, name: str = "locks") -> None:
        self._directory = directory
        self._name = name
        self._fd = -1
        self._forget()
        _tables.add(self)

    def _forget(self) -> None:
        """Hold nothing, as a new process does."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        # Re-entrant: a finalizer may release a lock while this very thread is inside.
        self._condition = threading.Condition(threading.RLock())
        self._counts: dict[int, int] = {}  # offset → readers, or -1 for one exclusive holder
        self._epoch = getattr(self, "_epoch", 0) + 1

    def try_exclusive(self, region: str, name: str) -> Lock | None:
        """A lock that nobody else has any part of, or None when somebody has."""
        offset = _offset(region, name)
        with self._condition:
            if offset in self._counts or not self._set(fcntl.F_WRLCK, offset):
                return None
            self._counts[offset] = -1
            return Lock(self, offset, self._epoch)

    def try_shared(self, region: str, name: str) -> Lock | None:
        """A lock beside other shared ones, or None while somebody has it exclusively."""
        offset = _offset(region, name)
        with self._condition:
            count = self._counts.get(offset, 0)
            if count < 0 or (count == 0 and not self._set(fcntl.F_RDLCK, offset)):
                return None
            self._counts[offset] = count + 1
            return Lock(self, offset, self._epoch)

    def shared(self, region: str, name: str, *, timeout: float = 2.0) -> Lock:
        """As `try_shared`, but waits out an exclusive holder (an eviction holds it for one rename).

        Raises:
            Busy: It is still held after *timeout* seconds.
        """
        deadline = time.monotonic() + timeout
        while (lock := self.try_shared(region, name)) is None:
            if time.monotonic() > deadline:
                raise Busy(f"{name} is being removed by somebody else", operation="leasing an asset")
            with self._condition:
                self._condition.wait(0.01)  # another process cannot notify this condition
        return lock

    def is_held(self, region: str, name: str) -> bool:
        """Whether anybody, here or in another process, holds it in any way."""
        offset = _offset(region, name)
        with self._condition:
            return offset in self._counts or self._held_elsewhere(offset)

    def _release(self, offset: int, epoch: int) -> None:
        with self._condition:
            if epoch != self._epoch:
                return  # taken before a fork or a close: not ours any more
            count = self._counts[offset]
            if count > 1:
                self._counts[offset] = count - 1
                return
            del self._counts[offset]
            self._set(fcntl.F_UNLCK, offset)
            self._condition.notify_all()

    def _set(self, kind: int, offset: int) -> bool:
        return not self._is_open() or self._call(fcntl.F_OFD_SETLK, kind, offset) is not None

    def _held_elsewhere(self, offset: int) -> bool:
        answer = self._call(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, offset) if self._is_open() else None
        return answer is not None and _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK

    def _is_open(self) -> bool:
        """Open the lock file; False where there is none, nor anybody else."""
        if self._directory is None:
            return False
        if self._fd < 0:
            try:
                self._fd = self._directory.open_file(self._name, os.O_RDWR | os.O_CREAT)
            except ReadOnlyStore:
                self._directory = None  # so there is nobody who could write either
                return False
            except FileNotFoundError as exc:
                raise store_error(exc, "opening the lock file", self._directory.shown(self._name)) from exc
        return True

    def _call(self, command: int, kind: int, offset: int) -> bytes | None:
        """What the kernel answers; None when another holds it."""
        try:
            return fcntl.fcntl(self._fd, command, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
        except OSError as exc:
            if exc.errno in _LOCKED:
                return None
            raise StoreIo(f"the lock file {self._name}: {exc.strerror}", errno=exc.errno, operation="locking") from exc

    def close(self) -> None:
        """Let go of everything. Locks still out are void."""
        with self._condition:
            self._forget()


def _offset(region: str, name: str) -> int:
    """A place for the lock: 62 bits of a hash; two names share one with probability 2⁻⁶²."""
    digest = hashlib.sha256(f"{region}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def _after_fork_in_child() -> None:
    for table in list(_tables):
        with contextlib.suppress(OSError):
            table._forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
