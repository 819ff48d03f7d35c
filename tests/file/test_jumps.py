"""Who jumps about in a file: its ranges are asked for at once, and nobody can tell."""

from __future__ import annotations

import hashlib
import random
import threading

import numpy as np
import pytest
from support.faultserver import Exchange, FaultServer, HangUp, chunk, head, last_chunk, until

import kithara
from kithara.cli import lyre
from kithara.events import Response

DATA = random.Random(3).randbytes(1 << 20)
JUMPS = 60


class Whims:
    """Serves `DATA` in one write an answer, which is what the n-th request of *whims* says."""

    def __init__(self, *whims: str) -> None:
        self.whims = whims
        self.past: list[tuple[str, tuple[int, int]]] = []
        self.lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        start, stop = exchange.request.range or (0, None)
        stop = min(stop or len(DATA), len(DATA))
        with self.lock:
            number = len(self.past)
            whim = self.whims[number % len(self.whims)]
            self.past.append((whim, (start, stop)))
        if whim == "unavailable":
            head(503, {"Retry-After": "0"}, length=0)(exchange)
            return
        if whim == "gone":
            raise HangUp
        lines = ["HTTP/1.1 206 Part", f"Content-Length: {stop - start}", 'ETag: "v"']
        lines += [f"Content-Range: bytes {start}-{stop - 1}/{len(DATA)}"]
        if whim == "other":
            lines.append(f"X-Number: {number}")
        raw = "\r\n".join([*lines, "", ""]).encode() + DATA[start:stop]
        exchange.write(raw[:-100] if whim == "cut" else raw)
        if whim == "cut":
            raise HangUp


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


@pytest.mark.parametrize(
    "whims",
    [
        ["same"],
        [*["same"] * 5, "other"],
        [*["same"] * 6, "gone"],
        [*["same"] * 7, "cut"],
        [*["same"] * 9, "unavailable"],
    ],
    ids=["all alike", "another header", "gone", "cut", "unavailable"],
)
def test_every_byte_is_right_and_every_answer_is_told(server: FaultServer, store, whims: list[str]) -> None:
    served = Whims(*whims)
    server.on("/", served)
    events: list[object] = []
    chooser = random.Random(5)
    options = kithara.FileOptions(complete=False)
    with kithara.open(server.url("/"), store=store, options=options, on_event=events.append) as file:
        for _ in range(JUMPS):
            place = chooser.randrange(len(DATA) - 2000)
            file.seek(place)
            assert DATA[place : place + 2000] == file.read(2000)
        length = file.length
    assert len(DATA) == length
    told = [(event.start, event.stop) for event in events if isinstance(event, Response)]
    assert sorted(told) == sorted(interval for whim, interval in served.past if whim not in ("gone", "unavailable"))


def test_a_digest_that_is_given_midway_is_proven_before_the_last_byte(server: FaultServer, store) -> None:
    server.on("/", Whims("same"))
    digest = hashlib.sha256(DATA).hexdigest()
    with kithara.open(server.url("/"), store=store) as first:
        for place in (500_000, 300_000, 700_000):
            first.seek(place)
            assert DATA[place : place + 2000] == first.read(2000)
        with kithara.open(server.url("/"), store=store, options=kithara.FileOptions(sha256=digest)) as second:
            assert DATA == second.read()


def test_a_digest_that_is_wrong_gives_no_end_to_who_jumps(server: FaultServer, store) -> None:
    server.on("/", Whims("same"))
    options = kithara.FileOptions(sha256=hashlib.sha256(b"other").hexdigest())
    with kithara.open(server.url("/"), store=store) as first:
        for place in (500_000, 300_000, 700_000):
            first.seek(place)
            assert DATA[place : place + 2000] == first.read(2000)
        with kithara.open(server.url("/"), store=store, options=options) as second:
            with pytest.raises(kithara.CacheCorrupt):
                second.read()


def test_a_decoder_goes_back_in_a_body_whose_length_nobody_tells(store: kithara.AssetStore) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, (300_000, 2), "int16")
    body = lyre.flac(noise)
    with FaultServer() as server:
        rest = (until("go"), chunk(body[400_000:]), last_chunk())
        server.on("/a.flac", head(200, chunked=True), chunk(body[:400_000]), *rest)
        with kithara.open(server.url("/a.flac"), store=store) as reader, kithara.Decoder(reader, "int16") as decoder:
            assert reader.length is None
            assert np.array_equal(noise[:60_000], decoder.read(60_000))
            decoder.seek(100)
            assert np.array_equal(noise[100:500], decoder.read(400))
            server.open_gate("go")
            decoder.seek(290_000)
            assert np.array_equal(noise[290_000:], decoder.read())
            decoder.seek(10_000)
            assert np.array_equal(noise[10_000:20_000], decoder.read(10_000))
        assert 1 == len(server.requests)
