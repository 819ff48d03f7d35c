"""The cache as its users see it: resources by key, leases, pins, limits."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from ..errors import Closed, StoreError
from ..events import EventBus
from ..storage.memory import AnyStreaming
from .backend import Atomic, Backend, Removed
from .disk import DiskBackend
from .evict import MAX_ASSETS, MAX_BYTES, Limits
from .keeping import CountedAtomic, House, ResourceKeeper
from .keys import AssetId, ResourceKey
from .lease import PIN, REBUILD, Lock
from .memory import MemoryBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetInfo:
    """One asset of a cache."""

    id: AssetId
    label: str | None
    """Its redacted URL, as far as that is remembered."""
    size: int
    """Bytes of the disk."""
    pinned: bool
    leased: bool
    """Somebody, here or in another process, has it open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a cache takes."""

    assets: int
    bytes: int
    max_assets: int
    max_bytes: int


class AssetStore:
    """A cache that many threads and processes share. Close it or use `with`; what it handed out goes on living.

    Its calls make file calls: a few hundred microseconds, and up to some milliseconds where something is made.

    Args:
        root: The directory; None is the platform's cache directory, or where that cannot be written a private
            temporary one, with a warning.
        max_bytes: Disk space to keep to, by dropping what was not used for longest. Assets that are open or pinned
            are never dropped, so a cache of nothing but those may take more.
        max_assets: As *max_bytes*, for their number.

    Attributes:
        bus: Where `kithara.events.Evicted` is published.

    Raises:
        StoreError: *root* cannot be used; see `DiskBackend`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        max_bytes: int = MAX_BYTES,
        max_assets: int = MAX_ASSETS,
    ) -> None:
        self._recipe: tuple[Any, ...] = (AssetStore, (root, max_bytes, max_assets))
        self._begin(DiskBackend(os.fspath(root)) if root is not None else self._default(), max_bytes, max_assets)

    @classmethod
    def in_memory(cls, max_bytes: int = 64 << 20, max_assets: int = MAX_ASSETS) -> Self:
        """A store of the same contract whose bytes are in memory, never more than *max_bytes*, gone when it goes."""
        self = cls.__new__(cls)
        self._recipe = (AssetStore.in_memory, (max_bytes, max_assets))
        self._begin(MemoryBackend(), max_bytes, max_assets)
        return self

    def _default(self) -> Backend:
        import platformdirs  # only who names no directory needs it

        path = platformdirs.user_cache_dir("kithara", appauthor=False)
        try:
            return DiskBackend(path)
        except StoreError as exc:
            private = tempfile.mkdtemp(prefix="kithara-")
            weakref.finalize(self, shutil.rmtree, private, ignore_errors=True)
            warnings.warn(
                f"the cache directory cannot be used ({exc}); what is fetched now goes with this process",
                RuntimeWarning, stacklevel=3,
            )  # fmt: skip
            return DiskBackend(private)

    def _begin(self, backend: Backend, max_bytes: int, max_assets: int) -> None:
        self._backend = backend
        self._index = backend.index
        self._limits = Limits(max_bytes=max_bytes, max_assets=max_assets)
        self._scan: threading.Thread | None = None
        self.bus: EventBus = EventBus()
        self._house = House(backend, self._limits, self.bus)
        if isinstance(backend, DiskBackend) and (backend.index.fresh or backend.has_trash()):
            self._scan = threading.Thread(target=self._tidy, args=(backend,), name="kithara-cache", daemon=True)
            self._scan.start()

    def __reduce__(self) -> tuple[Any, ...]:
        return self._recipe

    def __repr__(self) -> str:
        return f"<AssetStore {self.root}>"

    @property
    def root(self) -> str:
        """Where it is."""
        return self._backend.shown

    # ── resources ────────────────────────────────────────────────────────────────────────────

    def open_streaming(self, key: ResourceKey) -> AnyStreaming:
        """The resource of *key*: committed, and then immutable; else active, resumed or new.

        Within a process there is one live resource a key: two who ask get the same object. It leases its asset as long
        as anybody refers to it. One that failed, was cancelled or closed is not given out again.

        Raises:
            Busy: Another process is writing it.
            StoreError: The disk refuses.
        """
        return self._open(key, fresh=False)

    def supersede(self, key: ResourceKey) -> AnyStreaming:
        """A new generation of *key*, because the representation changed. Readers of the old one keep its bytes.

        The name on disk changes hands when the new one is committed, or at once where the old one was not whole.
        """
        return self._open(key, fresh=True)

    def _open(self, key: ResourceKey, *, fresh: bool) -> AnyStreaming:
        self._check_open()
        with self._house.lock:
            live = self._house.live.get(key)
            if live is not None and live.on_disk and not live.closed and live.status in ("active", "committed"):
                if not fresh:
                    self._index.touch(str(key.asset_root))
                    return live
                live.supersede()
            keeper = ResourceKeeper(self._house, key)
            new = self._index.enter(key.asset_root, "/".join(key.components), key.label)
            resource = self._backend.open_streaming(key, keeper, fresh=fresh)
            self._house.live[key] = resource
        self._index.touch(str(key.asset_root))
        if new:
            self._house.make_room(0)
        return resource

    def holds(self, key: ResourceKey) -> bool:
        """Whether the resource of *key* is here as a whole, as far as its name tells. Opens nothing."""
        self._check_open()
        return self._backend.holds(key)

    def open_atomic(self, key: ResourceKey) -> Atomic:
        """The small object of *key*, read and written as a whole."""
        self._check_open()
        return CountedAtomic(self._index, key, self._backend.open_atomic(key))

    def remove_resource(self, key: ResourceKey) -> None:
        """Remove one resource. Open readers keep the bytes they have; the next open starts anew."""
        self._check_open()
        with self._house.lock:
            live = self._house.live.pop(key, None)
        if live is not None:
            live.discard()
        with self._house.lock:  # nobody opens it anew while its directories go
            gone = self._backend.remove_resource(key)
        self._index.drop(key.asset_root, None if gone else "/".join(key.components))

    # ── assets ───────────────────────────────────────────────────────────────────────────────

    def lease(self, asset: str) -> Lock:
        """Keep *asset* from being evicted until the lease is released, or its process ends. A context manager.

        Raises:
            Busy: It is being removed, and that does not end.
        """
        self._check_open()
        name = AssetId(asset)
        self._index.touch(name)
        return self._backend.locks.shared(PIN, name)

    def pin(self, asset: str) -> None:
        """Keep *asset* from being evicted until `unpin`, whatever process runs: "keep offline"."""
        self._set_kept(asset, True)

    def unpin(self, asset: str) -> None:
        """Let *asset* be evicted again."""
        self._set_kept(asset, False)

    def _set_kept(self, asset: str, kept: bool) -> None:
        self._check_open()
        name = AssetId(asset)
        with self._backend.locks.shared(PIN, name):
            self._backend.keep(name, kept)
            self._index.keep(name, kept)

    def remove(self, asset: str) -> None:
        """Remove *asset*, pinned or not. Open readers keep the bytes they have."""
        self._check_open()
        name = AssetId(asset)
        for key, resource in self._house.open_live():
            if key.asset_root == name:
                resource.discard()
        self._backend.remove_asset(name)
        self._index.drop(name)

    def assets(self) -> list[AssetInfo]:
        """What is cached, the least recently used first. Waits for the walk over a cache whose index was lost."""
        self._check_open()
        self._scanned()
        return [
            AssetInfo(
                id=AssetId(row.name), label=row.label, size=row.size, pinned=row.keep,
                leased=self._backend.locks.is_held(PIN, row.name),
            )
            for row in self._index.rows()
        ]  # fmt: skip

    def usage(self) -> Usage:
        """What the cache takes, and may take. Waits as `assets` does."""
        self._check_open()
        self._scanned()
        count, size = self._index.totals()
        return Usage(
            assets=count, bytes=size, max_assets=self._limits.max_assets, max_bytes=self._limits.max_bytes
        )

    def verify(self) -> list[Removed]:
        """Look through everything, remove what is torn, and answer what that was. Reads no media bytes.

        What is being written, here or in another process, is left alone.
        """
        self._check_open()
        removed = list(self._backend.verify())
        self._index.replace_all(self._backend.assets())
        self._index.filled()
        return removed

    def evict(self, size: int = 0) -> int:
        """Keep the limits, with room for *size* bytes more. Happens by itself before a download; bytes freed."""
        self._check_open()
        return self._house.make_room(size)

    def _tidy(self, backend: DiskBackend) -> None:
        """Remove what a crash left half removed, and fill a new index from what is there, while the cache serves."""
        with contextlib.suppress(StoreError):
            backend.empty_trash()
            lock = backend.locks.try_exclusive(REBUILD, "") if backend.index.fresh else None
            if lock is not None:
                with lock:
                    self._index.replace_all(self._until_closed(backend.assets()), drop_missing=False)
                    if not self._house.closed.is_set():
                        self._index.filled()

    def _scanned(self) -> None:
        if self._scan is not None and self._scan is not threading.current_thread():
            self._scan.join()

    def _until_closed(
        self, assets: Iterator[tuple[str, bool, list[tuple[str, int, bool]]]]
    ) -> Iterator[tuple[str, bool, list[tuple[str, int, bool]]]]:
        for asset in assets:
            if self._house.closed.is_set():
                return
            yield asset

    # ── the end ──────────────────────────────────────────────────────────────────────────────

    def _check_open(self) -> None:
        if self._house.closed.is_set():
            raise Closed(f"the store {self.root} is closed")

    def checkpoint(self) -> None:
        """Let everything that is being written survive a crash from here on."""
        for _, resource in self._house.open_live():
            with contextlib.suppress(StoreError):
                resource.checkpoint(durable=True)

    def close(self) -> None:
        """Save what is being written, and give the store up. Resources that are open can still be read."""
        if self._house.closed.is_set():
            return
        for _, resource in self._house.open_live():
            resource.park()
        self._house.closed.set()
        self._scanned()
        self.bus.close()
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def asset_store(root: str | os.PathLike[str] | None = None, config: Limits | None = None) -> AssetStore:
    """The store at *root* with the limits of *config*; see `AssetStore`."""
    limits = config or Limits()
    return AssetStore(root, max_bytes=limits.max_bytes, max_assets=limits.max_assets)
