"""Waiting readers take turns: none starves because others want much."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faultserver import Exchange, FaultServer, head
from support.oracles import expect_bytes
from support.waiting import Background, eventually

import kithara
from kithara import AssetStore, FileOptions, HttpOptions

DATA = random.Random(8).randbytes(12 << 20)
PATIENT = HttpOptions(idle=30, retries=0)
BIG = 4 << 20


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def a_little_at_a_time(exchange: Exchange) -> None:
    """A small answer at once; of a large one 1000 bytes, and the rest when the gate opens."""
    start, stop = exchange.request.range or (0, None)
    stop = len(DATA) if stop is None else min(stop, len(DATA))
    head(206, range=(start, stop, len(DATA)), etag='"1"')(exchange)
    if stop - start > 1 << 20:
        exchange.write(DATA[start : start + 1000])
        start += 1000
        exchange.server.open_gate(f"begun {(start - 1000) // BIG}")
        exchange.server.pass_gate("rest")
    exchange.write(DATA[start:stop])


def test_a_third_reader_gets_its_bytes_while_two_large_reads_go_on(server: FaultServer, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("kithara.fetch.schedule.TURN", 0.1)
    server.on("/song", a_little_at_a_time)
    options = FileOptions(complete=False, look_ahead=1)
    with AssetStore(tmp_path) as store:
        files = [kithara.open(server.url("/song"), store=store, http=PATIENT, options=options) for _ in range(3)]
        first, second, third = files

        def large(file: kithara.SyncReader, start: int) -> bytes:
            file.seek(start)
            buffer = bytearray(BIG)
            file.wait_range(start, start + BIG)
            assert file.readinto(buffer) == BIG
            return bytes(buffer)

        one, two = Background(lambda: large(first, 0)), Background(lambda: large(second, BIG))
        server.pass_gate("begun 0")
        server.pass_gate("begun 1")
        third.seek(2 * BIG + 77)
        small = Background(lambda: third.read(100))
        expect_bytes(DATA, 2 * BIG + 77, bytes(small.result()))  # type: ignore[arg-type]
        assert not one.done
        assert not two.done
        server.open_gate("rest")
        expect_bytes(DATA, 0, bytes(one.result()))  # type: ignore[arg-type]
        expect_bytes(DATA, BIG, bytes(two.result()))  # type: ignore[arg-type]
        for file in files:
            file.close()
        assert eventually(lambda: server.open_now() == 0)
    assert server.most_open <= 3
