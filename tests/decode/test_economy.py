"""What an open and a seek cost in requests and bytes, on a reader that counts and over real HTTP."""

from __future__ import annotations

import numpy as np
import pytest
from support import corpus
from support.metered import Metered
from support.signals import lag
from support.waiting import eventually

import kithara
import kithara.decode as decode
from kithara._core.memory_resource import MemoryResource
from kithara._core.reader import SyncReader
from kithara.cli.origin import Origin

SECONDS = 60
KB = 1024

# Requests and bytes until the first frame; the moov of an m4a is read whole.
OPENING = {
    "mp3-cbr": (1, 8), "mp3-no-tag": (1, 8), "mp3-vbr": (1, 8), "mp3-cover": (2, 12), "adts": (1, 8),
    "m4a-faststart": (1, 20), "m4a-moov-last": (2, 20), "flac": (2, 24), "ogg-vorbis": (1, 24), "ogg-opus": (1, 24),
    "wav-16": (1, 8), "fmp4": (1, 8), "fmp4-sidx": (1, 8), "ts-aac": (1, 8), "mkv-aac": (1, 24), "alac": (1, 32),
}  # fmt: skip

# The same for a seek to anywhere and 4096 frames.
SEEKING = {
    "mp3-cbr": (1, 16), "mp3-no-tag": (1, 16), "mp3-cover": (1, 16), "m4a-faststart": (1, 8), "m4a-moov-last": (1, 8),
    "alac": (1, 32), "flac": (3, 96), "flac-24": (3, 160), "ogg-vorbis": (3, 96), "ogg-opus": (3, 128),
    "wav-16": (1, 32), "fmp4": (5, 160), "fmp4-sidx": (1, 64), "ts-aac": (3, 64), "mkv-aac": (2, 128),
    "webm-opus": (2, 128),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OPENING))
def test_the_first_frame_costs_a_header_and_about_one_frame(name):
    requests, kilobytes = OPENING[name]
    reader = Metered(corpus.file(name, seconds=SECONDS).path.read_bytes())
    with decode.Decoder(reader) as decoder:
        assert 100 == len(decoder.read(100))
    assert len(reader.requests) <= requests
    assert reader.fetched <= kilobytes * KB


@pytest.mark.parametrize("name", sorted(SEEKING))
def test_a_seek_costs_few_requests_and_what_is_read(name):
    requests, kilobytes = SEEKING[name]
    entry = corpus.file(name, seconds=SECONDS)
    data = entry.path.read_bytes()
    whole = decode.load(data)[0]
    for place in np.random.default_rng(4).integers(entry.rate * 8, entry.rate * (SECONDS - 1), 6).tolist():
        reader = Metered(data)
        with decode.Decoder(reader) as decoder:
            decoder.read(100)
            reader.start_counting()
            decoder.seek(place)
            got = decoder.read(4096)
        assert len(reader.requests) <= requests, f"at {place}: {reader.requests}"
        assert reader.fetched <= kilobytes * KB, f"at {place}"
        assert 4096 == len(got)
        if name not in ("m4a-faststart", "m4a-moov-last", "ts-aac", "mkv-aac"):  # noise is made up anew there
            assert np.array_equal(whole[place : place + 4096], got), f"at {place}"


@pytest.mark.parametrize("name", ["mp3-vbr", "adts"])
def test_an_approximate_seek_goes_straight_to_about_the_place(name):
    entry = corpus.file(name, seconds=SECONDS)
    reader = Metered(entry.path.read_bytes())
    with decode.Decoder(reader) as decoder:
        decoder.read(100)
        reader.start_counting()
        decoder.seek(entry.rate * 40, exact=False)
        assert 4096 == len(decoder.read(4096))
    assert 1 == len(reader.requests)
    assert reader.fetched <= 24 * KB
    assert abs(reader.requests[0] / reader.length - 40 / SECONDS) < 0.12


@pytest.mark.parametrize("name", ["mp3-vbr", "adts-no-pns"])
def test_an_exact_seek_behind_what_was_seen_reads_nothing_else(name):
    entry = corpus.file(name, seconds=SECONDS)
    data = entry.path.read_bytes()
    whole = decode.load(data)[0]
    reader = Metered(data)
    with decode.Decoder(reader) as decoder:
        decoder.seek(entry.rate * 30)
        decoder.read(100)
        reader.start_counting()
        decoder.seek(entry.rate * 12)
        assert np.array_equal(whole[entry.rate * 12 :][:4096], decoder.read(4096))
    assert [] == reader.requests


def test_asking_for_the_length_costs_nothing():
    reader = Metered(corpus.file("ogg-opus", seconds=SECONDS).path.read_bytes())
    with decode.Decoder(reader) as decoder:
        reader.start_counting()
        assert decoder.frames is None
        assert decoder.duration is None
        assert [] == reader.requests
        decoder.seek(1 << 40)
        assert 0 == len(decoder.read(1))


