"""File calls that cannot be led astray: relative to an open directory, following no link, errors typed.

Everything the cache does to a file goes through a `Directory`, so a planted symbolic link, FIFO or device is
refused where it is met and nothing outside the directory is touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from typing import Self

from ..errors import Busy, CacheCorrupt, InvalidKey, NoSpace, ReadOnlyStore, StoreError, StoreIo

_KINDS: dict[int, type[StoreError]] = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EFBIG: NoSpace,
    errno.EROFS: ReadOnlyStore,
    errno.EACCES: ReadOnlyStore,
    errno.EPERM: ReadOnlyStore,
    errno.EMFILE: Busy,
    errno.ENFILE: Busy,
    errno.ELOOP: CacheCorrupt,
    errno.ENOTDIR: CacheCorrupt,
    errno.EISDIR: CacheCorrupt,
    errno.ENXIO: CacheCorrupt,
    errno.ENAMETOOLONG: InvalidKey,
}
_ADVICE = {
    errno.ELOOP: "a symbolic link is where a file of the cache belongs",
    errno.ENOTDIR: "a file or link is where a directory of the cache belongs",
    errno.EISDIR: "a directory is where a file of the cache belongs",
    errno.ENXIO: "something that is no regular file is where a file of the cache belongs",
}


def store_error(exc: OSError, operation: str, shown: str) -> StoreError:
    """The typed twin of *exc*, for a call that did *operation* on *shown*."""
    kind = _KINDS.get(exc.errno or 0, StoreIo)
    why = _ADVICE.get(exc.errno or 0) or exc.strerror or str(exc)
    return kind(f"{shown}: {why}", errno=exc.errno, operation=operation)


@contextlib.contextmanager
def translated(operation: str, shown: str) -> Iterator[None]:
    """Raise `StoreError` for every `OSError` of the block. `FileNotFoundError` passes: callers give it meaning."""
    try:
        yield
    except (FileNotFoundError, StoreError):
        raise
    except OSError as exc:
        raise store_error(exc, operation, shown) from exc


class Directory:
    """An open directory. Owns its descriptor; close it or use `with`.

    `FileNotFoundError` means what it says; every other failure of a method is a `StoreError`.
    """

    __slots__ = ("fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd: int = fd
        self.path: str = path

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = False) -> Self:
        """The directory at *path*, whose parents the caller vouches for; made with mode 0700 if told so."""
        shown = os.fspath(path)
        with translated("opening a directory", shown):
            if create:
                os.makedirs(os.path.dirname(os.path.abspath(shown)), mode=0o700, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(shown, 0o700)
            return cls(os.open(shown, os.O_RDONLY | os.O_DIRECTORY), shown)

    def down(self, names: Sequence[str], *, create: bool = False) -> Directory:
        """The directory *names* below this one, each step checked to be a real directory; made if told so."""
        attempts = 5
        while True:
            attempts -= 1
            try:
                return self._walk_down(names, create=create)
            except FileNotFoundError:
                # One that was empty may be removed by others between two of the steps: make it again, from the top.
                if not create or not attempts:
                    raise

    def _walk_down(self, names: Sequence[str], *, create: bool) -> Directory:
        with translated("opening a directory", self.path):
            at = Directory(os.dup(self.fd), self.path)
        try:
            for name in names:
                shown = f"{at.path}/{name}"
                with translated("opening a directory", shown):
                    try:
                        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at.fd)
                    except FileNotFoundError:
                        if not create:
                            raise
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(name, 0o700, dir_fd=at.fd)
                        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at.fd)
                os.close(at.fd)
                at = Directory(fd, shown)
        except BaseException:
            at.close()
            raise
        return at

    def open_file(self, name: str, flags: int) -> int:
        """A descriptor of the regular file *name*; never a link, never blocking on a FIFO. New ones get mode 0600."""
        with translated("opening a file", self.shown(name)):
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=self.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise CacheCorrupt(f"{self.shown(name)}: {_ADVICE[errno.ENXIO]}", operation="opening a file")
        return fd

    def stat(self, name: str) -> os.stat_result:
        """What *name* itself is, link or not."""
        with translated("looking at a file", self.shown(name)):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The content of *name*, or of its first *limit* bytes."""
        fd = self.open_file(name, os.O_RDONLY)
        with open(fd, "rb", buffering=0) as file, translated("reading a file", self.shown(name)):
            pieces = []
            left = os.fstat(fd).st_size if limit is None else limit
            while left > 0 and (piece := file.read(left)):
                pieces.append(piece)
                left -= len(piece)
            return b"".join(pieces)

    def replace(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Let *name* hold *data*, whole or not at all; *durable* survives power cuts too."""
        temporary = f".{secrets.token_hex(8)}.tmp"
        try:
            with translated("writing a file", self.shown(name)):
                fd = self.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                try:
                    write_all(fd, data)
                    if durable:
                        os.fdatasync(fd)
                finally:
                    os.close(fd)
                os.replace(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self.fd)
            raise
        if durable:
            self.sync()

    def rename(self, old: str, new: str, into: Directory | None = None) -> None:
        """Give *old* the name *new* here, or in the directory *into*."""
        target = into or self
        with translated("renaming a file", self.shown(old)):
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=target.fd)

    def unlink(self, name: str) -> None:
        """Remove the file or link *name*; nothing if it is not there."""
        with translated("removing a file", self.shown(name)), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def remove_tree(self, name: str) -> None:
        """Remove *name* and all below it, following no link; nothing if it is not there."""
        try:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            self.unlink(name)
            return
        except OSError as exc:
            raise store_error(exc, "removing a directory", self.shown(name)) from exc
        with Directory(below, self.shown(name)) as directory:
            for child in directory.names():
                directory.remove_tree(child)
        with translated("removing a directory", self.shown(name)), contextlib.suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=self.fd)

    def names(self) -> list[str]:
        """The names in this directory, sorted."""
        with translated("listing a directory", self.path):
            return sorted(os.listdir(self.fd))

    def sync(self) -> None:
        """Make renames and removals in this directory survive a power cut."""
        with translated("syncing a directory", self.path):
            os.fsync(self.fd)

    def shown(self, name: str) -> str:
        """*name* with its path, for messages."""
        return f"{self.path}/{name}"

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*; a short write goes on, as for a signal that came between."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
