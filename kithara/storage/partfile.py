"""The names on disk of one large file: whole, partial, its sidecar, its live page. Every rename and removal is here."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from dataclasses import dataclass

from ..errors import CacheCorrupt
from .files import Directory, store_error
from .keeper import Keeper
from .sidecar import SIZE_LIMIT, Runs, Sidecar, Validators

_log = logging.getLogger("kithara.storage")


@dataclass(slots=True)
class Found:
    """A file as it was found or made. Its descriptor is the finder's until handed on."""

    fd: int
    inode: int
    committed: bool = False
    generation: int = 0
    ranges: Runs = ()
    validators: Validators | None = None


class PartFile:
    """The file *name* of *directory* (owned) and what goes with it, for the resource of this *identity*."""

    def __init__(self, directory: Directory, name: str, identity: str) -> None:
        self.directory = directory
        self.name = name
        self.part: str = f"{name}.part"
        self.meta: str = f"{name}.part.meta"
        self.live: str = f"{name}.part.live"
        self.identity = identity

    @property
    def shown(self) -> str:
        """The path, for people."""
        return self.directory.shown(self.name)

    def find_whole(self, keeper: Keeper) -> Found | None:
        """The committed file. One that is empty, or not what *keeper* remembers, is removed and not found."""
        try:
            fd = self.directory.open_file(self.name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        facts = os.fstat(fd)
        try:
            if facts.st_size == 0:  # what a power cut leaves of somebody's careless rename
                raise CacheCorrupt(f"{self.shown} is empty", operation="opening")
            remembered = keeper.recall(facts)
        except CacheCorrupt as exc:
            _log.warning("dropped: %s", exc)
            os.close(fd)
            self.directory.unlink(self.name)
            return None
        if remembered is None or remembered.total != facts.st_size:
            remembered = Validators(total=facts.st_size)
        return Found(fd, facts.st_ino, committed=True, validators=remembered)

    def find_partial(self) -> Found | None:
        """The partial and what is trusted of it, if its sidecar is about this very file."""
        sidecar = self.sidecar()
        if sidecar is None:
            return None
        try:
            fd = self.directory.open_file(self.part, os.O_RDWR)
        except (FileNotFoundError, CacheCorrupt):
            return None
        facts = os.fstat(fd)
        if sidecar.vouches_for(self.identity, facts):
            return Found(
                fd, facts.st_ino, generation=sidecar.generation, ranges=sidecar.ranges, validators=sidecar.validators
            )
        os.close(fd)
        return None

    def sidecar(self) -> Sidecar | None:
        """The last checkpoint, or None when there is none that can be read."""
        try:
            return Sidecar.decode(self.directory.read(self.meta, SIZE_LIMIT + 1))
        except (FileNotFoundError, CacheCorrupt):
            return None

    def make(self) -> Found:
        """A new file under the partial's name. The old sidecar goes first: an inode number may come again."""
        try:
            if self.inode_of(self.meta) is not None:
                self.directory.remove_tree(self.meta)
                self.directory.sync()  # of all that is done at opening this takes the longest, and mostly for nothing
            self.directory.remove_tree(self.part)
            fd = self.directory.open_file(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError as exc:
            raise store_error(exc, "creating a file", self.shown) from exc
        return Found(fd, os.fstat(fd).st_ino, generation=secrets.randbits(63))

    def inode_of(self, name: str) -> int | None:
        """What *name* means now, or None."""
        try:
            return self.directory.stat(name).st_ino
        except FileNotFoundError:
            return None

    def fault(self, fd: int, whole: int, sha256: str | None) -> str | None:
        """Why the file is not what it should be: *whole* bytes, with that digest if one is given; or None."""
        size = os.fstat(fd).st_size
        if size != whole:
            return f"has {size} bytes instead of {whole}"
        if sha256 is None:
            return None
        with open(fd, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
        return None if found == sha256 else f"does not have the SHA-256 digest {sha256}"

    def give_name(self) -> bool:
        """Let the final name mean the partial, for ever; False when somebody removed it all under us."""
        try:
            self.directory.rename(self.part, self.name)
            self.directory.sync()
            self.directory.unlink(self.meta)
            self.directory.unlink(self.live)
        except FileNotFoundError:
            return False
        return True

    def remove(self, inode: int) -> None:
        """Remove the names that still mean *inode*, a sidecar before its partial."""
        for name in (self.part, self.name):
            if self.inode_of(name) == inode:
                self.directory.unlink(self.meta)
                self.directory.unlink(self.live)
                self.directory.unlink(name)
