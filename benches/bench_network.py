"""The network beside what a user would write: cold reads in order and at random, from a server on loopback."""

from __future__ import annotations

import asyncio
import bisect
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import kithara

from .conftest import ROOT, Versus

sys.path.insert(0, str(ROOT / "tests"))
from support.nginx import Nginx

SIZE = 256 << 20
CHUNK = 64 << 10
JUMPS = 2000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        pytest.skip("nginx is not installed")
    root = tmp_path_factory.mktemp("root")
    (root / "file.bin").write_bytes(random.Random(1).randbytes(SIZE >> 4) * 16)
    with Nginx(root) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def read_all(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(CHUNK)
        while file.readinto(buffer):
            pass


def through_kithara(url: str, root: Path, commits: list[float]) -> float:
    """Seconds from the call to the last byte read, 64 KiB at a time, into a fresh cache.

    Those until it is on the disk are not of it, but they are waited for, so that nobody else's are: *commits*.
    """
    shutil.rmtree(root, ignore_errors=True)
    with kithara.AssetStore(root) as store:
        buffer = bytearray(CHUNK)
        began = time.perf_counter()
        with kithara.open(url, store=store) as file:
            while file.readinto(buffer):
                pass
            took = time.perf_counter() - began
            while file.status == "active":  # there is nobody to wait for but the status
                time.sleep(0.001)
            commits.append(time.perf_counter() - began - took)
    return took


def through_aiohttp(url: str, root: Path) -> float:
    """Seconds of `iter_any` → pwrite, with a thread that reads the growing file behind it."""
    root.mkdir(exist_ok=True)
    path = root / "peer"
    path.unlink(missing_ok=True)
    here = threading.Condition()
    state = {"bytes": 0, "done": False}

    async def fetch(fd: int) -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as session, session.get(url) as response:
            offset = 0
            async for chunk in response.content.iter_any():
                os.pwrite(fd, chunk, offset)
                offset += len(chunk)
                with here:
                    state["bytes"] = offset
                    here.notify()
        with here:
            state["done"] = True
            here.notify()

    fd = os.open(path, os.O_RDWR | os.O_CREAT)

    def run() -> None:
        asyncio.run(fetch(fd))

    began = time.perf_counter()
    thread = threading.Thread(target=run)
    thread.start()
    buffer, position = bytearray(CHUNK), 0
    while True:
        with here:
            while state["bytes"] < position + CHUNK and not state["done"]:
                here.wait()
        got = os.preadv(fd, [buffer], position)
        position += got
        if not got and state["done"]:
            break
    took = time.perf_counter() - began
    thread.join()
    os.close(fd)
    return took


def through_curl(url: str, root: Path) -> float:
    root.mkdir(exist_ok=True)
    path = root / "curl"
    path.unlink(missing_ok=True)
    began = time.perf_counter()
    subprocess.run(["curl", "-s", "-o", str(path), url], check=True)
    read_all(path)
    return time.perf_counter() - began


def through_fsspec(url: str, root: Path, protocol: str) -> float:
    fsspec = pytest.importorskip("fsspec")
    shutil.rmtree(root / "fsspec", ignore_errors=True)
    began = time.perf_counter()
    fs = fsspec.filesystem(protocol, target_protocol="http", cache_storage=str(root / "fsspec"))
    with fs.open(url, "rb") as file:
        while file.read(CHUNK):
            pass
    return time.perf_counter() - began


def through_smart_open(url: str, root: Path) -> float:
    """What is read goes to a file of its own, by hand."""
    smart_open = pytest.importorskip("smart_open")
    root.mkdir(exist_ok=True)
    began = time.perf_counter()
    with smart_open.open(url, "rb") as file, (root / "smart").open("wb", buffering=0) as kept:
        while chunk := file.read(CHUNK):
            kept.write(chunk)
    return time.perf_counter() - began


def test_cold_in_order(server: Nginx, place: Path, versus: Versus) -> None:
    url = server.url("file.bin")
    commits: list[float] = []
    versus(
        "256 MB cold in order, into a cache",
        lambda: through_kithara(url, place / "cache", commits),
        "aiohttp iter_any → pwrite, read back",
        lambda: through_aiohttp(url, place),
        at_most=1 / 0.95,
        unit="s",
        rounds=9,
    )
    versus.noted("… until all of it is on the disk and committed", statistics.median(commits), unit="s")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # fsspec leaves files to the collector
@pytest.mark.parametrize("peer", ["curl -o", "fsspec filecache", "fsspec blockcache", "smart_open"])
def test_cold_in_order_beside_others(peer: str, server: Nginx, place: Path, versus: Versus) -> None:
    url = server.url("file.bin")
    if peer == "curl -o":
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        theirs: Any = lambda: through_curl(url, place)  # noqa: E731
    elif peer == "smart_open":
        theirs = lambda: through_smart_open(url, place)  # noqa: E731
    else:
        protocol = peer.split()[1]
        theirs = lambda: through_fsspec(url, place, protocol)  # noqa: E731
    versus(
        "256 MB cold in order, into a cache", lambda: through_kithara(url, place / "cache", []), peer, theirs,
        at_most=1.0, unit="s", rounds=9,
    )  # fmt: skip


def places() -> list[int]:
    chooser = random.Random(7)
    return [chooser.randrange(SIZE - 4096) for _ in range(JUMPS)]


def test_cold_at_random(server: Nginx, place: Path, versus: Versus) -> None:
    """2000 × (seek + read(4096)): time beside the same GETs asked from another thread; bytes beside what was read."""
    url = server.url("file.bin")
    offsets = places()
    passes: list[float] = []

    def ours() -> float:
        shutil.rmtree(place / "random", ignore_errors=True)
        with kithara.AssetStore(place / "random") as store, kithara.open(url, store=store) as file:
            began = time.perf_counter()
            for offset in offsets:
                file.seek(offset)
                file.read(4096)
            took = time.perf_counter() - began
            began = time.perf_counter()
            for offset in offsets:
                file.seek(offset)
                file.read(4096)
            passes.append((time.perf_counter() - began) / JUMPS * 1e6)
        return took / JUMPS * 1e6

    def theirs() -> float:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def begin() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(auto_decompress=False)

        async def get(offset: int) -> bytes:
            async with session.get(url, headers={"Range": f"bytes={offset}-{offset + 4095}"}) as response:
                return await response.read()

        session = asyncio.run_coroutine_threadsafe(begin(), loop).result()
        began = time.perf_counter()
        for offset in offsets:
            asyncio.run_coroutine_threadsafe(get(offset), loop).result()
        took = time.perf_counter() - began
        asyncio.run_coroutine_threadsafe(session.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        return took / JUMPS * 1e6

    versus("2000 × 4 KiB cold at random", ours, "the same GETs by aiohttp", theirs, at_most=1.3, unit="µs", rounds=5)
    before = len(server.requests())
    ours()
    sent = sum(request.sent for request in server.requests()[before:])
    versus.fact("… bytes sent beside bytes read", sent / (JUMPS * 4096), at_most=4.0, unit="×")
    versus.fact("… the second pass", passes[-1], at_most=10.0, unit="µs")


def test_again_at_random(server: Nginx, place: Path, versus: Versus) -> None:
    """What was read comes again as from a local file, and nothing of it is asked for again."""
    offsets = places()

    def jumps(file: Any) -> float:
        began = time.perf_counter()
        for offset in offsets:
            file.seek(offset)
            file.read(4096)
        return (time.perf_counter() - began) / JUMPS * 1e6

    with (
        kithara.AssetStore(place / "again") as store,
        kithara.open(server.url("file.bin"), store=store) as file,
        open(server.root / "file.bin", "rb", buffering=0) as local,
    ):
        jumps(file)
        before = len(server.requests())
        versus(
            "2000 × 4 KiB at random, again", lambda: jumps(file), "FileIO.seek + read", lambda: jumps(local),
            at_most=1.0, unit="µs", rounds=11,
        )  # fmt: skip
        spans = [tuple(map(int, asked.range[6:].split("-"))) for asked in server.requests()[before:]]
    read = sorted(offsets)
    again = sum(bisect.bisect_right(read, last) > bisect.bisect_right(read, first - 4096) for first, last in spans)
    versus.fact("… requests for what was read", again, at_most=0, unit="")
