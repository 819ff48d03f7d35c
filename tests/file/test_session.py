"""The session on one file, as the seeds tell it: bytes, seeks, phases, events, and its end."""

import asyncio
import gc
import io
import logging
import os
import random
import struct
import warnings

import av
import pytest
from support import corpus
from support.faultserver import Citizen, Faults, FaultServer, chunk, head, last_chunk, reset, send, stall, until
from support.waiting import eventually, liveness

import kithara
from kithara import EventBus, FileOptions, FileSource, HttpOptions
from kithara.assets import shared
from kithara.cli.origin import Origin
from kithara.errors import Closed, HttpStatus, InvalidSeek, KitharaError, RetryExhausted
from kithara.events import Committed, Failed, Lagged, PhaseChanged, Progress, Response, Seeked, Started
from kithara.file import FilePhase
from kithara.file.request import Request
from kithara.file.segments import FileSegmentIndex
from kithara.io import SyncReaderParams
from kithara.portal import portal
from kithara.storage.memory import MemoryStreamingResource

DATA = random.Random(6).randbytes(1_500_000)
PARTIAL = FileOptions(complete=False)


@pytest.fixture
def origin():
    with Origin({"a.mp3": DATA}) as origin:
        yield origin


async def whole(stream):
    return b"".join([chunk async for chunk in stream])


async def until_phase(session, phase):
    await asyncio.to_thread(eventually, lambda: session.phase is phase)


# ── bytes ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cached", [True, False])
async def test_a_stream_gives_the_bytes_to_the_true_end(origin, store, cached):
    async with FileSource.open(origin.url("a.mp3"), None, store if cached else None) as session:
        assert len(DATA) == session.length
        assert "mp3" == session.media.container
        assert DATA == await whole(session.stream())


async def test_awaiting_an_opening_gives_the_session_and_stop_ends_it(origin):
    session = await FileSource.open(origin.url("a.mp3"))
    stream = session.stream()
    assert DATA.startswith(await anext(stream))
    await session.stop()
    await session.stop()
    assert [] == [chunk async for chunk in stream]
    with pytest.raises(Closed):
        session.stream()


async def test_a_directory_names_the_cache_that_the_process_shares_there_and_false_none(origin, tmp_path):
    url, root = origin.url("a.mp3"), tmp_path / "cache"
    async with FileSource.open(url, store=root) as session:
        assert DATA == await whole(session.stream())
    with shared._shared.pop(os.path.realpath(root)) as store:
        assert [url] == [asset.label for asset in store.assets()]
        async with FileSource.open(url, store=store, offline=True) as session:
            assert DATA == await whole(session.stream())
    async with FileSource.open(url, store=False) as session:
        assert DATA == await whole(session.stream())


async def test_open_with_cache_reads_the_cache_first(origin, store):
    url = origin.url("a.mp3")
    async with FileSource.open_with_cache(url, FileOptions(), store) as session:
        first = session.asset_id
        assert DATA == await whole(session.stream())
        await until_phase(session, FilePhase.COMPLETE)
    fetched = origin.mark()
    async with FileSource.open_with_cache(url, FileOptions(), store) as session:
        assert first == session.asset_id
        assert FilePhase.COMPLETE is session.phase
        assert DATA == await whole(session.stream())
    assert [] == fetched.requests


async def test_the_body_lies_at_file_body_in_its_asset(origin, store, tmp_path):
    async with FileSource.open(origin.url("a.mp3"), None, store) as session:
        await whole(session.stream())
        await until_phase(session, FilePhase.COMPLETE)
        assert DATA == (tmp_path / "cache" / session.asset_id / "file" / "body").read_bytes()


async def test_two_streams_have_cursors_of_their_own(origin):
    async with FileSource.open(origin.url("a.mp3")) as session:
        one, other = session.stream(1000), session.stream(1000)
        await anext(one)
        assert 1000 == await session.seek_bytes(1000)
        assert DATA[1000:2000] == await anext(other)
        assert DATA[1000:] == await whole(one)


async def test_a_source_reads_in_another_thread_and_is_not_moved_by_a_seek(origin):
    async with FileSource.open(origin.url("a.mp3")) as session:
        with session.source() as reader:
            head_of_it = await asyncio.to_thread(reader.read, 100)
            await session.seek_bytes(9000)
            assert DATA[:200] == head_of_it + await asyncio.to_thread(reader.read, 100)


async def test_a_stream_that_was_dropped_leaves_no_cursor_and_no_warning(origin):
    async with FileSource.open(origin.url("a.mp3"), PARTIAL) as session:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            async for _ in session.stream():
                break
            gc.collect()
        assert [] == session._source.store.cursors


