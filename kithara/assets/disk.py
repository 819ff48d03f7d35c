"""Assets in a directory of the disk.

::

    <root>/kithara.root         marks the directory as ours; nothing is ever deleted where it is missing
    <root>/_index/index.db      hints, rebuilt when lost        <root>/_index/locks   locks of all processes
    <root>/_trash/<random>      renamed here, then removed
    <root>/<asset>/<path>       whole                           <root>/<asset>/.keep  pinned
    <root>/<asset>/<path>.part  being written                   <path>.part.meta      which bytes of it are trusted
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator

from ..errors import CacheCorrupt, ReadOnlyStore, StoreError, StoreIo
from ..storage.atomic import AtomicResource
from ..storage.files import Directory, store_error
from ..storage.keeper import Keeper
from ..storage.memory import AnyStreaming
from ..storage.partfile import PartFile
from ..storage.sidecar import SIZE_LIMIT, Sidecar
from ..storage.streaming import StreamingResource
from .backend import Removed
from .index import Index
from .keys import AssetId, ResourceKey
from .lease import WRITER, LockTable

MARKER = "kithara.root"
_FORMAT = b"kithara cache, format 1\n"
_INDEX = "_index"
_TRASH = "_trash"
KEEP = ".keep"


class DiskBackend:
    """The directory *path*, made when missing.

    Raises:
        StoreError: It cannot be used, or is not a cache and not empty, or others may write there.
    """

    leases = True

    def __init__(self, path: str) -> None:
        self.shown = path
        self._root = self._open_root(path)
        try:
            self._index_directory = self._root.down([_INDEX], create=True)
            self.locks: LockTable = LockTable(self._index_directory)
            self.index: Index = Index(f"{path}/{_INDEX}/index.db")
        except BaseException:
            self._root.close()
            raise

    @staticmethod
    def _open_root(path: str) -> Directory:
        if os.path.realpath(path) in ("/", os.path.realpath(os.path.expanduser("~"))):
            raise StoreIo(f"{path} is no place for a cache; name a directory of its own", errno=errno.EINVAL)
        try:
            root = Directory.open(path, create=True)
        except FileNotFoundError as exc:
            raise store_error(exc, "opening the cache", path) from exc
        try:
            names = root.names()
            facts = os.fstat(root.fd)
            if facts.st_uid != os.geteuid():
                raise ReadOnlyStore(f"{path} belongs to another user", errno=errno.EPERM, operation="opening the cache")
            if not names:
                os.fchmod(root.fd, 0o700)
            elif facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX:
                raise ReadOnlyStore(f"{path} is writable by others", errno=errno.EPERM, operation="opening the cache")
            foreign = [name for name in names if name not in (_INDEX, _TRASH) and not _is_temporary(name)]
            if _has(root, MARKER):  # asked after the names were listed: another process may just be making it
                if root.read(MARKER, 100) != _FORMAT:
                    raise CacheCorrupt(f"{path} is a cache of another version", operation="opening the cache")
            elif foreign:
                raise StoreIo(f"{path} is not empty and no cache", errno=errno.ENOTEMPTY, operation="opening the cache")
            else:
                root.replace(MARKER, _FORMAT)
        except BaseException:
            root.close()
            raise
        return root

    # ── resources ────────────────────────────────────────────────────────────────────────────

    def open_streaming(self, key: ResourceKey, keeper: Keeper, *, fresh: bool) -> StreamingResource:
        *parents, name = key.path.split("/")
        attempts = 5
        while True:
            attempts -= 1
            directory = self._alive().down(parents, create=True)
            try:
                return StreamingResource.keep(PartFile(directory, name, identity_of(key.path)), keeper, fresh=fresh)
            except StoreIo as exc:
                # Another process may have removed what was last in the directory, and the directory with it.
                if exc.errno != errno.ENOENT or not attempts:
                    raise

    def holds(self, key: ResourceKey) -> bool:
        *parents, name = key.path.split("/")
        try:
            with self._root.down(parents) as directory:
                return stat.S_ISREG(directory.stat(name).st_mode)
        except FileNotFoundError:
            return False

    def open_atomic(self, key: ResourceKey) -> AtomicResource:
        return AtomicResource(key.path, within=self._alive())

    def measure(self, resource: AnyStreaming) -> tuple[int, list[int] | None]:
        assert isinstance(resource, StreamingResource)
        facts = os.fstat(resource.fd)
        return facts.st_blocks * 512, seal_of(facts)

    def in_use(self, name: str) -> bool:
        return False

    def remove_asset(self, name: str) -> None:
        """Rename it away, so that it is gone at once and for everybody, then remove it."""
        aside = secrets.token_hex(8)
        try:
            with self._root.down([_TRASH], create=True) as trash:
                self._root.rename(name, aside, trash)
                trash.remove_tree(aside)
        except FileNotFoundError:
            return

    def remove_resource(self, key: ResourceKey) -> bool:
        *parents, name = key.path.split("/")
        try:
            with self._root.down(parents) as directory:
                for each in (f"{name}.part.meta", f"{name}.part.live", f"{name}.part", name):
                    directory.remove_tree(each)
        except FileNotFoundError:
            pass  # and perhaps an empty directory above it
        return self._prune(parents)

    def _prune(self, parents: list[str]) -> bool:
        """Remove the directories *parents*, each in the one before it, that hold nothing; whether all are gone."""
        for depth in range(len(parents), 0, -1):
            try:
                with self._root.down(parents[: depth - 1]) as above:
                    os.rmdir(parents[depth - 1], dir_fd=above.fd)
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def keep(self, name: str, kept: bool) -> None:
        with self._alive().down([name], create=True) as directory:
            if kept:
                directory.replace(KEEP, b"")
            else:
                directory.unlink(KEEP)

    def _alive(self) -> Directory:
        """The root; made again where somebody removed it while we ran."""
        if os.fstat(self._root.fd).st_nlink == 0:
            again = self._open_root(self.shown)
            old, self._root.fd = self._root.fd, again.fd
            os.close(old)
        return self._root

    # ── looking through everything ───────────────────────────────────────────────────────────

    def names(self) -> list[str]:
        """The assets that are there, by name."""
        found = []
        for name in self._root.names():
            with contextlib.suppress(StoreError):
                found.append(str(AssetId(name)))
        return found

    def assets(self) -> Iterator[tuple[str, bool, list[tuple[str, int, bool]]]]:
        for name in self.names():
            try:
                with self._root.down([name]) as directory:
                    kept = KEEP in directory.names()
                    files = {path: facts for path, facts in _walk(directory) if stat.S_ISREG(facts.st_mode)}
            except (FileNotFoundError, StoreError):
                continue
            resources = [
                (path.removesuffix(".part"), facts.st_blocks * 512, not path.endswith(".part"))
                for path, facts in files.items()
                if not path.endswith((".meta", ".live", ".tmp", KEEP))
                and not (path.endswith(".part") and path.removesuffix(".part") in files)
            ]
            yield name, kept, resources

    def has_trash(self) -> bool:
        """Whether something is left half removed, here or by another process at this moment."""
        try:
            with self._root.down([_TRASH]) as trash:
                return bool(trash.names())
        except (FileNotFoundError, StoreError):
            return False

    def empty_trash(self) -> None:
        """Remove what a crash left half removed."""
        with contextlib.suppress(FileNotFoundError, StoreError), self._root.down([_TRASH]) as trash:
            for name in trash.names():
                trash.remove_tree(name)

    def verify(self) -> Iterator[Removed]:
        self.empty_trash()
        for name in self._root.names():
            if _is_temporary(name):
                self._root.unlink(name)
                yield Removed(path=name, reason="was left over by a crash")
                continue
            try:
                AssetId(name)
            except StoreError:
                continue  # not ours, or not an asset: none of our business
            try:
                directory = self._root.down([name])
            except FileNotFoundError:
                continue
            except StoreError:
                self._root.remove_tree(name)
                yield Removed(path=name, reason="is no directory")
                continue
            with directory:
                yield from self._verify_asset(directory, name)

    def _verify_asset(self, directory: Directory, name: str) -> Iterator[Removed]:
        for path, facts in list(_walk(directory)):
            whole = f"{name}/{path}"
            stem = path
            for suffix in (".meta", ".live", ".part"):
                stem = stem.removesuffix(suffix)
            resource = f"{name}/{stem}"
            lock = self.locks.try_exclusive(WRITER, resource)
            if lock is None:
                continue  # being written, so in good hands
            with lock:
                try:
                    reason = self._fault(directory, path, resource, facts)
                except FileNotFoundError:
                    continue  # removed meanwhile
                if reason is not None:
                    *parents, last = path.split("/")
                    with contextlib.suppress(FileNotFoundError), directory.down(parents) as parent:
                        parent.remove_tree(last)
                    if not last.endswith(".live"):  # nothing was lost with that
                        yield Removed(path=whole, reason=reason)

    def _fault(self, directory: Directory, path: str, resource: str, facts: os.stat_result) -> str | None:
        """Why *path* cannot be trusted, or None when it can."""
        if stat.S_ISDIR(facts.st_mode):
            return None
        if not stat.S_ISREG(facts.st_mode):
            return "is no regular file"
        if path == KEEP:
            return None
        *parents, name = path.split("/")
        if _is_temporary(name):
            return "was left over by a crash"
        if name.endswith(".part.live"):
            return "has no writer any more"
        with directory.down(parents) as parent:
            if name.endswith(".part.meta"):
                part, sidecar = name.removesuffix(".meta"), name
            elif name.endswith(".part"):
                part, sidecar = name, f"{name}.meta"
            else:
                return "is empty" if facts.st_size == 0 else None
            if not _trusted(parent, part, sidecar, identity_of(resource)):
                return "has no partner that it can be trusted by"
        return None

    def close(self) -> None:
        self.index.close()
        self.locks.close()
        self._index_directory.close()
        self._root.close()


def _has(directory: Directory, name: str) -> bool:
    try:
        directory.stat(name)
    except FileNotFoundError:
        return False
    return True


def _is_temporary(name: str) -> bool:
    """Whether *name* is what `Directory.replace` writes to before it renames."""
    return name.startswith(".") and name.endswith(".tmp")


def seal_of(facts: os.stat_result) -> list[int]:
    """What changes when somebody writes into a committed file."""
    return [facts.st_ino, facts.st_size, facts.st_mtime_ns]


def identity_of(path: str) -> str:
    """What the sidecar of the resource at *path* below the root must carry."""
    return hashlib.sha256(path.encode()).hexdigest()


def _walk(directory: Directory, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Everything below *directory*, deepest first, following no link."""
    for name in directory.names():
        try:
            facts = directory.stat(name)
            if stat.S_ISDIR(facts.st_mode):
                with directory.down([name]) as below:
                    yield from _walk(below, f"{prefix}{name}/")
        except FileNotFoundError:
            continue
        yield f"{prefix}{name}", facts


def _trusted(parent: Directory, part: str, sidecar: str, identity: str) -> bool:
    try:
        found = Sidecar.decode(parent.read(sidecar, SIZE_LIMIT + 1))
        return found is not None and found.vouches_for(identity, parent.stat(part))
    except (FileNotFoundError, StoreError):
        return False
