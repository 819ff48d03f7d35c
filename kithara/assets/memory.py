"""Assets in memory: the same contract, gone with the store."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ..storage.keeper import Keeper
from ..storage.memory import AnyStreaming, MemoryStreamingResource
from .backend import Removed
from .index import Index
from .keys import ResourceKey
from .lease import LockTable


class MemoryAtomic:
    """A small object in memory that is read and written as a whole."""

    def __init__(self, backend: MemoryBackend, key: ResourceKey) -> None:
        self._backend = backend
        self._key = key

    def read(self) -> bytes | None:
        """All of it, or None when it was never written."""
        return self._backend._atomic.get(self._key)

    def write(self, data: bytes) -> None:
        """Replace what is there by *data*."""
        self._backend._atomic[self._key] = bytes(data)


class MemoryBackend:
    """Assets that are kept by reference. Thread-safe."""

    leases = False  # the backend itself refers to every resource

    def __init__(self) -> None:
        self.shown = "memory"
        self.index: Index = Index(None)
        self.locks: LockTable = LockTable(None)
        self._lock = threading.Lock()
        self._streaming: dict[ResourceKey, MemoryStreamingResource] = {}
        self._atomic: dict[ResourceKey, bytes] = {}

    def open_streaming(self, key: ResourceKey, keeper: Keeper, *, fresh: bool) -> MemoryStreamingResource:
        with self._lock:
            found = self._streaming.get(key)
            if found is None or fresh or not found.on_disk or found.closed or found.status in ("failed", "cancelled"):
                found = self._streaming[key] = MemoryStreamingResource(f"memory:{key.path}", keeper=keeper)
            return found

    def holds(self, key: ResourceKey) -> bool:
        with self._lock:
            found = self._streaming.get(key)
        return found is not None and found.on_disk and found.status == "committed"

    def open_atomic(self, key: ResourceKey) -> MemoryAtomic:
        return MemoryAtomic(self, key)

    def measure(self, resource: AnyStreaming) -> tuple[int, list[int] | None]:
        assert isinstance(resource, MemoryStreamingResource)
        return resource.held, None

    def in_use(self, name: str) -> bool:
        return any(found.cursors or found.produced for found in self._of(name))

    def _of(self, name: str) -> list[MemoryStreamingResource]:
        with self._lock:
            return [found for key, found in self._streaming.items() if key.asset_root == name]

    def remove_asset(self, name: str) -> None:
        for found in self._of(name):
            found.discard()
        with self._lock:
            self._streaming = {key: found for key, found in self._streaming.items() if key.asset_root != name}
            self._atomic = {key: content for key, content in self._atomic.items() if key.asset_root != name}

    def remove_resource(self, key: ResourceKey) -> bool:
        with self._lock:
            self._streaming.pop(key, None)
            self._atomic.pop(key, None)
            left = any(other.asset_root == key.asset_root for other in [*self._streaming, *self._atomic])
        row = self.index.row(key.asset_root)
        return not left and (row is None or not row.keep)

    def keep(self, name: str, kept: bool) -> None:
        return

    def assets(self) -> Iterator[tuple[str, bool, list[tuple[str, int, bool]]]]:
        with self._lock:
            held = dict(self._streaming)
        for name in sorted({str(key.asset_root) for key in held}):
            row = self.index.row(name)
            yield name, row is not None and row.keep, [
                ("/".join(key.components), found.held, found.status == "committed")
                for key, found in held.items()
                if key.asset_root == name
            ]

    def verify(self) -> Iterator[Removed]:
        return iter(())

    def close(self) -> None:
        with self._lock:
            self._streaming.clear()
            self._atomic.clear()
        self.index.close()
