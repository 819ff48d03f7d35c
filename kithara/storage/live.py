"""How far a download is, told to other processes while it runs, and what they want of it.

The writer keeps a record in ``<name>.part.live``: state, validators, and the runs that are in the file. Followers each
have a place behind it for what they miss. Nothing here survives: a record counts only in the boot it was written in,
and only for who had the page open while its writer lived; all others go by the sidecar.

The page is read and written by `pread` and `pwrite`, not mapped, so that nobody who truncates it can kill a process;
a checksum tells a torn record, which is simply looked at again.
"""

from __future__ import annotations

import enum
import itertools
import os
import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ..errors import CacheCorrupt, StoreError
from .files import Directory
from .sidecar import Runs, Validators

_MAGIC = b"kt-live1"
_HEAD = struct.Struct("<I8s16sQQIIIq")
_RUN = struct.Struct("=qq")  # as `Resource.packed_ranges` gives them: the page never leaves its machine
_RECORD_LIMIT = 32 << 10
_FACTS_LIMIT = 4 << 10
_MOST_RUNS = (_RECORD_LIMIT - _HEAD.size - _FACTS_LIMIT) // _RUN.size
_SLOT = struct.Struct("<I4xqqqqqqbbb5x")

Demand = tuple[int, int, int]
"""What somebody misses, in the form of `Store.wanted`: start, stop, and how urgently: 0 is waited for."""

SLOTS = 16
DEMANDS = 3
"""Ranges that one follower can ask for at a time."""


class State(enum.IntEnum):
    """What became of the file, as far as its writer said."""

    ACTIVE = 0
    COMMITTED = 1
    GONE = 2
    """Discarded, or superseded by another generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a writer tells."""

    generation: int
    inode: int
    state: State
    length: int | None
    validators: Validators
    ranges: Runs


def _boot() -> bytes:
    """This boot of this machine: 16 bytes; random ones, which nobody shares, where it has no name."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return uuid.UUID(file.read().strip()).bytes
    except (OSError, ValueError):
        return uuid.uuid4().bytes


class LivePage:
    """An open live page. Owns its descriptor.

    Raises:
        StoreError: The file cannot be used.
        FileNotFoundError: There is none.
    """

    def __init__(self, directory: Directory, name: str, *, create: bool = False) -> None:
        if create:
            directory.unlink(name)
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        self._fd = directory.open_file(name, flags)
        facts = os.fstat(self._fd)
        self.inode: int = facts.st_ino
        self._boot = _boot()
        self._last = b""
        self._told: Validators | None = None
        self._facts = b""
        self._asked: Sequence[Demand] | None = None
        if facts.st_nlink != 1:
            self.close()
            raise CacheCorrupt(f"{directory.shown(name)} has another name elsewhere", operation="opening")

    @classmethod
    def create(cls, directory: Directory, name: str) -> Self | None:
        """A new page for a writer, or None where the disk does not allow it: then there is nobody to follow."""
        try:
            return cls(directory, name, create=True)
        except (StoreError, FileNotFoundError):
            return None

    def publish(self, record: Record, runs: bytes) -> None:
        """Tell followers *record*, and the packed *runs* in place of its own. Of too many the largest are told.

        This is done at every write, so it makes no object for each run.
        """
        if len(runs) > _MOST_RUNS * _RUN.size:
            largest = sorted(_RUN.iter_unpack(runs), key=lambda run: run[0] - run[1])[:_MOST_RUNS]
            runs = b"".join(_RUN.pack(start, stop) for start, stop in sorted(largest))
        facts = self._facts_of(record.validators)
        length = -1 if record.length is None else record.length
        count = len(runs) // _RUN.size
        head = _HEAD.pack(
            0, _MAGIC, self._boot, record.generation, record.inode, record.state, count, len(facts), length
        )
        content = head[4:] + facts + runs
        self._write(struct.pack("<I", zlib.crc32(content)) + content, 0)

    def _facts_of(self, validators: Validators) -> bytes:
        if validators != self._told:
            facts = validators.to_json().encode()
            if len(facts) > _FACTS_LIMIT:
                facts = Validators(total=validators.total, unvalidated=True).to_json().encode()
            self._told, self._facts = validators, facts
        return self._facts

    def look(self) -> Record | None:
        """The writer's word, if it is whole, of this boot, and news since the last look."""
        content = self._read(_RECORD_LIMIT, 0)
        if len(content) < _HEAD.size:
            return None
        crc, magic, boot, generation, inode, state, count, size, length = _HEAD.unpack_from(content)
        end = _HEAD.size + size + count * _RUN.size
        content = content[:end]
        if content == self._last or magic != _MAGIC or boot != self._boot or len(content) < end:
            return None
        if crc != zlib.crc32(content[4:]) or state not in list(State):
            return None
        validators = Validators.from_json(content[_HEAD.size : _HEAD.size + size].decode("utf-8", "replace"))
        runs = content[_HEAD.size + size :]
        edges = [edge for run in _RUN.iter_unpack(runs) for edge in run]
        in_order = all(before < after for before, after in itertools.pairwise(edges))
        within = not edges or (edges[0] >= 0 and (length < 0 or edges[-1] <= length))
        if validators is None or not in_order or not within:
            return None
        self._last = content
        return Record(
            generation=generation, inode=inode, state=State(state), length=None if length < 0 else length,
            validators=validators, ranges=tuple(_RUN.iter_unpack(runs)),
        )  # fmt: skip

    def ask(self, slot: int, demands: Sequence[Demand]) -> None:
        """Say in place *slot* what is missed: the first few of *demands*."""
        demands = [*demands[:DEMANDS], *[(0, 0, 0)] * (DEMANDS - len(demands))]
        if demands == self._asked:
            return
        edges = [edge for start, stop, _ in demands for edge in (start, stop)]
        content = _SLOT.pack(0, *edges, *(need for _, _, need in demands))[4:]
        self._write(struct.pack("<I", zlib.crc32(content)) + content, _RECORD_LIMIT + slot * _SLOT.size)
        self._asked = demands

    def asked(self) -> list[Demand]:
        """What followers miss."""
        content = self._read(SLOTS * _SLOT.size, _RECORD_LIMIT)
        found = []
        for at in range(0, len(content) - _SLOT.size + 1, _SLOT.size):
            crc, *values = _SLOT.unpack_from(content, at)
            if crc == zlib.crc32(content[at + 4 : at + _SLOT.size]):
                edges, needs = values[: 2 * DEMANDS], values[2 * DEMANDS :]
                demands = zip(edges[::2], edges[1::2], needs, strict=True)
                found += [(start, stop, need) for start, stop, need in demands if 0 <= start < stop and need in (0, 1)]
        return found

    def _read(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, size, offset)
        except OSError:
            return b""  # hints only: a page that cannot be read is an old one

    def _write(self, content: bytes, offset: int) -> None:
        try:
            os.pwrite(self._fd, content, offset)
        except OSError:
            return

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
