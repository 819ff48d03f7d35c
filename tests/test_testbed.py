"""The testbed itself: what the other tests take for granted."""

from __future__ import annotations

import asyncio
import mmap
import os
import threading
import urllib.request
from pathlib import Path

import av
import numpy as np
import pytest
from support import corpus
from support.leaks import no_leaks
from support.nginx import Nginx
from support.signals import lag, signal
from support.waiting import Background


async def test_an_async_test_runs_in_a_loop(tmp_path: Path) -> None:
    assert asyncio.get_running_loop().is_running()
    assert tmp_path.is_dir()


@pytest.mark.usefixtures("no_leaks")
async def test_an_async_test_that_awaits_all_its_tasks_leaks_nothing() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task


def test_a_forgotten_descriptor_is_noticed() -> None:
    with pytest.raises(AssertionError, match="/dev/null"):
        with no_leaks(timeout=0.02):
            forgotten = os.open("/dev/null", os.O_RDONLY)
    os.close(forgotten)


def test_a_forgotten_thread_is_noticed() -> None:
    leave = threading.Event()
    with pytest.raises(AssertionError, match="thread test-background"):
        with no_leaks(timeout=0.02):
            forgotten = Background(leave.wait)
    leave.set()
    forgotten.result()


def test_a_forgotten_mapping_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "mapped.part").write_bytes(bytes(4096))
    with (tmp_path / "mapped.part").open("r+b") as file, pytest.raises(AssertionError, match=r"mapped\.part"):
        with no_leaks(timeout=0.02):
            forgotten = mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ)
    forgotten.close()


def test_nginx_serves_ranges_and_tells_what_it_sent(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(bytes(range(256)) * 40)
    with Nginx(tmp_path) as server:
        asked = urllib.request.Request(server.url("a.flac"), headers={"Range": "bytes=10-19"})
        with urllib.request.urlopen(asked) as response:
            assert bytes(range(10, 20)) == response.read()
            assert "audio/flac" == response.headers["Content-Type"]
        [logged] = server.requests(at_least=1)
        assert ("GET", "/a.flac", "bytes=10-19", 206, 10) == (
            logged.method,
            logged.path,
            logged.range,
            logged.status,
            logged.sent,
        )


@pytest.mark.parametrize("name", corpus.LOSSLESS)
def test_a_lossless_file_of_the_corpus_holds_exactly_its_source(name: str) -> None:
    entry = corpus.file(name)
    with av.open(str(entry.path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    planes = [frame if len(frame) == 2 else frame.reshape(-1, 2).T for frame in frames]
    decoded = np.concatenate(planes, axis=1).T
    expected = corpus.pcm(entry)
    assert np.array_equal(expected << 8 if entry.bits == 24 else expected, decoded)


PRIMING = {"aac": 1024, "ac3": 256, "eac3": 256, "mp3": 1105}
"""Samples by which a decode of FFmpeg's is late where the container does not tell the priming."""


@pytest.mark.parametrize("name", sorted(set(corpus.MADE) - set(corpus.LOSSLESS)))
def test_a_lossy_file_of_the_corpus_holds_its_source_and_priming(name: str) -> None:
    entry = corpus.file(name)
    assert entry.frames is not None
    with av.open(str(entry.path)) as container:
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    late = lag(decoded, signal(entry.frames, entry.rate)[:, 0])
    # FFmpeg drops the encoder's priming wherever the container tells it.
    assert (0 if entry.told or entry.container == "webm" else PRIMING[entry.codec]) == late
