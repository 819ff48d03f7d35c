"""Bytes through `kithara.open` are the file's, wherever they come from and however they are read."""

import io
import random

import pytest
from support import corpus
from support.nginx import Nginx

import kithara
from kithara.cli.origin import Origin

NAMES = (
    "mp3-cbr",
    "mp3-vbr",
    "adts",
    "m4a-faststart",
    "m4a-moov-last",
    "flac",
    "alac",
    "ogg-vorbis",
    "ogg-opus",
    "wav-16",
    "fmp4",
)
DATA = random.Random(4).randbytes(700_001)


def wander(reader, data, seed, steps=60):
    """Read *reader* in random sizes at random places, as it says itself where it is."""
    chance = random.Random(seed)
    for _ in range(steps):
        match chance.randrange(4):
            case 0:
                position = chance.randrange(len(data) + 100)
                assert position == reader.seek(position)
            case 1:
                back = chance.randrange(len(data))
                assert len(data) - back == reader.seek(-back, io.SEEK_END)
            case _:
                position = reader.tell()
        size = min(int(chance.paretovariate(0.4)), len(data))
        position = reader.tell()
        assert data[position : position + size] == reader.read(size)
        assert min(position + size, max(position, len(data))) == reader.tell()


@pytest.fixture(scope="module")
def entries():
    return {name: corpus.file(name) for name in NAMES}


@pytest.fixture(scope="module")
def server(entries):
    with Nginx(corpus.CACHE) as server:
        yield server


@pytest.mark.needs("nginx")
def test_every_format_from_nginx_is_read_byte_for_byte_in_random_sizes_with_random_seeks(server, entries, store):
    for seed, (name, entry) in enumerate(entries.items()):
        data = entry.path.read_bytes()
        with kithara.open(server.url(str(entry.path.relative_to(corpus.CACHE))), store=store) as reader:
            assert len(data) == reader.length, name
            wander(reader, data, seed)
            reader.seek(0)
            assert data == reader.read()


@pytest.mark.parametrize("kind", ["cache", "no cache", "memory"])
def test_a_body_in_pieces_is_read_byte_for_byte(kind, store, tmp_path):
    chosen = {"cache": store, "no cache": False, "memory": kithara.AssetStore.in_memory()}[kind]
    with Origin({"body": DATA}, pieces=5) as origin, kithara.open(origin.url("body"), store=chosen) as reader:
        wander(reader, DATA, 9)
        reader.seek(0)
        assert DATA == reader.read()


def test_a_second_open_needs_no_request(store):
    with Origin({"body": DATA}) as origin:
        with kithara.open(origin.url("body"), store=store) as reader:
            assert DATA == reader.read()
            assert kithara.WaitOutcome.EOF == reader.wait_range(len(DATA), len(DATA) + 1)
        fetched = origin.mark()
        with kithara.open(origin.url("body"), store=store) as reader:
            assert DATA == reader.read()
        assert [] == fetched.requests


def test_what_a_closed_reader_fetched_is_not_fetched_again(store):
    data = random.Random(5).randbytes(300_000)
    options = kithara.FileOptions(complete=False)
    with Origin({"body": data}) as origin:
        with kithara.open(origin.url("body"), store=store, options=options) as reader:
            reader.seek(100_000)
            reader.read(50_000)
            held = reader.available_ranges()
        fetched = origin.mark()
        with kithara.open(origin.url("body"), store=store, options=options) as reader:
            assert all(reader.contains_range(start, stop) for start, stop in held)
            assert data == reader.read()
        again = [r.interval for r in fetched.requests if r.sent]
        assert not [(a, b) for a, b in again for start, stop in held if a < stop and start < b]


def test_without_a_cache_nothing_is_kept():
    with Origin({"body": DATA}) as origin:
        for _ in range(2):
            with kithara.open(origin.url("body"), store=False) as reader:
                assert DATA[:10] == reader.read(10)
        assert 2 <= len([r for r in origin.requests if r.interval[0] == 0])


def test_a_local_path_and_a_file_url_open_without_a_network(tmp_path):
    path = tmp_path / "a b#c.mp3"
    path.write_bytes(DATA)
    for what in (path, str(path), path.as_uri()):
        with kithara.open(what) as reader:
            wander(reader, DATA, 3)
            assert "mp3" == reader.media.container


def test_media_is_told_by_type_and_suffix_at_once(store):
    with Origin({"song.flac": DATA}) as origin, kithara.open(origin.url("song.flac"), store=store) as reader:
        assert "flac" == reader.media.container
