"""A large file that arrives in pieces, in any order, over days and crashes; only what is whole is taken for whole.

On disk: ``<name>.part`` is being written, ``<name>.part.meta`` says which of its bytes are trusted, and ``<name>``
exists exactly when every byte is there and on the disk. The order that makes this true, measured with power cuts on
ext4 and xfs: *data to disk, then the sidecar, then its rename*; at the end *data to disk, rename, directory to disk*.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
import weakref
from dataclasses import replace
from typing import Any, Literal, Self

from .._core import disk
from ..errors import Busy, CacheCorrupt, NoSpace, StoreError, StoreIo
from .files import Directory
from .following import Following
from .keeper import Held, Keeper
from .live import State
from .partfile import Found, PartFile
from .room import Room
from .shared import SharedResource
from .sidecar import Runs, Sidecar, Validators
from .unsaved import Unsaved

_log = logging.getLogger("kithara.storage")

JOIN_WITHIN = 1.0
"""Seconds that opening gives another process to say how far it is, or to let go."""

Io = Literal["auto", "pread"]


class StreamingResource(SharedResource):
    """A `Resource` in the file *path*: whole from an earlier session, resumed, or new.

    The store's side (`wait_range`, `read_at`, ...) and `write_at` are those of the core's
    `kithara._core.file_resource.FileResource`. Its own calls wait for the disk: make them in a worker thread.
    Thread-safe. It holds two or three descriptors until the last reference goes.

    Args:
        path: Where it is; its directory is made with mode 0700.
        length: Bytes in all, where known.
        sha256: The digest in hexadecimal that the whole must have to be committed.
        io: ``"auto"`` or ``"pread"``, see `FileResource`. On network and FUSE file systems it is always ``"pread"``.

    Attributes:
        validators: What identifies the representation, as far as it is known; see `describe`.
        tell_every: Seconds between two notes to other processes of what is here; who sets it calls `tell` at the end.
        resumed: Bytes from an earlier session are here. They are fresh only once an answer has confirmed `validators`.

    Raises:
        StoreError: Something else is in its place, or the disk refuses.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        length: int | None = None,
        *,
        sha256: str | None = None,
        io: Io = "auto",
    ) -> None:
        parent, name = os.path.split(os.fspath(path))
        directory = Directory.open(parent or ".", create=True)
        identity = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        self._begin(PartFile(directory, name, identity), Keeper(), length=length, sha256=sha256, io=io)

    @classmethod
    def keep(cls, files: PartFile, keeper: Keeper, *, fresh: bool = False, io: Io = "auto") -> Self:
        """The resource whose names are *files* (owned from now on), kept by *keeper*.

        Args:
            fresh: Begin a new generation beside whatever is there.
        """
        self = cls.__new__(cls)
        self._begin(files, keeper, fresh=fresh, io=io)
        return self

    def _begin(
        self,
        files: PartFile,
        keeper: Keeper,
        *,
        length: int | None = None,
        fresh: bool = False,
        sha256: str | None = None,
        io: Io = "auto",
    ) -> None:
        self._ready = self._named = False
        self._files = files
        self._keeper = keeper
        self._sha256 = None if sha256 is None else sha256.lower()
        self._saving = threading.RLock()  # before `_writing`, where both are held
        self._writing = threading.RLock()
        self._within: int | None = None  # the thread that is writing bytes
        self._following = Following(files, keeper)
        self._room = Room(keeper)
        self._closers = [weakref.finalize(self, what.close) for what in (files.directory, self._following)]
        for closer in self._closers:
            closer.atexit = False
        self._writer: Held | None = None
        try:
            found = self._find(fresh=fresh)
            if not found.committed and length not in (None, (found.validators or Validators()).total):
                if found.ranges:
                    os.close(found.fd)
                    found = files.make()
                found.validators = Validators(total=length)
            self._adopt(found, io)
            if length is not None and length != self.length:
                raise CacheCorrupt(f"{self.shown} has {self.length} bytes instead of {length}", operation="opening")
            if self._writer is not None:
                self._following.lead()
                self._publish()
                if length is not None:
                    self._reserve()
        except BaseException:
            self._settled()
            for closer in self._closers:
                closer()
            raise

    def _adopt(self, found: Found, io: Io) -> None:
        self._inode = found.inode
        self._generation = found.generation
        self.validators: Validators = found.validators or Validators()
        self.resumed: bool = bool(found.ranges) and self._writer is not None
        self._named = True  # the names on disk are ours
        self._unsaved = Unsaved()
        self._told = False
        self._published = (0.0, 0)  # when, and how large it was
        self._untold = False
        self.tell_every: float = 0.0
        self.label: str = self.shown
        if disk.is_remote(found.fd):
            io = "pread"  # there a mapping need not show what others write, nor a truncation
        super().__init__(
            found.fd, length=self.validators.total if not found.committed else None, ranges=found.ranges,
            cold=bool(found.ranges), committed=found.committed, io=io,
        )  # fmt: skip
        self._ready = True

    def _find(self, *, fresh: bool) -> Found:
        """What is there, with the right to write it; or what another process writes, to follow it."""
        deadline = time.monotonic() + JOIN_WITHIN
        while True:
            if not fresh and (whole := self._files.find_whole(self._keeper)) is not None:
                return whole
            self._writer = self._keeper.writer()
            if self._writer is not None:
                if fresh:
                    return self._files.make()
                # It may have been committed while the right to write was on its way to us.
                return self._files.find_whole(self._keeper) or self._files.find_partial() or self._files.make()
            if not fresh and (followed := self._following.join()) is not None:
                return followed
            if time.monotonic() > deadline:
                raise Busy(f"{self.shown} is being written by another process", operation="opening")
            time.sleep(0.01)

    def __repr__(self) -> str:
        return f"<StreamingResource {self.shown} {self.status} {self.total} of {self.length} bytes>"

    @property
    def shown(self) -> str:
        """The path, for people."""
        return self._files.shown

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def describe(self, validators: Validators) -> None:
        """Record what identifies the representation, and reserve room for it when its size is new.

        Raises:
            NoSpace: It will not fit, even after an eviction.
            ValueError: The total contradicts a length that is known.
        """
        if validators.total is not None and self.length is None:
            self.set_length(validators.total)
        elif validators.total not in (None, self.length):
            raise ValueError(f"the length is {self.length}, not {validators.total}")
        else:
            self._reserve()
        if validators != self.validators:
            self.validators = validators
            if self.status == "committed":
                self._keeper.saved(self)
            else:
                self._unsaved.changed()
        with self._writing:
            self._publish()

    def set_length(self, length: int) -> None:
        """As `Resource.set_length`; also reserves the room, so that a full disk is an error now and not midway."""
        super().set_length(length)
        if self._ready:
            self._reserve()

    def _reserve(self) -> None:
        """Have room for all of it."""
        length = self.length
        if length is not None and self._writer is not None and self._room.take(self.fd, length, self.total, self.shown):
            self._keeper.saved(self)

    def write_at(self, offset: int, data: Any) -> int:
        """As `Resource.write_at`; makes room once when the disk is full. An I/O error ends the resource for good."""
        try:
            return self._write_at_once(offset, data)
        except NoSpace:
            if not self._keeper.make_room(memoryview(data).nbytes, pressing=True):
                raise
            return self._write_at_once(offset, data)
        except StoreIo as exc:
            self._spoil(exc)
            raise
        except CacheCorrupt:
            self._lost()
            raise

    def _write_at_once(self, offset: int, data: Any) -> int:
        with self._writing:  # the reservation must not be given back meanwhile
            if self._writer is None and self._named and self.status == "active" and not self.closed:
                raise Busy(f"{self.shown} is being written by another process", operation="writing")
            self._within = threading.get_ident()
            try:
                new = super().write_at(offset, data)
            finally:
                self._within = None
            if new:
                self._unsaved.wrote(new)
                self._note()
            return new

    @property
    def dirty(self) -> int:
        """Bytes written since the last checkpoint."""
        return self._unsaved.size

    @property
    def due(self) -> bool:
        """Whether a checkpoint is due: 4 MiB of a quarter of a second, or 2 s of work, would be lost."""
        return self._named and self._unsaved.due

    @property
    def on_disk(self) -> bool:
        """Whether the names on the disk are this one's: not discarded, and not superseded."""
        return self._named

    def checkpoint(self, *, durable: bool = False) -> bool:
        """Let what is here survive a crash; whether there was anything to do.

        A sidecar that cannot be written (a full disk) costs progress after a crash, not playback: it is logged once.

        Args:
            durable: Also wait until the sidecar itself is on the disk, as at a pause or the end.

        Raises:
            StoreIo: The disk could not keep the bytes. Nothing since the last checkpoint can be trusted, not even by
                trying again, so the resource has failed and its files are gone.
        """
        self._use()
        with self._saving:
            if not (self._unsaved.any and self._named) or self._writer is None or self.status == "committed":
                return False
            with self._writing:  # a write counts its bytes after it has published them
                mark, fresh = self._unsaved.begin()
                ranges = tuple(self.available_ranges())
            if fresh:
                self._sync_data()
            durable = durable or self._unsaved.durable_due
            kept = self._save(ranges, durable=durable)
            self._unsaved.end(mark, durable=durable and kept)
        self._keeper.saved(self)
        return True

    def _sync_data(self) -> None:
        try:
            os.fdatasync(self.fd)
        except OSError as exc:
            error = StoreIo(f"{self.shown}: {exc.strerror}", errno=exc.errno, operation="syncing")
            error.__cause__ = exc
            self._spoil(error)
            raise error from exc

    def _save(self, ranges: Runs, *, durable: bool) -> bool:
        """Write the sidecar; whether that went well."""
        sidecar = Sidecar(
            key=self._files.identity, generation=self._generation, inode=self._inode,
            device=os.fstat(self.fd).st_dev, validators=replace(self.validators, total=self.length), ranges=ranges,
        )  # fmt: skip
        try:
            self._files.directory.replace(self._files.meta, sidecar.encode(), durable=durable)
            return True
        except (StoreError, FileNotFoundError) as exc:
            if not self._told:
                _log.warning("progress is not kept: %s", exc)
            self._told = True
            return False

    # ── ending ───────────────────────────────────────────────────────────────────────────────

    def commit(self, length: int | None = None) -> None:
        """Declare it whole, and let its name say so for ever. Does nothing when it is already.

        Where another process writes it, only this handle is declared whole; the name is the other's to give.

        Raises:
            ValueError: The length is not known, or a hole is left.
            CacheCorrupt: The file's size or digest is wrong; the resource has failed and its files are gone.
            StoreError: The disk refuses; the bytes stay readable, and trying again is allowed.
        """
        if length is not None and length != self.length:
            self.set_length(length)
        with self._saving:
            whole = self.length
            ready = whole is not None and self.next_gap(0, whole) is None
            if ready and self.status == "active" and self.try_become_writer():
                if whole:
                    self._sync_data()
                    problem = self._files.fault(self.fd, whole, self._sha256)
                    if problem is not None:
                        error = CacheCorrupt(f"{self.shown} {problem}", operation="committing")
                        self._spoil(error)
                        raise error
                    if not self._files.give_name():
                        # What is open goes on; there is just nothing to keep.
                        _log.warning("%s was removed while it was written", self.shown)
                        self._named = False
                else:  # nothing to keep: an empty file means a torn one
                    self._files.remove(self._inode)
                    self._named = False
            super().commit(length)
            with self._writing:
                self._publish(State.COMMITTED)
            self._settled()
        self._keeper.saved(self)

    def fail(self, error: BaseException) -> None:
        """As `Resource.fail`. The files stay as they were at the last checkpoint, for the next session to go on."""
        super().fail(error)
        if self.status != "committed":  # the first end stays
            self._ended()

    def cancel(self) -> None:
        """As `Resource.cancel`. The files stay as they were at the last checkpoint, for the next session to go on."""
        super().cancel()
        if self.status != "committed":
            self._ended()

    def close(self) -> None:
        """Save what is not yet saved, and give the handle up: every later use raises `Closed`."""
        if not self.closed:
            with contextlib.suppress(StoreError):
                self.checkpoint(durable=True)
            super().close()
            self._ended()

    def park(self) -> None:
        """Save, give back room that was reserved and the right to write: nobody wants more bytes for now.

        `try_become_writer` takes it up again.
        """
        with contextlib.suppress(StoreError):
            self.checkpoint(durable=True)
        self._settled()

    def discard(self) -> None:
        """Remove its files, whatever they hold; open readers keep what they have. The next open starts anew."""
        with self._saving:
            if self._named:
                with self._writing:
                    self._named = False
                    self._publish(State.GONE)
                self._files.remove(self._inode)
        self._ended()

    def supersede(self) -> None:
        """Let go of the names on disk: another generation takes them. Open readers keep this one's bytes."""
        with self._saving, self._writing:
            self._named = False
            self._publish(State.GONE)
        self._ended()

    def _spoil(self, error: StoreError) -> None:
        """The disk failed: nothing that is not saved can be trusted, so nothing is."""
        super().fail(error)
        with contextlib.suppress(StoreError):
            self.discard()

    def _lost(self) -> None:
        if self._within == threading.get_ident():
            return  # `write_at` does it, once it has let go of `_writing`: `_saving` comes before that
        _log.warning("%s was truncated or changed by somebody else and is dropped", self.shown)
        with contextlib.suppress(StoreError):
            self.discard()

    def _ended(self) -> None:
        self._settled()
        self._keeper.ended(self)

    def _settled(self) -> None:
        """Nothing more will be written here for now: give the room, the right to write and the place in line back."""
        with self._writing:
            self._following.leave()
            writer, self._writer = self._writer, None
            if writer is not None:
                if self.length is None or self.total < self.length:
                    # Not of a whole one: followers may hold it for committed, and this changes its time stamp.
                    self._room.give_back(self.fd)
                writer.release()
            if self.status == "committed":  # nobody has anything to tell about it any more
                self._following.close()
