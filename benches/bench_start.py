"""How soon sound is there on a slow link, and how soon the library itself: beside what the link allows."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import corpus, hlstrees

import kithara
from kithara.cli.origin import Origin
from kithara.hls import HlsOptions, HlsSession, HlsSource
from kithara.portal import portal

from .conftest import ROOT, Versus

DELAY = 0.06
RATE = 500_000.0
"""The link: the first byte of each answer 60 ms late, then 4 Mbit/s shared by all connections."""

ROUNDS = 5
SECONDS = 60
FORMATS = {
    "mp3-cbr": (1, 2 << 10), "flac": (1, 12 << 10), "m4a-faststart": (1, 16 << 10), "ogg-vorbis": (1, 8 << 10),
    "wav-16": (1, 4 << 10), "m4a-moov-last": (2, 20 << 10), "mp3-cover": (2, 2 << 10), "mp3-vbr": (1, 2 << 10),
    "adts": (1, 2 << 10), "alac": (1, 8 << 10), "ogg-opus": (1, 13 << 10), "fmp4": (1, 4 << 10), "ts-aac": (1, 4 << 10),
    "mkv-aac": (1, 4 << 10),
}  # fmt: skip
"""What is opened, the requests that must follow one another before the first sample, and the bytes that it needs:
headers, codebooks or the index of a minute, and one frame; in Ogg the page of that frame, whole. A cover of 700 KB
before the first frame is passed over."""

SEEKS = {
    "mp3-cbr": (1, 2 << 10), "flac": (1, 12 << 10), "m4a-faststart": (1, 2 << 10), "wav-16": (1, 4 << 10),
    "m4a-moov-last": (1, 2 << 10), "alac": (1, 12 << 10), "ogg-vorbis": (3, 9 << 10), "ogg-opus": (3, 26 << 10),
    "ts-aac": (1, 4 << 10),
}  # fmt: skip
"""Requests that must follow one another for a seek, and the bytes that it needs: one frame, with the one before it
where that is needed. In Ogg, which has no index, the place is found by looking twice, and half a page goes by before
each look sees one."""


class Link:
    """What a link of `DELAY` and `RATE` needs for *needed* bytes after *requests* that wait for one another."""

    def __init__(self, requests: int, needed: int) -> None:
        self.milliseconds = 1000 * (requests * DELAY + needed / RATE)

    def __call__(self) -> float:
        return self.milliseconds


def first_sample(url: str, root: Path, at: float = 0.0) -> float:
    """Milliseconds from the call to the first block of sound; *at* a place after a start that is not counted."""
    store = kithara.AssetStore(root / str(time.monotonic_ns()))
    began = time.perf_counter()
    with store, kithara.open(url, store=store) as file, kithara.Decoder(file) as decoder:
        assert decoder.read(1024).shape[0] == 1024
        if at:
            began = time.perf_counter()
            decoder.seek(int(at * decoder.spec.rate))
            assert decoder.read(1).shape[0] == 1
        return (time.perf_counter() - began) * 1000


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_first_sample(name: str, tmp_path: Path, versus: Versus) -> None:
    path = corpus.file(name, SECONDS).path
    with Origin({path.name: path}, rate=RATE, delay=DELAY) as origin:
        versus(
            f"first sample of {name}", lambda: first_sample(origin.url(path.name), tmp_path),
            "the link: delays and needed bytes", Link(*FORMATS[name]),
            at_most=1.3, unit="ms", rounds=ROUNDS,
        )  # fmt: skip


@pytest.mark.parametrize("name", sorted(SEEKS))
def test_seek_to_what_is_not_here(name: str, tmp_path: Path, versus: Versus) -> None:
    path = corpus.file(name, SECONDS).path
    with Origin({path.name: path}, rate=RATE, delay=DELAY) as origin:
        versus(
            f"seek to 80 % of {name}", lambda: first_sample(origin.url(path.name), tmp_path, 0.8 * SECONDS),
            "the link: delays and a frame", Link(*SEEKS[name]), at_most=1.3, unit="ms", rounds=ROUNDS,
        )  # fmt: skip


async def opened(url: str, store: kithara.AssetStore) -> HlsSession:
    return await HlsSource.open(url, HlsOptions(), store)


@pytest.mark.parametrize(("what", "requests"), [("master.m3u8", 3), ("v0/list.m3u8", 2)])
def test_hls_start(what: str, requests: int, tmp_path: Path, versus: Versus) -> None:
    tree = hlstrees.tree("ts")
    files = {
        str(path.relative_to(tree.folder)): path for path in tree.folder.rglob("*") if path.suffix in (".m3u8", ".ts")
    }

    def ours() -> float:
        began = time.perf_counter()
        with kithara.AssetStore(tmp_path / str(time.monotonic_ns())) as store:
            session = portal().run(opened(origin.url(what), store))
            with kithara.Decoder(session.segment_source()) as decoder:
                assert decoder.read(1024).shape[0] == 1024
            took = (time.perf_counter() - began) * 1000
            session.close()
        return took

    with Origin(files, rate=RATE, delay=DELAY) as origin:
        versus(
            f"first sample of HLS from {what}", ours, f"the link: {requests} delays, the lists and a frame",
            Link(requests, 8 << 10), at_most=1.3, unit="ms", rounds=ROUNDS,
        )  # fmt: skip


def test_hls_seek(tmp_path: Path, versus: Versus) -> None:
    """To a fifth of a second behind the start of a segment that is not here."""
    tree = hlstrees.tree("ts-minute")
    files = {
        str(path.relative_to(tree.folder)): path for path in tree.folder.rglob("*") if path.suffix in (".m3u8", ".ts")
    }

    def ours() -> float:
        with kithara.AssetStore(tmp_path / str(time.monotonic_ns())) as store:
            session = portal().run(opened(origin.url("v0/list.m3u8"), store))
            with kithara.Decoder(session.segment_source()) as decoder:
                assert decoder.read(1024).shape[0] == 1024
                began = time.perf_counter()
                decoder.seek(int(decoder.spec.rate * 40.2))
                assert decoder.read(1024).shape[0] == 1024
                took = (time.perf_counter() - began) * 1000
            session.close()
        return took

    with Origin(files, rate=RATE, delay=DELAY) as origin:
        versus(
            "seek in HLS to a segment that is not here", ours, "the link: one delay and a fifth of a second",
            Link(1, 4 << 10), at_most=1.3, unit="ms", rounds=ROUNDS,
        )  # fmt: skip


def printed(script: str) -> float:
    """What *script* prints, run in an interpreter of its own that may keep byte code: the first time is no measure."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    return float(done.stdout)


