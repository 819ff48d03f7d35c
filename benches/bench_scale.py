"""What grows: many parts, readers, sources and seeks; what a stream holds in memory."""

from __future__ import annotations

import functools
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support import corpus, hlstrees

import kithara
from kithara import SyncReader
from kithara._core.chain import Chain
from kithara._core.memory_resource import MemoryResource
from kithara._core.parts import Part
from kithara._core.ring import RingBuffer
from kithara.assets.index import Index
from kithara.cli.origin import Origin
from kithara.hls import HlsOptions, HlsSession, HlsSource, parse_playlist
from kithara.hls.timeline import Timeline
from kithara.portal import portal

from .conftest import HERE, ROOT, Timed, Versus, crowd

KIB, MIB = 1 << 10, 1 << 20
DECADES = (1, 10, 100, 1000)
RUNS = (1000, 10_000)
ASSETS = (100, 1000, 10_000, 100_000)
FLAT = 1.0
"""MiB that memory may grow by within an hour: what allocators do."""


def filled(size: int) -> MemoryResource:
    store = MemoryResource(size)
    store.write_at(0, bytes(size))
    store.commit()
    return store


def reading(reader: SyncReader, size: int = 64 * KIB) -> Timed:
    """µs of one read of *size* bytes, in order to the end."""
    buffer = bytearray(size)

    def timed() -> float:
        reader.seek(0)
        count, began = 0, time.perf_counter_ns()
        while reader.readinto(buffer) == size:
            count += 1
        return (time.perf_counter_ns() - began) / count / 1000

    return timed


def test_chain(versus: Versus) -> None:
    """64 segments of 512 KiB, as one file, beside the same bytes in one store."""
    chain = Chain([Part(filled(512 * KIB), 512 * KIB) for _ in range(64)])
    with SyncReader(chain) as ours, SyncReader(filled(32 * MIB)) as theirs:
        versus(
            "64 KiB reads through a chain of segments", reading(ours), "one file", reading(theirs),
            at_most=1.2, unit="µs",
        )  # fmt: skip
    chain.close()


def test_ring(versus: Versus, probe: ModuleType) -> None:
    """4 KiB into the ring and out again, C to C, as the decoder's thread and a sound card's do it."""
    ring = RingBuffer(64 * KIB)
    versus(
        "4 KiB through the ring and back, C to C", lambda: probe.rounds(ring, 5000, 4096),
        "C memcpy twice", lambda: probe.twice(64 * KIB, 5000, 4096), at_most=1.5,
    )  # fmt: skip


def test_ring_from_python(versus: Versus) -> None:
    """4 KiB into the ring and out again, in one thread: the copies and what keeps them in order."""
    block, out, count = np.zeros(4096, np.uint8), np.zeros(4096, np.uint8), 5000
    ring, between = RingBuffer(64 * KIB), np.zeros(4096, np.uint8)

    def ours() -> float:
        began = time.perf_counter_ns()
        for _ in range(count):
            ring.write(block)
            ring.read_into(out)
        return (time.perf_counter_ns() - began) / count

    def theirs() -> float:
        copy, began = np.copyto, time.perf_counter_ns()
        for _ in range(count):
            copy(between, block)
            copy(out, between)
        return (time.perf_counter_ns() - began) / count

    versus("4 KiB through the ring and back", ours, "numpy copies twice", theirs, at_most=1.5)


async def opened(url: str, store: kithara.AssetStore) -> HlsSession:
    return await HlsSource.open(url, HlsOptions(variant=0), store)


