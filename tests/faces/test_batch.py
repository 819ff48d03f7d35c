"""Many files on an engine that maps: one cache a node, every byte fetched once."""

import concurrent.futures
import contextlib
import io
import json
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import wave

import pytest
from support.libraries import need
from support.work import frames

from kithara.batch import Failure, ForEach, by_file
from kithara.cli.origin import Origin
from kithara.errors import HttpStatus

RATE = 8_000


def tone(frames):
    """A WAV of *frames* random samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(random.Random(frames).randbytes(2 * frames))
    return file.getvalue()


LENGTHS = {f"{number}.wav": 1_000 + 501 * number for number in range(20)}


@pytest.fixture
def origin():
    with Origin({name: tone(length) for name, length in LENGTHS.items()}) as origin:
        yield origin


def test_a_task_decodes_one_url(origin, cache):
    assert LENGTHS["3.wav"] == ForEach(frames, store=cache)(origin.url("3.wav"))


def test_a_task_pickles(origin, cache):
    task = pickle.loads(pickle.dumps(ForEach(frames, store=cache, dtype="int16")))
    assert LENGTHS["3.wav"] == task(origin.url("3.wav"))


def test_failures_are_raised_or_returned_as_asked(origin, cache):
    url = origin.url("nothing.wav")
    with pytest.raises(HttpStatus):
        ForEach(frames, store=cache)(url)
    failure = ForEach(frames, store=cache, on_error="return")(url)
    assert isinstance(failure, Failure)
    assert (url, 404) == (failure.url, failure.error.status)
    assert failure.url == pickle.loads(pickle.dumps(failure)).url


def test_a_mistake_in_the_work_is_always_raised(origin, cache):
    with pytest.raises(ZeroDivisionError):
        ForEach(lambda decoder: 1 / 0, store=cache, on_error="return")(origin.url("3.wav"))


def test_lists_are_parted_so_that_a_file_is_in_one_part():
    urls = [f"http://host/{number % 7}?token={number}" for number in range(50)] + ["local.wav", "local.wav"]
    parts = by_file(urls, 3)
    assert sorted(urls) == sorted(url for part in parts for url in part)
    homes = [{url.partition("?")[0] for url in part} for part in parts]
    assert len(set().union(*homes)) == sum(map(len, homes))
    assert max(map(len, parts)) - min(map(len, parts)) <= 8


def test_a_query_that_counts_tells_files_apart():
    urls = [f"http://host/a?id={number}" for number in range(4)]
    assert [4] == [len(part) for part in by_file(urls, 2)]
    assert [2, 2] == [len(part) for part in by_file(urls, 2, query=("id",))]


def test_a_failure_shows_no_secrets(origin, cache):
    failure = ForEach(frames, store=cache, on_error="return")(origin.url("nothing.wav?token=hidden"))
    assert "token=hidden" in failure.url
    assert "hidden" not in repr(failure)


def test_there_are_no_empty_parts():
    assert [["a"]] == by_file(["a"], 4)
    assert [] == by_file([], 4)


def test_processes_of_a_pool_share_the_cache(origin, cache):
    urls = [origin.url(name) for name in LENGTHS]
    task = ForEach(frames, store=cache)
    spawned = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawned) as pool:
        assert list(LENGTHS.values()) == list(pool.map(task, urls))
        assert sum(len(tone(length)) for length in LENGTHS.values()) == origin.sent
        asked = origin.mark()
        assert list(LENGTHS.values()) == list(pool.map(task, reversed(urls)))[::-1]
    assert [] == asked.requests


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 and newer
def test_forked_workers_go_on_with_the_cache_their_parent_has_open(origin, cache):
    urls = [origin.url(name) for name in LENGTHS]
    task = ForEach(frames, store=cache)
    assert LENGTHS["0.wav"] == task(urls[0])
    forked = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=forked) as pool:
        assert list(LENGTHS.values()) == list(pool.map(task, urls))
    assert LENGTHS["0.wav"] == task(urls[0])
    assert sum(len(tone(length)) for length in LENGTHS.values()) == origin.sent


def test_processes_that_decode_the_same_file_at_the_same_time_fetch_it_once(cache):
    body = tone(400_000)
    with Origin({"same.wav": body}, rate=800_000) as origin, contextlib.ExitStack() as stack:
        task = ForEach(frames, store=cache)
        spawned = multiprocessing.get_context("spawn")
        pools = [concurrent.futures.ProcessPoolExecutor(1, mp_context=spawned) for _ in range(2)]
        for pool in pools:
            stack.enter_context(pool)
        assert 2 == len({pool.submit(os.getpid).result(60) for pool in pools})  # both are up
        asked = [pool.submit(task, origin.url("same.wav")) for pool in pools]
        assert [400_000] * 2 == [future.result(60) for future in asked]
        assert len(body) <= origin.sent <= len(body) + (64 << 10)  # one download


@pytest.mark.timeout(180)
def test_the_dask_example_measures_two_hundred_urls_on_two_workers_and_fetches_each_byte_once(root, tmp_path, cache):
    need("distributed")
    bodies = {f"{number}.wav": tone(200 + 97 * number) for number in range(200)}
    with Origin(bodies) as origin:
        listed = [origin.url(name) for name in bodies]
        (tmp_path / "urls.txt").write_text("\n".join([*listed, *listed[:20], origin.url("missing.wav")]))
        done = subprocess.run(
            [sys.executable, root / "examples" / "dask_features.py", tmp_path / "urls.txt", "--cache", cache],
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert 0 == done.returncode, done.stderr[-3000:]
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        seconds = {line["url"]: line["seconds"] for line in lines if "seconds" in line}
        assert {origin.url(f"{n}.wav"): (200 + 97 * n) / RATE for n in range(200)} == seconds
        assert ["404" in line["error"] for line in lines if "error" in line] == [True]
        assert 221 == len(lines)
        assert sum(map(len, bodies.values())) == origin.sent
