"""Disks that are full, small or read-only, and too few descriptors: real ones, not pretended."""

import gc
import logging
import os
import random
import resource
import subprocess

import pytest

from kithara.assets import AssetStore, ResourceKey
from kithara.errors import Busy, NoSpace, ReadOnlyStore
from kithara.storage import Validators

DATA = random.Random(31).randbytes(1 << 20)
KEY = ResourceKey("show", "file/body")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    for name in ("kithara.storage", "kithara.assets"):
        caplog.set_level(logging.CRITICAL, name)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "none", str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def read(resource, start, stop):
    buffer = bytearray(stop - start)
    assert len(buffer) == resource.read_at(start, buffer)
    return bytes(buffer)


def write_much(entry):
    """4 MiB in pieces of 64 KiB."""
    for start in range(0, 4 << 20, 64 << 10):
        entry.write_at(start, DATA[: 64 << 10])


def fill(store, name):
    entry = store.open_streaming(ResourceKey(name, "file/body"))
    entry.write_at(0, DATA)
    entry.commit(len(DATA))


@pytest.mark.root
def test_a_download_that_will_not_fit_is_refused_before_it_begins(small_disk):
    with AssetStore(small_disk / "cache") as store:
        entry = store.open_streaming(KEY)
        with pytest.raises(NoSpace):
            entry.describe(Validators(total=5 << 20))
        free = os.statvfs(small_disk)
        assert free.f_bavail * free.f_frsize > 2 << 20  # nothing was taken


@pytest.mark.root
def test_a_disk_that_fills_up_midway_costs_the_missing_bytes_only(small_disk):
    with AssetStore(small_disk / "cache") as store:
        entry = store.open_streaming(KEY)
        with pytest.raises(NoSpace) as caught:
            write_much(entry)
        written = entry.total
        assert caught.value.range is not None
        assert 2 << 20 < written < 3 << 20
        for start in range(0, written - (64 << 10), 64 << 10):
            assert DATA[: 64 << 10] == read(entry, start, start + (64 << 10))
        assert "active" == entry.status
        entry.checkpoint()  # no room for the sidecar either: that is no error


@pytest.mark.root
def test_a_full_disk_is_cleared_of_what_is_not_needed(small_disk):
    with AssetStore(small_disk / "cache") as store:
        fill(store, "old")
        entry = store.open_streaming(KEY)
        for start in range(0, 2 << 20, 64 << 10):
            entry.write_at(start, DATA[: 64 << 10])
        entry.write_at(2 << 20, DATA[: 512 << 10])
        entry.commit((2 << 20) + (512 << 10))
        assert ["show"] == [str(info.id) for info in store.assets()]


@pytest.mark.root
def test_a_read_only_cache_plays_and_takes_nothing_new(small_disk):
    with AssetStore(small_disk / "cache") as store:
        fill(store, "old")
        part = store.open_streaming(ResourceKey("part", "file/body"))
        part.write_at(0, DATA[:1000])
        part.close()
        del part
    gc.collect()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with AssetStore(small_disk / "cache") as store:
        assert DATA == read(store.open_streaming(ResourceKey("old", "file/body")), 0, len(DATA))
        with pytest.raises(ReadOnlyStore):
            store.open_streaming(KEY)
        with pytest.raises(ReadOnlyStore):
            store.open_atomic(KEY).write(b"x")
        with pytest.raises(ReadOnlyStore):
            store.remove("old")
        with store.lease("old"):
            assert 0 == store.evict()


def test_too_few_descriptors_are_busy_and_pass(tmp_path):
    with AssetStore(tmp_path / "cache") as store:
        fill(store, "old")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        gc.collect()
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        try:
            with pytest.raises(Busy, match="Too many open files"):
                [store.open_streaming(ResourceKey(f"n{number}", "file/body")) for number in range(200)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert DATA == read(store.open_streaming(ResourceKey("old", "file/body")), 0, len(DATA))
        fill(store, "n0")
