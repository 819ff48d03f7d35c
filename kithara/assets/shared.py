"""Which cache is meant: a store, a directory that everything in this process shares, or none."""

from __future__ import annotations

import os
import threading
from typing import Literal

from .store import AssetStore

StoreChoice = AssetStore | str | os.PathLike[str] | Literal[False] | None

_lock = threading.Lock()
_shared: dict[str | None, AssetStore] = {}


def shared_store(root: str | os.PathLike[str] | None = None) -> AssetStore:
    """The cache at *root* that everything in this process shares, opened when first asked for.

    None is the default one: in the platform's directory, 2 GiB, LRU; where that cannot be written, a private temporary
    one, with a warning.
    """
    place = None if root is None else os.path.realpath(root)
    with _lock:
        store = _shared.get(place)
        if store is None:
            store = _shared[place] = AssetStore(place)
        return store


def named_store(store: StoreChoice) -> AssetStore | None:
    """The cache that *store* names: a directory the one shared there, None and False none."""
    if store is None or store is False:
        return None
    return store if isinstance(store, AssetStore) else shared_store(store)


def _after_fork_in_child() -> None:
    global _lock
    _shared.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
