"""The cache beside fixed figures and the file system: 100 000 assets, opening, writing, committing."""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kithara.assets import AssetStore, ResourceKey
from kithara.storage import StreamingResource

from .conftest import Versus, crowd, per_call

ASSETS = 100_000
CHUNK = 64 << 10


def private_bytes() -> int:
    """Memory of this process that no file backs."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
        return sum(int(line.split()[1]) << 10 for line in rollup if line.startswith(("Private_Dirty", "Private_Clean")))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache whose index knows 100 000 assets."""
    root = tmp_path_factory.mktemp("crowded") / "cache"
    crowd(root, ASSETS)
    return root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AssetStore]:
    with AssetStore(tmp_path / "cache") as store:
        yield store


def seconds(act: object) -> float:
    began = time.perf_counter()
    assert callable(act)
    act()
    return time.perf_counter() - began


def test_open_a_store_of_100_000_assets(versus: Versus, crowded: Path) -> None:
    versus.limit(
        "open a store of 100 000 assets", lambda: _opening(crowded), at_most=0.5,
        unit="s", rounds=7,
    )  # fmt: skip


def _opening(root: Path) -> float:
    began = time.perf_counter()
    store = AssetStore(root)
    took = time.perf_counter() - began
    store.close()
    return took


def test_choose_50_victims_of_100_000(versus: Versus, crowded: Path) -> None:
    with AssetStore(crowded) as store:
        versus.limit(
            "choose 50 victims of 100 000", lambda: 1e3 * seconds(lambda: store._index.oldest(50)), at_most=5, unit="ms"
        )


def test_memory_of_an_index_of_100_000(versus: Versus, crowded: Path) -> None:
    gc.collect()
    before = private_bytes()
    with AssetStore(crowded) as store:
        store.usage()
        store._index.oldest(50)
        grown = private_bytes() - before
    versus.limit("memory of an index of 100 000", lambda: grown / (1 << 20), at_most=50, unit="MiB", rounds=3)


def test_open_a_committed_resource(versus: Versus, store: AssetStore) -> None:
    key = ResourceKey("show", "file/body")
    resource = store.open_streaming(key)
    resource.write_at(0, bytes(CHUNK))
    resource.commit(CHUNK)
    path = os.path.join(store.root, key.path)
    del resource

    def plain() -> None:
        os.close(os.open(path, os.O_RDONLY))

    versus(
        "open a committed resource", per_call(lambda: store.open_streaming(key), 100), "open(2) and close(2)",
        per_call(plain, 100),
    )  # fmt: skip


def test_write_64_kib_that_others_may_follow(versus: Versus, store: AssetStore, tmp_path: Path) -> None:
    shared = store.open_streaming(ResourceKey("show", "file/body"))
    alone = StreamingResource(tmp_path / "alone")
    chunk = bytes(CHUNK)
    here, there = itertools.count(), itertools.count()
    versus(
        "write 64 KiB that others may follow", per_call(lambda: shared.write_at(next(here) * CHUNK, chunk), 20),
        "the same without a live page", per_call(lambda: alone.write_at(next(there) * CHUNK, chunk), 20),
    )  # fmt: skip
