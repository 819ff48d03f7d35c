"""The core beside memcpy: warm reads, waits, wake-ups, ranges."""

from __future__ import annotations

import itertools
import mmap
import os
import random
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sortedcontainers import SortedDict

from kithara import SyncReader
from kithara._core.file_resource import FileResource
from kithara._core.memory_resource import MemoryResource
from kithara.storage import RangeSet

from .conftest import Versus, per_call

SIZE = 64 << 20
SIZES = [4 << 10, 64 << 10, 1 << 20]
SEQUENTIAL = {4 << 10: 1.6, 64 << 10: 1.2, 1 << 20: 1.1}


class Warm:
    """One file in the page cache, seen by everybody."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR)
        self.map = mmap.mmap(self.fd, SIZE, prot=mmap.PROT_READ)
        self.bytes = np.frombuffer(self.map, dtype=np.uint8)
        self.raw = open(path, "rb", buffering=0)  # noqa: SIM115
        self.store = FileResource(os.dup(self.fd), length=SIZE, ranges=[(0, SIZE)])
        self.store.commit()
        self.reader = SyncReader(self.store)
        self.reader.read()
        self.bytes.sum()


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    path = tmp_path_factory.mktemp("warm") / "file"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    warm = Warm(str(path))
    yield warm
    warm.reader.close()
    warm.raw.close()


def sequential(size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    count = min(8192, (256 << 20) // size)
    return np.arange(count, dtype=np.int64) * size % (SIZE - size)


def scattered(size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    count = min(8192, (256 << 20) // size)
    return np.random.default_rng(1).integers(0, SIZE - size, count, dtype=np.int64)


def in_order(file: Any, size: int, count: int) -> float:
    buffer, readinto, seek = bytearray(size), file.readinto, file.seek
    seek(0)
    began = time.perf_counter_ns()
    for _ in range(count):
        if readinto(buffer) < size:
            seek(0)
    return (time.perf_counter_ns() - began) / count


def at_random(file: Any, size: int, offsets: list[int]) -> float:
    buffer, readinto, seek = bytearray(size), file.readinto, file.seek
    began = time.perf_counter_ns()
    for offset in offsets:
        seek(offset)
        readinto(buffer)
    return (time.perf_counter_ns() - began) / len(offsets)


@pytest.mark.parametrize("size", SIZES)
def test_sequential_readinto(size: int, warm: Warm, probe: ModuleType, versus: Versus) -> None:
    offsets = sequential(size)
    versus(
        f"readinto {size >> 10} KiB in order",
        lambda: in_order(warm.reader, size, len(offsets)),
        "C memcpy",
        lambda: probe.copies(warm.bytes, offsets, size),
        at_most=SEQUENTIAL[size],
    )


@pytest.mark.parametrize("size", SIZES)
def test_random_readinto(size: int, warm: Warm, probe: ModuleType, versus: Versus) -> None:
    offsets = scattered(size)
    places = offsets.tolist()
    versus(
        f"seek + readinto {size >> 10} KiB at random",
        lambda: at_random(warm.reader, size, places),
        "C memcpy",
        lambda: probe.copies(warm.bytes, offsets, size),
        at_most=1.5,
    )


@pytest.mark.parametrize("size", SIZES[:2])
def test_readinto_beside_fileio(size: int, warm: Warm, versus: Versus) -> None:
    count = len(sequential(size))
    versus(
        f"readinto {size >> 10} KiB in order",
        lambda: in_order(warm.reader, size, count),
        "FileIO.readinto",
        lambda: in_order(warm.raw, size, count),
        at_most=1.0,
    )


def test_read_bytes(warm: Warm, versus: Versus) -> None:
    starts = itertools.cycle(range(0, SIZE - 4096, 4096))
    reader, mapped = warm.reader, warm.map

    def ours() -> None:
        if len(reader.read(4096)) < 4096:
            reader.seek(0)

    def theirs() -> None:
        start = next(starts)
        mapped[start : start + 4096]

    reader.seek(0)
    versus("read(4096) → bytes", per_call(ours, 8192), "mmap slice", per_call(theirs, 8192), at_most=1.0)


def test_seek_and_read(warm: Warm, versus: Versus) -> None:
    places = scattered(4096).tolist()

    def run(file: Any) -> float:
        seek, read = file.seek, file.read
        began = time.perf_counter_ns()
        for place in places:
            seek(place)
            read(4096)
        return (time.perf_counter_ns() - began) / len(places)

    versus(
        "seek + read(4096) at random", lambda: run(warm.reader), "mmap seek + read", lambda: run(warm.map), at_most=1.0
    )


@pytest.mark.parametrize("order", ["in order", "at random"])
def test_a_reopened_file(order: str, warm: Warm, versus: Versus) -> None:
    """A file that an earlier session left, its pages in memory, beside the one that this process wrote."""
    store = FileResource(os.dup(warm.fd), committed=True)
    places = scattered(4096).tolist()

    def run(reader: SyncReader) -> float:
        return in_order(reader, 4096, len(places)) if order == "in order" else at_random(reader, 4096, places)

    with SyncReader(store) as reader:
        versus(
            f"readinto 4 KiB {order} of a cached file, reopened",
            lambda: run(reader),
            "as it was written",
            lambda: run(warm.reader),
            at_most=1.2,
        )


def test_wait_for_what_is_here(warm: Warm, probe: ModuleType, versus: Versus) -> None:
    versus.limit("wait_range on bytes here, C to C", lambda: probe.waits(warm.reader, 100_000), at_most=100.0)


def test_wake_up(probe: ModuleType, versus: Versus) -> None:
    """p50 from a write to the blocked reader running, beside a bare pthread condition."""

    def ours() -> float:
        store = MemoryResource(2)
        store.write_at(0, b"x")  # the block is there
        got: list[int] = []
        with SyncReader(store) as reader:
            reader.seek(1)
            thread = threading.Thread(target=lambda: got.append(probe.woken(reader)))
            thread.start()
            while not store.wanted() or store.wanted()[0][2]:
                time.sleep(0)
            time.sleep(0.003)
            rung: int = probe.write(store, 1, b"x")
            thread.join()
        return got[0] - rung

    bell = probe.Bell()

    def theirs() -> float:
        got: list[float] = []
        thread = threading.Thread(target=lambda: got.append(bell.wait()))
        thread.start()
        time.sleep(0.003)
        bell.ring()
        thread.join()
        return got[0]

    versus("write → blocked reader runs", ours, "pthread condition", theirs, at_most=1.3, rounds=201)


class PythonRanges:
    """The same tracker as people write it on sortedcontainers: start → stop."""

    def __init__(self) -> None:
        self.runs: Any = SortedDict()

    def add(self, start: int, stop: int) -> None:
        runs = self.runs
        index = runs.bisect_right(start) - 1
        if index >= 0 and runs.peekitem(index)[1] >= start:
            start = runs.peekitem(index)[0]
            stop = max(stop, runs.pop(start))
        while (index := runs.bisect_left(start)) < len(runs) and runs.peekitem(index)[0] <= stop:
            stop = max(stop, runs.pop(runs.peekitem(index)[0]))
        runs[start] = stop

    def covered_until(self, start: int) -> int:
        index = self.runs.bisect_right(start) - 1
        stop: int = self.runs.peekitem(index)[1] if index >= 0 else start
        return max(start, stop)


@pytest.mark.parametrize("order", ["in order", "at random"])
def test_range_tracker(order: str, versus: Versus) -> None:
    count = 100_000 if order == "in order" else 10_000
    starts = [n * 100 for n in range(count)]
    if order == "at random":
        random.Random(1).shuffle(starts)

    def run(make: type) -> float:
        ranges = make()
        began = time.perf_counter_ns()
        for start in starts:
            ranges.add(start, start + (100 if order == "in order" else 60))
        return (time.perf_counter_ns() - began) / count

    versus(
        f"{count:,} adds {order}",
        lambda: run(RangeSet),
        "sortedcontainers",
        lambda: run(PythonRanges),
        at_most=0.05,
        rounds=5,
    )


def test_range_lookup(versus: Versus) -> None:
    ours, theirs = RangeSet(), PythonRanges()
    for n in range(10_000):
        ours.add(n * 100, n * 100 + 60)
        theirs.add(n * 100, n * 100 + 60)
    places = [random.Random(2).randrange(1_000_000) for _ in range(10_000)]

    def run(ranges: Any) -> float:
        covered_until = ranges.covered_until
        began = time.perf_counter_ns()
        for place in places:
            covered_until(place)
        return (time.perf_counter_ns() - began) / len(places)

    versus("lookup in 10,000 runs", lambda: run(ours), "sortedcontainers", lambda: run(theirs), at_most=0.05, rounds=5)


@pytest.mark.parametrize(("size", "least"), [(256 << 10, 0.9), (64 << 10, None)])
def test_two_threads(size: int, least: float | None, warm: Warm, probe: ModuleType, versus: Versus) -> None:
    """What two threads gain over one: ours, beside what two C memcpy threads gain in the same run.

    Long enough that it counts for little where the scheduler puts them first: often both on one core, for some ms.
    """
    offsets = np.resize(scattered(size), (2 << 30) // size)
    places = offsets.tolist()
    readers = [SyncReader(warm.store) for _ in range(2)]

    def gain(work: Any) -> float:
        began = time.perf_counter()
        work(0)
        work(1)
        alone = time.perf_counter() - began
        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return alone / (time.perf_counter() - began)

    versus(
        f"two threads, readinto {size >> 10} KiB: gain",
        lambda: gain(lambda n: at_random(readers[n], size, places)),
        "two C memcpy threads",
        lambda: gain(lambda n: probe.copies(warm.bytes, offsets, size)),
        at_least=least,
        unit="×",
        rounds=9,
    )
    for reader in readers:
        reader.close()


def spin(stop: threading.Event) -> int:
    """A pure-Python thread at work; how many steps it made until *stop*."""
    steps = 0
    while not stop.is_set():
        for _ in range(100):
            steps += 1
    return steps


def speed_beside(work: Any) -> float:
    """Steps a second of a pure-Python thread while ``work(stop)`` runs in another."""
    stop = threading.Event()
    other = threading.Thread(target=work, args=(stop,))
    counted: list[int] = []
    counter = threading.Thread(target=lambda: counted.append(spin(stop)))
    other.start()
    counter.start()
    began = time.perf_counter()
    time.sleep(0.3)
    stop.set()
    took = time.perf_counter() - began
    counter.join()
    other.join()
    return counted[0] / took


def test_python_beside_a_blocked_reader(versus: Versus) -> None:
    def blocked(stop: threading.Event) -> None:
        store = MemoryResource(10)
        reader = SyncReader(store)
        thread = threading.Thread(target=lambda: reader.read(1))
        thread.start()
        stop.wait()
        store.write_at(0, b"0123456789")
        thread.join()
        reader.close()

    versus(
        "Python thread beside a blocked reader", lambda: speed_beside(blocked),
        "alone", lambda: speed_beside(threading.Event.wait), at_least=0.97, unit="/s", rounds=5,
    )  # fmt: skip


def test_python_beside_a_reading_reader(warm: Warm, versus: Versus) -> None:
    def reading(stop: threading.Event) -> None:
        buffer = bytearray(64 << 10)
        with SyncReader(warm.store) as reader:
            while not stop.is_set():
                if reader.readinto(buffer) < len(buffer):
                    reader.seek(0)

    versus(
        "Python thread beside 64 KiB reads", lambda: speed_beside(reading),
        "alone", lambda: speed_beside(threading.Event.wait), at_least=0.9, unit="/s", rounds=5,
    )  # fmt: skip
