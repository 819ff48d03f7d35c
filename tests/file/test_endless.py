"""Bodies that may have no end: kept up to 64 MiB, then only the last bytes, on disk and in memory."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
from support.faultserver import Exchange, FaultServer, HangUp, Step, finish, head, reset, send, stall
from support.oracles import private_memory
from support.waiting import Background, eventually

import kithara
from kithara import AssetStore, FileOptions, FileSource, HttpOptions
from kithara._core.file_resource import FileResource
from kithara.errors import SeekNotSupported, UnknownLength

PERIOD = random.Random(4).randbytes(1_000_003)
"""Comes again and again: a byte that is not at its place is a wrong byte."""
MIB = 1 << 20
PATIENT = HttpOptions(idle=20, retries=0)
ICY = head(headers={"icy-name": "radio"})


def expected(start: int, stop: int) -> bytes:
    first = start % len(PERIOD)
    times = (first + stop - start) // len(PERIOD) + 1
    return (PERIOD * times)[first : first + stop - start]


def body(size: int | None) -> Step:
    """*size* bytes of the period, or no end of them."""

    def step(exchange: Exchange) -> None:
        sent = 0
        while size is None or sent < size:
            if exchange.server.closing.is_set():
                raise HangUp
            piece = memoryview(PERIOD)[: len(PERIOD) if size is None else min(len(PERIOD), size - sent)]
            exchange.connection.sendall(piece)
            exchange.request.sent += len(piece)
            exchange.server.count(len(piece))
            sent += len(piece)

    return step


def read_on(file: kithara.SyncReader, stop: int, piece: int = MIB) -> None:
    """Read *file* up to *stop* and compare every byte."""
    while (at := file.tell()) < stop:
        assert file.read(min(piece, stop - at)) == expected(at, min(stop, at + piece)), at


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


Cache = Callable[[], AbstractContextManager[AssetStore | bool]]


@pytest.fixture(params=["disk", "memory", "none"])
def cache(request, tmp_path) -> Cache:
    return {
        "disk": lambda: AssetStore(tmp_path / "cache"),
        "memory": lambda: AssetStore.in_memory(max_bytes=256 * MIB),
        "none": lambda: nullcontext(False),
    }[request.param]


def test_a_body_that_outgrows_64_mib_loses_no_byte_for_a_reader_far_behind(server: FaultServer, cache: Cache) -> None:
    size = 70 * MIB
    server.on("/song", head(headers={"Connection": "close"}), body(size), finish())
    with cache() as store, kithara.open(server.url("/song"), store=store, http=PATIENT) as file:
        read_on(file, 4 * MIB)
        if store:  # it is fetched for its own sake, while the reader stands still
            eventually(lambda: file.store.head >= 60 * MIB, 20)
        read_on(file, size)
        assert file.read(1) == b""
        assert file.length == size
        assert eventually(lambda: file.status == "committed")
        assert not file.seekable()
        if store:
            eventually(lambda: store.usage().bytes == 0)
            assert store.assets() == []
    assert len(server.requests) == 1


def test_it_plays_on_with_flat_memory_and_flat_disk(server: FaultServer, tmp_path) -> None:
    server.on("/song", head(), body(None))
    with AssetStore(tmp_path) as store, kithara.open(server.url("/song"), store=store, http=PATIENT) as file:
        read_on(file, 80 * MIB)
        assert isinstance(file.store, FileResource)
        memory, disk = private_memory(), os.fstat(file.store.fd).st_blocks * 512
        assert disk <= 74 * MIB
        read_on(file, 300 * MIB)
        assert os.fstat(file.store.fd).st_blocks * 512 <= 74 * MIB
        assert private_memory() - memory < 8 * MIB
        assert os.fstat(file.store.fd).st_nlink == 0
        with pytest.raises(SeekNotSupported):
            file.seek(0)
        with pytest.raises(UnknownLength):
            file.seek(0, os.SEEK_END)
        file.seek(-MIB, os.SEEK_CUR)
        read_on(file, 301 * MIB)
        file.seek(5 * MIB, os.SEEK_CUR)  # forwards: what lies between is read through
        read_on(file, 310 * MIB)


def test_two_readers_of_one_endless_body_both_get_every_byte(server: FaultServer, cache: Cache) -> None:
    server.on("/song", ICY, body(None))
    with cache() as store, kithara.open(server.url("/song"), store=store, http=PATIENT) as file:
        with file.duplicate() as other:
            for stop in range(3 * MIB, 31 * MIB, 3 * MIB):
                read_on(file, stop)
                read_on(other, stop)


def test_a_reader_that_lags_is_waited_for_as_long_as_it_goes_on(server: FaultServer) -> None:
    server.on("/song", ICY, body(None))
    with kithara.open(server.url("/song"), store=False, http=PATIENT) as file, file.duplicate() as slow:
        fast = Background(lambda: read_on(file, 20 * MIB))
        read_on(slow, 16 * MIB, 16 << 10)
        fast.result()
        assert len(server.requests) == 1


def test_a_reader_that_stands_still_does_not_hold_up_the_others(server: FaultServer, monkeypatch) -> None:
    monkeypatch.setattr("kithara.fetch.bounds.LEFT_BEHIND", 0.2)
    server.on("/song", ICY, body(None))
    with kithara.open(server.url("/song"), store=False, http=PATIENT) as file, file.duplicate() as still:
        read_on(still, MIB)
        read_on(file, 20 * MIB)
        with pytest.raises(SeekNotSupported):
            still.read(1)
        still.seek(file.tell())
        read_on(still, 21 * MIB)


def test_all_readers_may_pause_for_as_long_as_they_like(server: FaultServer, monkeypatch) -> None:
    monkeypatch.setattr("kithara.fetch.bounds.LEFT_BEHIND", 0.05)
    server.on("/song", ICY, body(None))
    with kithara.open(server.url("/song"), store=False, http=PATIENT) as file, file.duplicate() as other:
        read_on(file, MIB)
        read_on(other, 3 * MIB)
        before = -1
        while before != server.sent:
            before = server.sent
            server.wait_until(lambda sent=before: server.sent != sent, 0.3)
        assert server.sent < 24 * MIB
        read_on(file, 3 * MIB)
        read_on(other, 4 * MIB)


def test_a_paused_reader_stops_an_endless_body_with_flat_memory_and_disk(server: FaultServer, cache: Cache) -> None:
    server.on("/song", ICY, body(None))
    with cache() as store, kithara.open(server.url("/song"), store=store, http=PATIENT) as file:
        read_on(file, 6 * MIB)
        memory, before = private_memory(), -1
        while before != server.sent:
            before = server.sent
            server.wait_until(lambda sent=before: server.sent != sent, 0.3)
        assert file.store.head <= 6 * MIB + 5 * MIB
        assert private_memory() - memory < 8 * MIB
        if isinstance(file.store, FileResource):
            assert os.fstat(file.store.fd).st_blocks * 512 <= 6 * MIB
        read_on(file, 30 * MIB)


def test_a_reader_that_never_waits_gets_every_byte(server: FaultServer, cache: Cache) -> None:
    server.on("/song", ICY, body(None))
    options = FileOptions(look_ahead=MIB)
    with (
        cache() as store,
        kithara.open(server.url("/song"), store=store, options=options, http=PATIENT, blocking=False) as file,
    ):
        turn = threading.Event()
        while (at := file.tell()) < 20 * MIB:
            data = file.read(MIB)
            if data is None:
                turn.wait(0.001)
                continue
            assert data == expected(at, at + len(data))


def test_a_memory_store_of_less_than_64_mib_plays_it_too(server: FaultServer, monkeypatch) -> None:
    taken: list[int] = []

    def allow(_: object, size: int) -> bool:
        taken.append(size)
        return sum(taken) <= 4 * MIB

    monkeypatch.setattr("kithara.assets.keeping.ResourceKeeper.allow", allow)
    server.on("/song", head(), body(None))
    with AssetStore.in_memory() as store:
        with kithara.open(server.url("/song"), store=store, http=PATIENT) as file:
            read_on(file, 20 * MIB)
            assert file.store.held <= 5 * MIB
        assert store.assets() == []


def test_a_broadcast_that_breaks_goes_on_with_what_comes_next(server: FaultServer) -> None:
    server.on("/song", ICY, send(PERIOD[:300_000]), reset())
    server.on("/song", ICY, send(PERIOD[300_000:500_000]), stall())
    with kithara.open(server.url("/song"), store=False, http=HttpOptions(idle=20, retries=2)) as file:
        assert file.read(500_000) == PERIOD[:500_000]


async def test_a_session_tells_what_has_passed(server: FaultServer) -> None:
    server.on("/song", ICY, body(None))
    async with FileSource.open(server.url("/song"), FileOptions(http=PATIENT)) as session:
        media = session.media
        got = 0
        async with asyncio.timeout(20):
            async for chunk in session.stream():
                assert chunk == expected(got, got + len(chunk))
                got += len(chunk)
                if got >= 12 * MIB:
                    break
            with pytest.raises(SeekNotSupported):
                await session.seek_bytes(0)
            assert session.media == media
            known = await session.seek_bytes(1 << 40)
            assert got <= known
            assert await session.seek_bytes(got) == got