def importing(name: str) -> Callable[[], float]:
    """Milliseconds of processor time that a new interpreter takes to import *name*."""
    script = f"import time; began = time.process_time(); import {name}; print((time.process_time() - began) * 1000)"
    return lambda: printed(script)


def test_import(versus: Versus) -> None:
    versus(
        "import kithara", importing("kithara"), "import aiohttp", importing("aiohttp"),
        at_most=1.15, unit="ms", rounds=11,
    )  # fmt: skip


OURS = """
import time; began = time.perf_counter()
import kithara
with kithara.open({what!r}, store={root!r}) as file:
    assert len(file.read(4096)) == 4096
    took = time.perf_counter() - began
print(took * 1000)
"""
THEIRS = """
import time; began = time.perf_counter()
import asyncio, aiohttp
async def first():
    async with aiohttp.ClientSession() as session, session.get({what!r}) as response:
        assert len(await response.content.readexactly(4096)) == 4096
asyncio.run(first())
print((time.perf_counter() - began) * 1000)
"""


def test_first_bytes_of_a_new_process(tmp_path: Path, versus: Versus) -> None:
    """From the import on. Ours are in a cache by then."""
    names = [f"{number}.bin" for number in range(32)]
    root = str(tmp_path / "cache")
    kithara.AssetStore(root).close()
    with Origin(dict.fromkeys(names, bytes(1 << 18))) as origin:
        new = map(origin.url, names)
        versus(
            "import kithara, and the first bytes of a URL", lambda: printed(OURS.format(what=next(new), root=root)),
            "import aiohttp and a GET", lambda: printed(THEIRS.format(what=origin.url(names[0]))),
            at_most=1.15, unit="ms", rounds=11,
        )  # fmt: skip
    local = tmp_path / "local.bin"
    local.write_bytes(bytes(1 << 18))
    took = statistics.median(printed(OURS.format(what=str(local), root=root)) for _ in range(5))
    versus.noted("… and of a local file", took, unit="ms")