def test_a_session_that_was_dropped_ends(origin):
    async def open_and_drop():
        session = await FileSource.open(origin.url("a.mp3"), PARTIAL)
        return session._source.store

    store = asyncio.run(open_and_drop())
    gc.collect()
    eventually(lambda: "cancelled" == store.status)


async def test_a_local_file_has_the_same_face(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(DATA)
    for url in (path, path.as_uri()):
        async with FileSource.open(url) as session:
            assert (len(DATA), FilePhase.COMPLETE, "committed") == (session.length, session.phase, session.status)
            assert 7 == await session.seek_bytes(7)
            assert DATA[7:] == await whole(session.stream())


# ── seeks ────────────────────────────────────────────────────────────────────────────────────


async def test_a_seek_moves_the_latest_stream(origin):
    async with FileSource.open(origin.url("a.mp3"), PARTIAL) as session:
        stream = session.stream(500)
        assert DATA[:500] == await anext(stream)
        for position in (1_000_000, 1_000_000, 10, len(DATA) - 5):
            assert position == await session.seek_bytes(position)
            assert DATA[position : position + 500] == await anext(stream)
        assert [] == [chunk async for chunk in stream]


async def test_a_seek_before_there_is_a_stream_says_where_it_begins(origin):
    async with FileSource.open(origin.url("a.mp3")) as session:
        await session.seek_bytes(1024)
        assert DATA[1024:] == await whole(session.stream())
        await session.seek_bytes(2048)
        assert DATA[2048:] == await whole(session.stream())
        assert DATA == await whole(session.stream())


@pytest.mark.parametrize(("asked", "found"), [(-5, 0), (0, 0), (len(DATA), len(DATA))])
async def test_a_seek_is_absolute_and_clamped_below(origin, asked, found):
    async with FileSource.open(origin.url("a.mp3")) as session:
        stream = session.stream()
        assert found == await session.seek_bytes(asked)
        assert DATA[found:] == await whole(stream)


async def test_a_seek_past_the_end_is_invalid_and_changes_nothing(origin):
    async with FileSource.open(origin.url("a.mp3")) as session:
        stream = session.stream(10)
        await anext(stream)
        with pytest.raises(InvalidSeek):
            await session.seek_bytes(len(DATA) + 1)
        assert DATA[10:20] == await anext(stream)


async def test_while_the_length_is_unknown_a_seek_is_clamped_to_what_is_known():
    with FaultServer() as server:
        server.on(
            "/a", head(200, chunked=True), chunk(DATA[:1000]), until("rest"), chunk(DATA[1000:2000]), last_chunk()
        )
        async with FileSource.open(server.url("/a")) as session:
            stream = session.stream(100)
            await anext(stream)
            with session.source() as reader:
                await asyncio.to_thread(reader.wait_range, 0, 1000)
            assert 1000 == await session.seek_bytes(5000)
            server.open_gate("rest")
            assert DATA[1000:2000] == await whole(stream)
            assert 2000 == session.length


async def test_a_seek_wakes_a_stream_that_waits(store):
    with FaultServer() as server:
        server.on("/a", head(206, range=(0, 16384, len(DATA))), send(DATA[:100]), stall())
        server.on("/a", Citizen(DATA))
        async with FileSource.open(server.url("/a"), PARTIAL) as session:
            stream = session.stream(50)
            await anext(stream)
            await anext(stream)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await session.seek_bytes(1_000_000)
            async with asyncio.timeout(liveness(5)):
                assert DATA[1_000_000:1_000_050] == await waiting


async def test_without_range_seeks_a_forward_seek_reads_through_in_one_request(origin):
    options = FileOptions(enable_range_seek=False)
    async with FileSource.open(origin.url("a.mp3"), options) as session:
        stream = session.stream(100)
        await session.seek_bytes(1_400_000)
        assert DATA[1_400_000:1_400_100] == await anext(stream)
        await session.seek_bytes(5)
        assert DATA[5:105] == await anext(stream)
    assert 1 == len(origin.requests)


# ── phases and events ────────────────────────────────────────────────────────────────────────


async def test_phases_come_in_order_and_once(origin, store):
    bus = EventBus(1000)
    heard = bus.subscribe()
    async with FileSource.open(origin.url("a.mp3"), FileOptions(bus=bus), store) as session:
        await whole(session.stream())
        await until_phase(session, FilePhase.COMPLETE)
    bus.close()
    events = [event async for event in heard]
    phases = [event.phase for event in events if isinstance(event, PhaseChanged)]
    assert [FilePhase.INIT, FilePhase.DOWNLOADING, FilePhase.COMPLETE] == phases
    first = next(event for event in events if isinstance(event, Response))
    assert (206, len(DATA), True, 0) == (first.status, first.length, first.ranges, first.start)
    assert [Committed(length=len(DATA))] == [event for event in events if isinstance(event, Committed)]
    assert [Started(url=events[0].url, cached=0)] == [event for event in events if isinstance(event, Started)]
    assert all(event.received <= len(DATA) for event in events if isinstance(event, Progress))


async def test_a_cached_whole_is_complete_from_the_start(origin, store):
    async with FileSource.open(origin.url("a.mp3"), None, store) as session:
        await whole(session.stream())
        await until_phase(session, FilePhase.COMPLETE)
    bus = EventBus()
    heard = bus.subscribe()
    async with FileSource.open(origin.url("a.mp3"), FileOptions(bus=bus), store):
        pass
    bus.close()
    assert [FilePhase.COMPLETE] == [event.phase async for event in heard if isinstance(event, PhaseChanged)]


async def test_a_bus_of_the_callers_outlives_the_session(origin):
    bus = EventBus()
    async with FileSource.open(origin.url("a.mp3"), FileOptions(bus=bus)):
        pass
    heard = bus.subscribe()
    bus.publish("still here")
    assert "still here" == await anext(heard)


async def test_the_events_of_a_session_end_with_it(origin):
    session = await FileSource.open(origin.url("a.mp3"))
    events = session.events()
    await session.seek_bytes(700_000)
    await session.stop()
    told = [event async for event in events]
    assert [700_000] == [event.position for event in told if isinstance(event, Seeked)]


async def test_a_slow_listener_learns_how_much_it_missed_and_slows_nobody(origin):
    async with FileSource.open(origin.url("a.mp3"), FileOptions(event_capacity=2)) as session:
        events = session.events()
        for position in range(10):
            await session.seek_bytes(position)
        assert DATA[9:] == await whole(session.stream())
        assert isinstance(await anext(events), Lagged)


# ── errors ───────────────────────────────────────────────────────────────────────────────────


async def test_a_fatal_error_is_raised_once_and_then_the_stream_is_exhausted(store):
    http = HttpOptions(retries=0)
    with FaultServer() as server:
        server.on("/a", head(200, length=1000), send(DATA[:100]), until("somebody listens"), reset())
        async with FileSource.open(server.url("/a"), FileOptions(http=http), store) as session:
            events = session.events()
            stream = session.stream()
            assert DATA[:100] == await anext(stream)
            server.open_gate("somebody listens")
            with pytest.raises(RetryExhausted):
                await anext(stream)
            assert [] == [chunk async for chunk in stream]
            assert FilePhase.COMPLETE is session.phase
        assert 1 == len([event async for event in events if isinstance(event, Failed)])


async def test_opening_what_is_not_there_raises(store):
    with FaultServer() as server:
        server.on("/a", head(404, length=0))
        with pytest.raises(HttpStatus):
            await FileSource.open(server.url("/a"), None, store)
        assert [] == store.assets()


async def test_losing_the_network_keeps_what_resumes_and_a_partial_plays_to_its_hole(store):
    options = FileOptions(complete=False, http=HttpOptions(retries=0))
    with Origin({"a": DATA}) as origin:
        url = origin.url("a")
        async with FileSource.open(url, options, store) as session:
            with session.source() as reader:
                await asyncio.to_thread(reader.read, 50_000)
    async with FileSource.open(url, options, store) as session:
        assert session.unconfirmed
        stream = session.stream(1000)
        assert DATA[:50_000] == b"".join([await anext(stream) for _ in range(50)])
        with pytest.raises(KitharaError):
            await whole(stream)


async def test_a_flaky_server_is_told_of_and_overcome(store):
    with FaultServer() as server:
        server.serve("/a", DATA, faults=Faults(p=0.4, seed=3))
        async with FileSource.open(server.url("/a"), FileOptions(http=HttpOptions(retries=9)), store) as session:
            assert DATA == await whole(session.stream())


# ── the loop and the clients of sources ──────────────────────────────────────────────────────


class Records(logging.Handler):
    """Keeps the messages it is given."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


@pytest.fixture
def slow_steps():
    """What asyncio says of steps of the portal's loop that took longer than 100 ms."""
    loop, records, log = portal().loop, Records(), logging.getLogger("asyncio")
    before, loop.slow_callback_duration = loop.slow_callback_duration, liveness(0.1)
    loop.call_soon_threadsafe(loop.set_debug, True)
    log.addHandler(records)
    yield records.messages
    log.removeHandler(records)
    loop.call_soon_threadsafe(loop.set_debug, False)
    loop.slow_callback_duration = before


async def test_nothing_holds_up_the_loop_that_fills(store, slow_steps):
    with Origin({"a": DATA * 4}) as origin:
        async with FileSource.open(origin.url("a"), None, store) as session:
            await whole(session.stream())
            await until_phase(session, FilePhase.COMPLETE)
    assert [] == [step for step in slow_steps if "took" in step]


async def test_a_source_follows_the_protocol_of_sources(origin):
    async with FileSource.open(origin.url("a.mp3"), PARTIAL) as session:
        source = session.keep()
        assert (len(DATA), True) == (source.length, source.supports_seek)
        assert kithara.WaitOutcome.READY == await source.wait_range(800_000, 801_000)
        assert DATA[800_000:801_000] == await source.read_at(800_000, 1000)
        assert kithara.WaitOutcome.EOF == await source.wait_range(len(DATA), len(DATA) + 1)


async def test_keeping_twice_is_keeping_once(origin):
    async with FileSource.open(origin.url("a.mp3"), PARTIAL) as session:
        source = session.keep()
        assert source is session.keep()
        del source
        gc.collect()
        with pytest.raises(Closed):
            session.keep()


def test_a_reader_of_an_opened_file_keeps_it_open(origin):
    async def open_it():
        return (await kithara.File.open(origin.url("a.mp3"))).source

    with kithara.SyncReader(asyncio.run(open_it()), SyncReaderParams()) as reader:
        gc.collect()
        reader.seek(-100, io.SEEK_END)
        assert DATA[-100:] == reader.read()


# ── segments ─────────────────────────────────────────────────────────────────────────────────


def box(kind, content=b""):
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize("name", ["fmp4", "fmp4-no-elst", "fmp4-sidx"])
async def test_fragments_are_where_each_one_decodes_after_the_beginning(name, store):
    entry = corpus.file(name)
    data = entry.path.read_bytes()
    with Origin({entry.path.name: entry.path}) as origin:
        async with FileSource.open(origin.url(entry.path.name), None, store) as session:
            assert session.segment_index is None or FilePhase.COMPLETE is session.phase
            await whole(session.stream())
            await until_phase(session, FilePhase.COMPLETE)
            index = session.segment_index
    assert 1 < len(index.segments)
    assert sorted(index.segments, key=lambda segment: segment.start) == list(index.segments)
    frames = []
    for segment in index.segments:
        piece = data[: index.init_stop] + data[segment.start : segment.stop]
        with av.open(io.BytesIO(piece)) as container:
            frames.append(sum(packet.duration or 0 for packet in container.demux(audio=0)))
    with av.open(entry.path) as container:
        assert sum(packet.duration or 0 for packet in container.demux(audio=0)) == sum(frames)
    assert 1 == index.at_offset(index.segments[1].start)
    if name == "fmp4-sidx":
        assert index.segments[0].time is not None
        assert 1 == index.at_time(index.segments[1].time)


@pytest.mark.parametrize("name", ["m4a-faststart", "mp3-cbr", "flac"])
async def test_other_files_have_no_segments(name):
    async with FileSource.open(corpus.file(name).path) as session:
        assert session.segment_index is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        box(b"ftyp") + box(b"moov") + box(b"moof") + b"\0\0\xff\xff" + b"mdat",
        box(b"moof") + box(b"mdat", b"x") + box(b"moov"),
        box(b"ftyp") + box(b"moov") + struct.pack(">I4sQ", 1, b"moof", 3),
        box(b"ftyp") + box(b"moov") + box(b"sidx", b"\0" * 3) + box(b"moof"),
        random.Random(1).randbytes(5000),
    ],
)
def test_bytes_that_make_no_sense_have_no_segments(data, tmp_path):
    resource = MemoryStreamingResource("x", len(data))
    if data:
        resource.write_at(0, data)
    index = FileSegmentIndex.build(resource)
    assert index is None or () == index.segments


def test_a_task_of_the_portals_own_loop_may_wait_for_bytes(origin):
    async def read_on_the_portal():
        async with FileSource.open(origin.url("a.mp3"), PARTIAL) as session:
            source = session.keep()
            assert kithara.WaitOutcome.READY == await source.wait_range(900_000, 900_010)
            return await source.read_at(900_000, 10) + await anext(session.stream(10))

    assert DATA[900_000:900_010] + DATA[:10] == portal().run(read_on_the_portal())


def test_whoever_proves_who_they_are_differently_has_a_cache_entry_of_their_own(origin, store):
    def asset(user, **headers):
        request = Request(
            url=origin.url("a.mp3").replace("//", f"//{user}"), options=FileOptions(), store=store, headers=headers
        )
        return request.key.asset_id

    entries = [
        asset(""),
        asset("ann:1@"),
        asset("ann:2@"),
        asset("", Authorization="Bearer x"),
        asset("", Authorization="Bearer y"),
        asset("ann:1@", Authorization="Bearer x"),
        asset("", **{"X-Api-Key": "x"}),
    ]
    assert len(entries) == len(set(entries))
    assert entries[0] == asset("", **{"User-Agent": "me", "Accept-Language": "pl"})
