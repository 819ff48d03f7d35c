"""The store's hand in what it hands out: leases, the right to write, room, and what the index is told."""

from __future__ import annotations

import json
import logging
import os
import threading
import weakref
from dataclasses import asdict
from typing import cast

from ..errors import CacheCorrupt, StoreError
from ..events import EventBus, Evicted
from ..storage.keeper import Held, Keeper, Kept
from ..storage.memory import AnyStreaming
from ..storage.sidecar import Validators
from .backend import Atomic, Backend
from .disk import seal_of
from .evict import Limits, make_room
from .index import AssetRow, Index
from .keys import ResourceKey
from .lease import PIN, SLOT, WRITER

_log = logging.getLogger("kithara.assets")
_houses: weakref.WeakSet[House] = weakref.WeakSet()

_BLOCK = 4096
"""What a small file takes of most disks at least."""


class House:
    """What a store shares with all that it hands out: where things are, which are live, and how much room there is.

    Attributes:
        lock: Held while `live` is looked at and changed.
        live: The one resource of each key that somebody in this process refers to.
    """

    def __init__(self, backend: Backend, limits: Limits, bus: EventBus) -> None:
        self.backend = backend
        self.index: Index = backend.index
        self.limits = limits
        self.closed: threading.Event = threading.Event()
        self._bus = bus
        self.forget()
        _houses.add(self)

    def forget(self) -> None:
        """Have nothing open, as a forked child has not."""
        self.lock: threading.RLock = threading.RLock()
        self.live: weakref.WeakValueDictionary[ResourceKey, AnyStreaming] = weakref.WeakValueDictionary()

    def open_live(self) -> list[tuple[ResourceKey, AnyStreaming]]:
        """What is live at this moment."""
        with self.lock:
            return list(self.live.items())

    def let_go(self, key: ResourceKey, resource: object) -> None:
        """Give *resource* out no more."""
        with self.lock:
            if self.live.get(key) is resource:
                del self.live[key]

    def make_room(self, size: int, *, pressing: bool = False) -> int:
        """Keep the limits with *size* bytes more; *pressing*: the disk itself is full. The bytes freed."""
        try:
            return make_room(self.index, self.limits, self._evict, size=size, pressing=pressing)
        except StoreError as exc:
            _log.warning("eviction failed: %s", exc)
            return 0

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more keep the limit, perhaps after an eviction."""
        self.make_room(size)
        return self.index.totals()[1] + size <= self.limits.max_bytes

    def _evict(self, row: AssetRow) -> int | None:
        """Drop the asset unless somebody has it; its size, or None."""
        lock = None if self.backend.in_use(row.name) else self.backend.locks.try_exclusive(PIN, row.name)
        if lock is None:
            return None
        with lock:
            try:
                self.backend.remove_asset(row.name)
            except StoreError as exc:
                _log.warning("%s cannot be evicted: %s", row.name, exc)
                return None
            self.index.drop(row.name)
        self._bus.publish(Evicted(asset_id=row.name, size=row.size))
        return row.size


class ResourceKeeper(Keeper):
    """The store's hand in one resource. Holds its lease."""

    def __init__(self, house: House, key: ResourceKey) -> None:
        self._house = weakref.ref(house)
        self._backend = house.backend
        self._index = house.backend.index
        self._key = key
        self.shared: bool = self._backend.leases
        self._path = "/".join(key.components)
        self._lease = self._backend.locks.shared(PIN, key.asset_root) if self._backend.leases else None

    def _open_house(self) -> House | None:
        house = self._house()
        return None if house is None or house.closed.is_set() else house

    def recall(self, found: os.stat_result) -> Validators | None:
        text = self._index.facts(self._key.asset_root, self._path)
        validators = Validators.from_json(text)
        if text is None or validators is None:
            return None
        seal = json.loads(text).get("seal")
        if isinstance(seal, list) and seal[:1] == [found.st_ino] and seal != seal_of(found):
            raise CacheCorrupt(f"{self._key.path} was changed since it was committed", operation="opening")
        return validators

    def make_room(self, size: int, *, pressing: bool = False) -> bool:
        house = self._open_house()
        return house is not None and house.make_room(size, pressing=pressing) > 0

    def allow(self, size: int) -> bool:
        house = self._open_house()
        return house is None or house.has_room(size)

    def saved(self, resource: Kept) -> None:
        if self._open_house() is None or not resource.on_disk:
            return
        size, seal = self._backend.measure(cast(AnyStreaming, resource))
        complete = resource.status == "committed"
        facts = None
        if complete:
            facts = json.dumps({**asdict(resource.validators), "total": resource.length, "seal": seal})
        self._index.put(
            self._key.asset_root, self._path, size, complete=complete, facts=facts, label=self._key.label
        )

    def ended(self, resource: Kept) -> None:
        house = self._open_house()
        if house is not None:
            house.let_go(self._key, resource)
            if not resource.on_disk:
                self._index.drop(self._key.asset_root, self._path)

    def writer(self) -> Held | None:
        return self._backend.locks.try_exclusive(WRITER, self._key.path)

    def slot(self, number: int) -> Held | None:
        return self._backend.locks.try_exclusive(SLOT, f"{self._key.path}#{number}")


class CountedAtomic:
    """An `Atomic` whose size the store knows of."""

    def __init__(self, index: Index, key: ResourceKey, inner: Atomic) -> None:
        self._index = index
        self._key = key
        self._inner = inner

    def read(self) -> bytes | None:
        """All of it, or None when it was never written."""
        return self._inner.read()

    def write(self, data: bytes) -> None:
        """Replace what is there by *data*.

        Raises:
            StoreError: It could not be written; what was there before is still there.
        """
        self._inner.write(data)
        self._index.put(
            self._key.asset_root, "/".join(self._key.components), -(-len(data) // _BLOCK) * _BLOCK, complete=True,
            label=self._key.label,
        )  # fmt: skip


def _after_fork_in_child() -> None:
    for house in list(_houses):
        house.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
