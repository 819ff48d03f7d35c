"""A listener and readers of bytes want the same segment: it is fetched once, and each is told what concerns it."""

import asyncio
import contextlib

import pytest
from support.faultserver import finish, head, send, until
from support.hlsorigin import COUNT, RATES, Origin, encrypted, options, packet, played
from support.waiting import Background, eventually

from kithara.abr import AbrOptions
from kithara.errors import DecodeError, DecryptFailed, HttpStatus
from kithara.hls import HlsSource
from kithara.hls.delivery import Delivery
from kithara.hls.export import exported

LOWEST = AbrOptions(max_bandwidth=1)


def answer(server, path, *steps):
    """Let each request for *path* get *steps* once the gate is open."""
    server._scripts[path] = []
    server.on(path, until("open"), *steps)


def refused(status=404):
    return head(status, {"Content-Length": 0}), finish()


def body_of(body):
    return head(200, {"Content-Length": len(body)}), send(body), finish()


@contextlib.asynccontextmanager
async def both(session, first, index=1):
    """The rest of the listener, and a reader of all of variant 0; both of them wait for segment *index*."""
    engine, listener = session._engine, session.segments()
    reader = session.as_file(variant=0)
    heard, reading = [], None

    async def listen():
        async for segment in listener:
            buffer = bytearray(segment.store.length)
            segment.store.read_at(0, buffer)
            heard.append((segment.index, segment.variant, bytes(buffer)))
        return heard

    async def read():
        reading = Background(reader.read)
        await asyncio.to_thread(eventually, lambda: (0, index) in engine._parts._open)
        return reading

    try:
        if first == "reader":
            reading = await read()
        listening = asyncio.ensure_future(listen())
        await asyncio.to_thread(
            eventually, lambda: any(slot.taken and slot.index == index for slot in tuple(engine.program.chain))
        )
        if first == "listener":
            reading = await read()
        (shared,) = {slot.store for slot in engine._slots() if (slot.variant, slot.index) == (0, index)}
        assert "active" == shared.status
        yield listening, reading
    finally:
        await asyncio.to_thread(reader.close)


async def failure_of(reading, error):
    with pytest.raises(error) as failure:
        await asyncio.to_thread(reading.result, 20.0)
    return failure.value


@pytest.mark.parametrize("first", ["listener", "reader"])
async def test_what_a_lost_segment_is_to_the_listener_and_to_who_reads_bytes(server, store, first):
    origin = Origin(server)
    answer(server, "/0-1.ts", *refused())
    async with HlsSource.open(origin.url, options(abr=LOWEST), store) as session:
        async with both(session, first) as (listening, reading):
            server.open_gate("open")
            error = await failure_of(reading, HttpStatus)
            heard = await listening
    assert (404, server.url("/0-1.ts")) == (error.status, error.url)
    assert [0, 1, 0, 0, 0, 0] == [variant for _, variant, _ in heard]
    assert [packet(variant, index, RATES[variant]) for index, variant, _ in heard] == [data for _, _, data in heard]
    assert 1 == origin.asked("/0-1.ts")


@pytest.mark.parametrize("first", ["listener", "reader"])
async def test_what_a_segment_that_is_no_media_is_to_both(server, store, first):
    origin = Origin(server)
    answer(server, "/0-1.ts", *body_of(b"<html>please log in</html>"))
    async with HlsSource.open(origin.url, options(abr=LOWEST), store) as session:
        async with both(session, first) as (listening, reading):
            server.open_gate("open")
            error = await failure_of(reading, DecodeError)
            heard = await listening
    assert server.url("/0-1.ts") == error.url
    assert list(range(COUNT)) == [index for index, _, _ in heard]
    assert 1 == heard[1][1]


@pytest.mark.parametrize("first", ["listener", "reader"])
async def test_a_torn_segment_comes_anew_for_the_listener_and_is_told_to_who_reads_bytes(server, store, first):
    origin = Origin(server, keyed=True)
    plain = packet(0, 1, RATES[0])
    good = encrypted(plain)
    answer(server, "/0-1.ts", *body_of(good[:-16] + bytes(16)))
    server.on("/0-1.ts", *body_of(good))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        async with both(session, first) as (listening, reading):
            server.open_gate("open")
            error = await failure_of(reading, DecryptFailed)
            assert (1, 0, plain) == (await listening)[1]
    assert server.url("/0-1.ts") == error.url


