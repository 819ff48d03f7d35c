"""Room on the disk for one file: taken before a download begins, given back when it stops."""

from __future__ import annotations

import errno
import os

from .._core import disk
from .files import store_error
from .keeper import Keeper


class Room:
    """What the file system has set aside for one file. Its owner serialises the calls."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._taken = False

    def take(self, fd: int, length: int, here: int, shown: str) -> bool:
        """Have room for all *length* bytes of *fd*, of which *here* are there; whether that is new.

        Raises:
            NoSpace: It will not fit, even after an eviction.
        """
        if self._taken or here >= length:
            return False
        missing = length - here
        self._keeper.make_room(missing)
        failed = _set_aside(fd, length, missing)
        if failed and self._keeper.make_room(missing, pressing=True):
            failed = _set_aside(fd, length, missing)
        if failed:
            raise store_error(OSError(failed, os.strerror(failed)), f"reserving {length} bytes", shown)
        self._taken = True
        return True

    def give_back(self, fd: int) -> None:
        """Keep no more than the file's size. Nobody may be writing."""
        if self._taken:
            disk.release(fd)
            self._taken = False


def _set_aside(fd: int, length: int, missing: int) -> int:
    """0, or the errno that says why there is no room."""
    volume = os.fstatvfs(fd)
    if missing > volume.f_bavail * volume.f_frsize:
        return errno.ENOSPC  # not by trying: ext4 takes all there is, then fails, and keeps what it took
    failed = disk.reserve(fd, length)
    if failed:
        disk.release(fd)
    return failed