def test_storm_of_seeks(tmp_path: Path, versus: Versus) -> None:
    """1000 seeks in a cached HLS presentation, each followed by 10 ms of sound."""
    tree = hlstrees.tree("ts-minute")
    files = {
        str(path.relative_to(tree.folder)): path for path in tree.folder.rglob("*") if path.suffix in (".m3u8", ".ts")
    }
    with Origin(files) as origin, kithara.AssetStore(tmp_path / "cache") as store:
        session = portal().run(opened(origin.url("master.m3u8"), store))
        with session.as_file() as whole:
            whole.read()
        took: list[float] = []
        with kithara.Decoder(session.segment_source()) as decoder:
            last = int(30 * decoder.spec.rate)
            places = [random.Random(3).randrange(last) for _ in range(1000)]
            for place in places:
                began = time.perf_counter()
                decoder.seek(place)
                assert len(decoder.read(decoder.spec.rate // 100))
                took.append(time.perf_counter() - began)
        session.close()
    took.sort()
    versus.fact("1000 seeks in a cached presentation, 10 ms of sound each", sum(took) * 1000, at_most=1000.0, unit="ms")
    versus.noted("… p50 of a seek", took[len(took) // 2] * 1e3, unit="ms")
    versus.noted("… p99 of a seek", took[len(took) * 99 // 100] * 1e3, unit="ms")


def test_playlist(versus: Versus) -> None:
    """10 000 segments parsed and put on the timeline, beside the parser alone."""
    lines = "".join(f"#EXTINF:6.0,\nseg{number:05d}.ts\n" for number in range(10_000))
    data = f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n{lines}#EXT-X-ENDLIST\n".encode()
    base = "https://cdn.example/a/list.m3u8"

    def milliseconds(act: Callable[[], object]) -> Timed:
        def timed() -> float:
            began = time.perf_counter_ns()
            act()
            return (time.perf_counter_ns() - began) / 1e6

        return timed

    def scheduled() -> None:
        timeline = Timeline(parse_playlist(data, base))
        for second in range(0, 60_000, 6):
            timeline.index_at(second)

    versus(
        "playlist of 10,000 segments, and the segment of each moment", milliseconds(scheduled), "the parser alone",
        milliseconds(lambda: parse_playlist(data, base)), at_most=1.5, unit="ms", rounds=7,
    )  # fmt: skip


def woken(count: int) -> float:
    """µs for each of *count* threads that wait for one write, until the last of them has read."""
    store = MemoryResource(4096)
    barrier = threading.Barrier(count + 1)
    threading.stack_size(256 * KIB)

    def wait() -> None:
        with SyncReader(store) as reader:
            barrier.wait()
            assert len(reader.read(4096)) == 4096

    threads = [threading.Thread(target=wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    barrier.wait()
    time.sleep(0.05 + count / 5000)  # until all of them wait
    began = time.perf_counter()
    store.write_at(0, bytes(4096))
    for thread in threads:
        thread.join()
    threading.stack_size(0)
    return (time.perf_counter() - began) * 1e6 / count


def test_readers(versus: Versus) -> None:
    costs = {count: statistics.median(woken(count) for _ in range(5)) for count in DECADES}
    versus.growth("a write wakes {:,} readers, each", costs, unit="µs")


def test_runs(versus: Versus) -> None:
    """A store with so many separate runs: a write at random, and what is missing behind a place."""
    data = bytes(512)
    writes: dict[int, list[float]] = {count: [] for count in RUNS}
    looks: dict[int, list[float]] = {count: [] for count in RUNS}
    for count in RUNS * 5:
        store = MemoryResource(count * 1024)
        places = random.Random(5).sample(range(count), count)
        writes[count].append(nanoseconds([functools.partial(store.write_at, place * 1024, data) for place in places]))
        looks[count].append(
            nanoseconds([functools.partial(store.next_gap, place * 1024, count * 1024) for place in places])
        )
    versus.growth("a write of 512 bytes among {:,} runs", medians(writes), unit="ns")
    versus.growth("a look for a gap among {:,} runs", medians(looks), unit="ns")


def test_assets(tmp_path: Path, versus: Versus) -> None:
    """A cache of so many assets: one more is entered, and the 50 that would have to go first are looked up."""
    enters: dict[int, list[float]] = {count: [] for count in ASSETS}
    victims: dict[int, list[float]] = {count: [] for count in ASSETS}
    for count in ASSETS:
        root = tmp_path / str(count)
        crowd(root, count)
        with kithara.AssetStore(root) as store:
            index = store._index

            def enter(name: str, index: Index = index) -> None:
                index.put(name, "file/body", 8192, complete=True)
                index.totals()

            for number in range(200):
                enters[count].append(nanoseconds([functools.partial(enter, f"new-{number}")]) / 1000)
                victims[count].append(nanoseconds([functools.partial(index.oldest, 50)]) / 1000)
    versus.growth("one more beside {:,} assets", medians(enters), unit="µs")
    versus.growth("50 victims of {:,} assets", medians(victims), unit="µs")


def nanoseconds(calls: list[Callable[[], object]]) -> float:
    """ns of each of *calls*, done one after the other."""
    began = time.perf_counter_ns()
    for call in calls:
        call()
    return (time.perf_counter_ns() - began) / len(calls)


def medians(costs: dict[int, list[float]]) -> dict[int, float]:
    return {count: statistics.median(found) for count, found in costs.items()}


def holding(what: str, root: Path, *urls: str) -> dict[str, float]:
    """What an interpreter of its own holds; see `support/holding.py`."""
    done = subprocess.run(
        [sys.executable, str(HERE / "support" / "holding.py"), what, str(root), *urls],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_sources(tmp_path: Path, versus: Versus) -> None:
    """So many files opened at once through one cache, each with a reader that has read its start."""
    data = random.Random(6).randbytes(64 * KIB)
    names = [f"{number}.bin" for number in range(max(DECADES) + 1)]
    found: dict[int, dict[str, float]] = {}
    with Origin(dict.fromkeys(names, data)) as origin:
        for count in sorted({*DECADES, 200}):
            found[count] = holding("sources", tmp_path / str(count), *map(origin.url, names[: count + 1]))
    versus.growth("{:,} files opened at once, each", {n: found[n]["milliseconds"] for n in DECADES}, unit="ms")
    for count, facts in found.items():
        total = (facts["anonymous"] + facts["mapped"]) / 1024
        versus.noted(f"memory of each of {count:,} open files", total, unit="MiB")
        versus.noted("… of it no file's", facts["anonymous"] / 1024, unit="MiB")
    versus.noted("descriptors of each of 1,000 open files", found[1000]["descriptors"], unit="")
    versus.noted("threads of each of 1,000 open files", found[1000]["threads"], unit="")


@pytest.mark.parametrize(
    ("what", "name"),
    [("paused", "paused at its start"), ("playing", "read to its end"), ("decoding", "decoded to its end")],
)
def test_memory_of_an_hour(what: str, name: str, tmp_path: Path, versus: Versus) -> None:
    """An hour at 256 kbit/s, or of AAC, through the cache: what memory grows by at most, beside its start."""
    hour = corpus.file("adts", seconds=300).path.read_bytes() * 12 if what == "decoding" else bytes(115 * MIB)
    with Origin({"hour.aac": hour}) as origin:
        found = holding(what, tmp_path / "cache", origin.url("hour.aac"))
    versus.fact(f"memory that grows while an hour is {name}", found["anonymous"] / 1024, at_most=FLAT, unit="MiB")
