"""A large file that arrives in pieces, in any order, over days and crashes; only what is whole is taken for whole.

On disk: ``<name>.part`` is being written, ``<name>.part.meta`` says which of its bytes are trusted, and ``<name>``
exists exactly when every byte is there and on the disk. The order that makes this true, measured with power cuts on
ext4 and xfs: *data to disk, then the sidecar, then its rename*; at the end *data to disk, rename, directory to disk*.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import threading
import time
import weakref
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self, cast

from .._core import disk
from .._core.resource import FileResource
from ..errors import Busy, CacheCorrupt, NoSpace, StoreError, StoreIo
from .files import Directory, store_error
from .sidecar import SIZE_LIMIT, Runs, Sidecar, Validators

_log = logging.getLogger("kithara.storage")

CHECKPOINT_BYTES = 4 << 20
CHECKPOINT_AFTER = 2.0
"""Bytes, and seconds, that a crash may cost."""

DURABLE_AFTER = 10.0
"""Seconds after which a checkpoint also waits for its own rename to reach the disk."""


Io = Literal["auto", "pread"]


class Held(Protocol):
    """Something held until released."""

    def release(self) -> None: ...


class Kept(Protocol):
    """What a keeper sees of a resource."""

    validators: Validators

    @property
    def status(self) -> str: ...
    @property
    def length(self) -> int | None: ...
    @property
    def on_disk(self) -> bool:
        """Whether the names in the cache are this one's."""
        ...


class Keeper:
    """Whoever keeps a resource: the one in charge of its cache. This one keeps nothing and allows everything."""

    def recall(self, found: os.stat_result) -> Validators | None:
        """What is remembered of the committed file.

        Raises:
            CacheCorrupt: It is not the file that was committed.
        """
        return None

    def make_room(self, size: int, *, pressing: bool = False) -> bool:
        """Have *size* bytes more keep the limits; *pressing*: the disk itself is full. Whether any were freed."""
        return False

    def allow(self, size: int) -> bool:
        """Whether *size* bytes more may be taken at all, where the limit is a hard one."""
        return True

    def saved(self, resource: Kept) -> None:
        """The resource takes another amount of disk, or was committed."""

    def ended(self, resource: Kept) -> None:
        """The resource failed, was cancelled, closed, discarded or superseded: the next open is to start anew."""

    def writer(self) -> Held | None:
        """The right to write, held; None when another has it."""
        return _Nothing()


class _Nothing:
    def release(self) -> None:
        return


@dataclass(slots=True)
class _Found:
    """A file as it was found or made, not yet owned by a resource."""

    fd: int
    inode: int
    committed: bool = False
    generation: int = 0
    ranges: Runs = ()
    validators: Validators | None = None