@pytest.mark.parametrize("first", ["listener", "reader"])
async def test_an_address_that_expired_is_asked_for_anew_for_both(server, store, first):
    origin = Origin(server)
    listing = server._scripts["/v0.m3u8"][0][0].data
    answer(server, "/0-1.ts", *refused(403))
    server.serve("/new-1.ts", packet(0, 1, RATES[0]))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        async with both(session, first) as (listening, reading):
            server.serve("/v0.m3u8", listing.replace(b"\n0-1", b"\nnew-1"))
            server.open_gate("open")
            whole = b"".join(packet(0, index, RATES[0]) for index in range(COUNT))
            assert whole == await asyncio.to_thread(reading.result, 20.0)
            assert whole == b"".join(data for _, _, data in await listening)
    assert (1, 1) == (origin.asked("/0-1.ts"), origin.asked("/new-1.ts"))


async def test_what_a_lost_init_section_is_to_both(server, store):
    origin = Origin(server)
    listing = server._scripts["/v0.m3u8"][0][0].data
    server.serve("/v0.m3u8", listing.replace(b"#EXTINF", b'#EXT-X-MAP:URI="init"\n#EXTINF', 1))
    answer(server, "/init", *refused())
    async with HlsSource.open(origin.url, options(abr=LOWEST), store) as session:
        with session.as_file(variant=0) as reader:
            reading = Background(reader.read)
            listening = asyncio.ensure_future(played(session))
            await asyncio.to_thread(eventually, lambda: any(s.taken for s in session._engine.program.chain))
            server.open_gate("open")
            error = await failure_of(reading, HttpStatus)
            assert 1 == (await listening)[0][1]
    assert (404, server.url("/init")) == (error.status, error.url)


async def test_an_export_is_told_what_a_lost_segment_that_is_heard_as_well_is_lost_by(server, store):
    origin = Origin(server)
    answer(server, "/0-1.ts", *refused())
    async with HlsSource.open(origin.url, options(abr=LOWEST), store) as session:
        engine = session._engine

        def export():
            return [(name, b"".join(pieces)) for name, pieces in exported(engine, session.url)]

        listening = asyncio.ensure_future(played(session))
        await asyncio.to_thread(eventually, lambda: any(s.taken and s.index == 1 for s in engine.program.chain))
        exporting = Background(export)
        await asyncio.to_thread(eventually, lambda: (0, 1) in engine._parts._open)
        server.open_gate("open")
        error = await failure_of(exporting, HttpStatus)
        assert list(range(COUNT)) == [index for index, _, _ in await listening]
    assert (404, server.url("/0-1.ts")) == (error.status, error.url)


async def test_who_begins_to_read_a_segment_as_it_is_to_be_given_up_keeps_it(server, store, monkeypatch):
    origin = Origin(server)
    body = packet(1, 3, RATES[1])
    server._scripts["/1-3.ts"] = []
    server.on("/1-3.ts", head(200, {"Content-Length": len(body)}), send(body[:2000]), until("open"), send(body[2000:]))
    give_up, came = Delivery._give_up, []

    def advice(self, slot, since):
        return 0 if (slot.index, slot.variant) == (3, 1) and slot.store.total else None

    def too_late(self, slot, variant):
        if not came:  # between the advice and the deed
            came.append(session._engine.part(slot.variant, slot.index))
            server.open_gate("open")
        return give_up(self, slot, variant)

    monkeypatch.setattr(Delivery, "_better", advice)
    monkeypatch.setattr(Delivery, "_give_up", too_late)
    async with HlsSource.open(origin.url, options(variant=1, look_ahead=0.1), store) as session:
        heard = []
        async for segment in session.segments():
            heard.append((segment.index, segment.variant))
            if segment.index == 2:
                session.set_variant("auto")
        assert "committed" == came[0].store.status
        session._engine.leave(1, 3)
    assert (3, 1) in heard


async def test_a_segment_that_primes_a_decoder_is_not_taken_from_who_reads_it(server, store):
    origin = Origin(server)
    whole = packet(1, 1, RATES[1])
    answer(server, "/1-1.ts", *body_of(whole))
    answer(server, "/1-2.ts", *refused())
    async with HlsSource.open(origin.url, options(splice="exact", abr=LOWEST, look_ahead=0.1), store) as session:
        engine, source = session._engine, session.segment_source()
        session.as_file(variant=1).close()  # so that its list is here
        first = source.segment_at(2.0)
        engine.program.choice.mode = 1
        second = source.next(first)
        assert (1, 2, 1) == (second.variant, second.index, second.before.index)
        engine.program.choice.mode = "auto"
        part = engine.part(1, 1)
        assert part.store is second.before.store
        server.open_gate("open")
        await asyncio.to_thread(eventually, lambda: "active" != second.store.status)
        await asyncio.to_thread(eventually, lambda: "active" != part.store.status)
        assert "committed" == part.store.status
        engine.leave(1, 1)