def test_a_probe_looks_at_the_end_for_what_only_the_end_tells():
    entry = corpus.file("ogg-opus", seconds=SECONDS)
    reader = Metered(entry.path.read_bytes())
    assert entry.frames == decode.probe(reader).frames
    assert 2 == len(reader.requests)


@pytest.mark.parametrize(
    ("name", "kilobytes"), [("mp3-cbr", 16), ("m4a-faststart", 8), ("flac", 96), ("ogg-vorbis", 128)]
)
def test_over_http_a_seek_is_a_few_ranges_and_the_right_samples(name, kilobytes):
    entry = corpus.file(name, seconds=SECONDS)
    whole = decode.load(entry.path)[0]
    with Origin({"song": entry.path}, rate=4_000_000, delay=0.005) as origin:
        with kithara.open(origin.url("song"), store=False) as reader, decode.Decoder(reader) as decoder:
            decoder.read(100)
            for place in (entry.rate * 50, entry.rate * 20, entry.rate * 35):
                # What is fetched ahead of the place before is not this seek's: it goes on where a request ended.
                eventually(lambda: all(request.ended for request in origin.requests))
                ahead = {request.interval[1] for request in origin.requests}
                mark = origin.mark()
                decoder.seek(place)
                got = decoder.read(4096)
                spent = [(request.interval, request.sent) for request in mark.requests]
                spent = [(interval, sent) for interval, sent in spent if interval[0] not in ahead]
                assert len(spent) <= (1 if kilobytes <= 16 else 3), spent
                assert sum(sent for _, sent in spent) <= kilobytes * KB, spent
                if name != "m4a-faststart":
                    assert np.array_equal(whole[place : place + 4096], got)


@pytest.mark.parametrize("name", [*corpus.TOLD, "ts-aac"])
def test_over_http_with_nothing_cached_frames_and_their_places_are_those_of_the_local_file(name):
    entry = corpus.file(name)
    expected = decode.load(entry.path)[0]
    with Origin({"song": entry.path}, rate=8_000_000, delay=0.002) as origin:
        with kithara.open(origin.url("song"), store=False) as reader, decode.Decoder(reader) as decoder:
            got = decoder.read()
    assert len(expected) == len(got)
    assert lag(got[:, 0], expected[:, 0]) == 0


PLACED = ["mp3-cbr", "mp3-no-tag", "m4a-no-pns", "flac", "ogg-opus", "ogg-vorbis", "wav-16", "ts-aac"]


@pytest.mark.parametrize("name", PLACED)
def test_a_seek_past_the_end_reads_little_and_is_empty(name):
    entry = corpus.file(name, seconds=SECONDS)
    reader = Metered(entry.path.read_bytes())
    with decode.Decoder(reader) as decoder:
        decoder.read(100)
        reader.start_counting()
        decoder.seek(entry.rate * 10_000)
        assert 0 == len(decoder.read(10))
        assert reader.fetched <= 256 * KB
        decoder.seek(1000)
        assert 10 == len(decoder.read(10))


@pytest.mark.parametrize(("name", "most"), [("ogg-opus", 48_000 + 960), ("ogg-vorbis", 2048 + 22_050)])
def test_a_seek_in_a_file_at_hand_decodes_little_but_the_pre_roll(name, most):
    """Opus: from the packet on that it begins in. Vorbis: from the page on, for only pages tell the time."""
    entry = corpus.file(name, seconds=SECONDS)
    whole = decode.load(entry.path)[0]
    with decode.Decoder(entry.path) as decoder:
        for place in np.random.default_rng(9).integers(entry.rate * 2, entry.rate * (SECONDS - 1), 6).tolist():
            decoder._engine.land(place)
            assert decoder._engine.wanted - decoder._engine.raw <= most
            decoder.seek(place)
            assert np.array_equal(whole[place : place + 4096], decoder.read(4096))


def test_of_a_matroska_file_still_arriving_nothing_waits_for_what_lies_at_its_end():
    whole = decode.load(corpus.file("webm-opus").path)[0]
    data = corpus.file("webm-opus").path.read_bytes()
    store = MemoryResource()  # of a length that nobody has told
    store.write_at(0, data[: len(data) * 3 // 4])
    with SyncReader(store) as reader, decode.Decoder(reader) as decoder:
        assert "encoder" in decoder.tags
        for place in (200_000, 100):
            decoder.seek(place)
            assert np.array_equal(whole[place : place + 1000], decoder.read(1000))
        store.write_at(len(data) // 2, data[len(data) // 2 :])
        store.commit(len(data))
        decoder.seek(len(whole) - 10)
        assert np.array_equal(whole[-10:], decoder.read())