class StreamingResource(FileResource):
    """A `Resource` in the file *path*: whole from an earlier session, resumed, or new.

    The store's side (`wait_range`, `read_at`, ...) and `write_at` are those of `kithara._core.resource.FileResource`.
    Its own calls wait for the disk: make them in a worker thread. Thread-safe. It holds two descriptors until the last
    reference goes.

    Args:
        path: Where it is; its directory is made with mode 0700.
        length: Bytes in all, where known.
        sha256: The digest in hexadecimal that the whole must have to be committed.
        io: ``"auto"`` or ``"pread"``, see `FileResource`.

    Attributes:
        validators: What identifies the representation, as far as it is known; see `describe`.
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
        self._begin(directory, name, identity, Keeper(), length=length, sha256=sha256, io=io)

    @classmethod
    def keep(
        cls, directory: Directory, name: str, identity: str, keeper: Keeper, *, fresh: bool = False, io: Io = "auto"
    ) -> Self:
        """The resource *name* of *directory* (owned from now on), kept by *keeper*.

        Args:
            identity: SHA-256 of its key, which its sidecar must agree with.
            fresh: Begin a new generation beside whatever is there.
        """
        self = cast(Self, cls.__new__(cls))
        self._begin(directory, name, identity, keeper, fresh=fresh, io=io)
        return self

    def _begin(
        self,
        directory: Directory,
        name: str,
        identity: str,
        keeper: Keeper,
        *,
        length: int | None = None,
        fresh: bool = False,
        sha256: str | None = None,
        io: Io = "auto",
    ) -> None:
        self._ready = self._reserved = self._named = False
        self._directory = directory
        self._name = name
        self._identity = identity
        self._keeper = keeper
        self._sha256 = None if sha256 is None else sha256.lower()
        self._saving = threading.RLock()
        self._writing = threading.RLock()
        self._closer = weakref.finalize(self, directory.close)
        self._closer.atexit = False
        self._writer: Held | None = None
        try:
            found = self._find(fresh=fresh)
            if not found.committed and length not in (None, (found.validators or Validators()).total):
                if found.ranges:
                    os.close(found.fd)
                    found = self._make()
                found.validators = Validators(total=length)
            self._adopt(found, io)
            if length is not None and length != self.length:
                raise CacheCorrupt(f"{self.shown} has {self.length} bytes instead of {length}", operation="opening")
            if length is not None:
                self._reserve()
        except BaseException:
            self._settled()
            self._closer()
            raise

    def _adopt(self, found: _Found, io: Io) -> None:
        self._inode = found.inode
        self._generation = found.generation
        self.validators = found.validators or Validators()
        self.resumed = bool(found.ranges)
        self._named = True  # the names on disk are ours
        self._written = self._saved = 0
        self._dirty_since: float | None = None
        self._durable_at = time.monotonic()
        self._told = False
        self.label = self.shown
        super().__init__(
            found.fd, length=self.validators.total if not found.committed else None, ranges=found.ranges,
            cold=bool(found.ranges), committed=found.committed, io=io,
        )  # fmt: skip
        self._ready = True

    def __repr__(self) -> str:
        return f"<StreamingResource {self.shown} {self.status} {self.total} of {self.length} bytes>"

    @property
    def shown(self) -> str:
        """The path, for people."""
        return self._directory.shown(self._name)

    # ── opening ──────────────────────────────────────────────────────────────────────────────

    def _find(self, *, fresh: bool) -> _Found:
        if not fresh and (whole := self._find_whole()) is not None:
            return whole
        self._writer = self._keeper.writer()
        if self._writer is None:
            raise Busy(f"{self.shown} is being written by another process", operation="opening")
        if not fresh:
            # It may have been committed while the right to write was on its way to us.
            found = self._find_whole() or self._find_partial()
            if found is not None:
                return found
        return self._make()

    def _find_whole(self) -> _Found | None:
        try:
            fd = self._directory.open_file(self._name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        facts = os.fstat(fd)
        try:
            if facts.st_size == 0:  # what a power cut leaves of somebody's careless rename
                raise CacheCorrupt(f"{self.shown} is empty", operation="opening")
            remembered = self._keeper.recall(facts)
        except CacheCorrupt as exc:
            _log.warning("dropped: %s", exc)
            os.close(fd)
            self._directory.unlink(self._name)
            return None
        if remembered is None or remembered.total != facts.st_size:
            remembered = Validators(total=facts.st_size)
        return _Found(fd, facts.st_ino, committed=True, validators=remembered)

    def _find_partial(self) -> _Found | None:
        """The partial and what is trusted of it, if its sidecar is about this very file."""
        try:
            sidecar = Sidecar.decode(self._directory.read(self._meta, SIZE_LIMIT + 1))
            fd = None if sidecar is None else self._directory.open_file(self._part, os.O_RDWR)
        except (FileNotFoundError, CacheCorrupt):
            return None
        if sidecar is None or fd is None:
            return None
        facts = os.fstat(fd)
        if sidecar.vouches_for(self._identity, facts):
            return _Found(
                fd, facts.st_ino, generation=sidecar.generation, ranges=sidecar.ranges, validators=sidecar.validators
            )
        os.close(fd)
        return None

    def _make(self) -> _Found:
        """A new file under the partial's name. The old sidecar goes first: an inode number may come again."""
        try:
            self._directory.remove_tree(self._meta)
            self._directory.sync()
            self._directory.remove_tree(self._part)
            fd = self._directory.open_file(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError as exc:
            raise store_error(exc, "creating a file", self.shown) from exc
        return _Found(fd, os.fstat(fd).st_ino, generation=secrets.randbits(63))

    @property
    def _part(self) -> str:
        return f"{self._name}.part"

    @property
    def _meta(self) -> str:
        return f"{self._name}.part.meta"

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
            self._dirty_since = self._dirty_since or time.monotonic()

    def set_length(self, length: int) -> None:
        """As `Resource.set_length`; also reserves the room, so that a full disk is an error now and not midway."""
        super().set_length(length)
        if self._ready:
            self._reserve()

    def _reserve(self) -> None:
        """Have room for all of it, once."""
        length, here = self.length, self.total
        if self._reserved or length is None or here >= length or self._writer is None:
            return
        self._keeper.make_room(length - here)
        failed = self._set_aside(length, length - here)
        if failed and self._keeper.make_room(length - here, pressing=True):
            failed = self._set_aside(length, length - here)
        self._reserved = not failed
        if failed:
            raise store_error(OSError(failed, os.strerror(failed)), f"reserving {length} bytes", self.shown)
        self._keeper.saved(self)

    def _set_aside(self, length: int, missing: int) -> int:
        """0, or the errno that says why there is no room."""
        volume = os.fstatvfs(self.fd)
        if missing > volume.f_bavail * volume.f_frsize:
            return errno.ENOSPC  # not by trying: ext4 takes all there is, then fails, and keeps what it took
        failed = disk.reserve(self.fd, length)
        if failed:
            disk.release(self.fd)
        return failed

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

    def _write_at_once(self, offset: int, data: Any) -> int:
        with self._writing:  # the reservation must not be given back meanwhile
            if self._writer is None and self._named and self.status == "active" and not self.closed:
                raise Busy(f"{self.shown} is being written by another process", operation="writing")
            new = super().write_at(offset, data)
            if new:
                self._written += new
                if self._dirty_since is None:
                    self._dirty_since = time.monotonic()
            return new

    @property
    def on_disk(self) -> bool:
        """Whether the names on the disk are this one's: not discarded, and not superseded."""
        return self._named

    @property
    def dirty(self) -> int:
        """Bytes written since the last checkpoint."""
        return self._written - self._saved

    @property
    def due(self) -> bool:
        """Whether a checkpoint is due: 4 MiB or 2 s of work would be lost."""
        since = self._dirty_since
        return since is not None and (
            self.dirty >= CHECKPOINT_BYTES or time.monotonic() - since >= CHECKPOINT_AFTER
        )

    @property
    def is_writer(self) -> bool:
        """Whether this process may write it."""
        return self._writer is not None

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
            if self._dirty_since is None or not self._on_disk():
                return False
            mark, self._dirty_since = self._written, None
            ranges = tuple(self.available_ranges())
            if mark != self._saved:
                self._sync_data()
            self._saved = mark
            durable = durable or time.monotonic() - self._durable_at >= DURABLE_AFTER
            self._save(ranges, durable=durable)
        self._keeper.saved(self)
        return True

    def _on_disk(self) -> bool:
        return self._named and self._writer is not None and self.status != "committed"

    def _sync_data(self) -> None:
        try:
            os.fdatasync(self.fd)
        except OSError as exc:
            error = StoreIo(f"{self.shown}: {exc.strerror}", errno=exc.errno, operation="syncing")
            error.__cause__ = exc
            self._spoil(error)
            raise error from exc

    def _save(self, ranges: Runs, *, durable: bool) -> None:
        sidecar = Sidecar(
            key=self._identity, generation=self._generation, inode=self._inode,
            device=os.fstat(self.fd).st_dev, validators=replace(self.validators, total=self.length), ranges=ranges,
        )  # fmt: skip
        try:
            self._directory.replace(self._meta, sidecar.encode(), durable=durable)
            if durable:
                self._durable_at = time.monotonic()
        except (StoreError, FileNotFoundError) as exc:
            if not self._told:
                _log.warning("progress is not kept: %s", exc)
            self._told = True

    # ── ending ───────────────────────────────────────────────────────────────────────────────

    def commit(self, length: int | None = None) -> None:
        """Declare it whole, and let its name say so for ever. Does nothing when it is already.

        Raises:
            ValueError: The length is not known, or a hole is left.
            CacheCorrupt: The file's size or digest is wrong; the resource has failed and its files are gone.
            StoreError: The disk refuses; the bytes stay readable, and trying again is allowed.
        """
        if length is not None and length != self.length:
            self.set_length(length)
        with self._saving:
            whole = self.length
            if self.status == "active" and self._named and whole is not None and self.next_gap(0, whole) is None:
                if not self.try_become_writer():
                    raise Busy(f"{self.shown} is being written by another process", operation="committing")
                if whole:
                    self._sync_data()
                    self._prove(whole)
                    self._give_name()
                else:  # nothing to keep: an empty file means a torn one
                    self._unlink_ours()
                    self._named = False
            super().commit(length)
            self._settled()
        self._keeper.saved(self)

    def _prove(self, whole: int) -> None:
        problem = None
        size = os.fstat(self.fd).st_size
        if size != whole:
            problem = f"has {size} bytes instead of {whole}"
        elif self._sha256 is not None and self._digest() != self._sha256:
            problem = f"does not have the SHA-256 digest {self._sha256}"
        if problem is not None:
            error = CacheCorrupt(f"{self.shown} {problem}", operation="committing")
            self._spoil(error)
            raise error

    def _digest(self) -> str:
        with open(self.fd, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _give_name(self) -> None:
        try:
            self._directory.rename(self._part, self._name)
            self._directory.sync()
            self._directory.unlink(self._meta)
        except FileNotFoundError:
            # Somebody removed the cache under us. What is open goes on; there is just nothing to keep.
            _log.warning("%s was removed while it was written", self.shown)
            self._named = False

    def fail(self, error: BaseException) -> None:
        """As `Resource.fail`. The files stay, for the next session to go on; see `discard`."""
        super().fail(error)
        self._ended()

    def cancel(self) -> None:
        """As `Resource.cancel`. The files stay, for the next session to go on; see `discard`."""
        super().cancel()
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
                self._named = False
                self._unlink_ours()
        self._ended()

    def _unlink_ours(self) -> None:
        """Remove the names that still mean our inode, the sidecar first."""
        names = [self._name] if self.status == "committed" else [self._part]
        for name in names:
            try:
                if self._directory.stat(name).st_ino == self._inode:
                    self._directory.unlink(self._meta)
                    self._directory.unlink(name)
            except FileNotFoundError:
                continue

    def supersede(self) -> None:
        """Let go of the names on disk: another generation takes them. Open readers keep this one's bytes."""
        with self._saving:
            self._named = False
        self._ended()

    def _spoil(self, error: StoreError) -> None:
        """The disk failed: nothing that is not saved can be trusted, so nothing is."""
        super().fail(error)
        with contextlib.suppress(StoreError):
            self.discard()

    def _lost(self) -> None:
        _log.warning("%s was truncated or changed by somebody else and is dropped", self.shown)
        with contextlib.suppress(StoreError):
            self.discard()

    def _ended(self) -> None:
        self._settled()
        self._keeper.ended(self)

    def _settled(self) -> None:
        """Nothing more will be written: give the room and the right to write back."""
        with self._writing:
            writer, self._writer = self._writer, None
            if writer is not None:
                if self._reserved and self.status != "committed":
                    disk.release(self.fd)
                    self._reserved = False
                writer.release()

    def try_become_writer(self) -> bool:
        """Take the right to write, if nobody has it; whether this process has it now."""
        with self._writing:
            if self._writer is None and self._named and self.status == "active" and not self.closed:
                self._writer = self._keeper.writer()
            return self._writer is not None
