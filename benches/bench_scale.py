"""What grows: many parts, readers, sources and seeks; what a stream holds in memory. Growth is printed, not judged."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import hlstrees

import kithara
from kithara import SyncReader
from kithara._core.chain import Chain, Part
from kithara._core.resource import MemoryResource
from kithara._core.ring import RingBuffer
from kithara.cli.origin import Origin
from kithara.hls import HlsOptions, HlsSession, HlsSource, parse_playlist
from kithara.hls.timeline import Timeline
from kithara.portal import portal

from .conftest import Timed, Versus

KIB, MIB = 1 << 10, 1 << 20


def private() -> int:
    """KiB of this process that no file backs: the cached bytes themselves are the system's to take back."""
    gc.collect()
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


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


def test_ring(versus: Versus) -> None:
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


@pytest.mark.parametrize("count", [1, 10, 100, 1000])
def test_readers(count: int, versus: Versus) -> None:
    """One write that *count* threads wait for, until the last of them has read."""
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
    time.sleep(0.05)
    began = time.perf_counter()
    store.write_at(0, bytes(4096))
    for thread in threads:
        thread.join()
    threading.stack_size(0)
    versus.noted(f"a write wakes {count:,} readers", (time.perf_counter() - began) * 1e6 / count, unit="µs each")


@pytest.mark.parametrize("count", [1000, 2000, 4000, 8000])
def test_runs(count: int, versus: Versus) -> None:
    """A store with *count* separate runs: a write at random, and what is missing behind a place."""
    store = MemoryResource(count * 1024)
    places = random.Random(5).sample(range(count), count)
    data = bytes(512)
    began = time.perf_counter_ns()
    for place in places:
        store.write_at(place * 1024, data)
    written = (time.perf_counter_ns() - began) / count
    began = time.perf_counter_ns()
    for place in places:
        store.next_gap(place * 1024, count * 1024)
    versus.noted(f"a write of 512 bytes among {count:,} runs", written, unit="ns")
    versus.noted("… and a look for a gap", (time.perf_counter_ns() - began) / count, unit="ns")


def test_memory_of_sources(tmp_path: Path, versus: Versus) -> None:
    """200 files open at once, each with a reader that has read its start."""
    data = random.Random(6).randbytes(256 * KIB)
    names = [f"{number}.bin" for number in range(200)]
    with Origin(dict.fromkeys(names, data)) as origin, kithara.AssetStore(tmp_path / "cache") as store:
        with kithara.open(origin.url(names[0]), store=store) as first:
            first.read(4096)
        before = private()
        readers = [kithara.open(origin.url(name), store=store) for name in names]
        for reader in readers:
            assert len(reader.read(4096)) == 4096
        after = private()
        for reader in readers:
            reader.close()
    versus.noted("memory of one of 200 open files", (after - before) / 200, unit="KiB")


def test_memory_of_an_hour(tmp_path: Path, versus: Versus) -> None:
    """An hour at 256 kbit/s through the cache: what is held when it has all been read, beside before."""
    size = 115 * MIB
    with Origin({"hour.bin": bytes(size)}) as origin, kithara.AssetStore(tmp_path / "cache") as store:
        with kithara.open(origin.url("hour.bin"), store=store) as reader:
            reader.read(64 * KIB)
            before = private()
            while reader.read(64 * KIB):
                pass
            after = private()
    versus.noted("growth over an hour of 256 kbit/s", max(0, after - before) / 1024, unit="MiB")
