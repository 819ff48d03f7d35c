"""Which variant is heard: after a seek, from the cache, and what is learned of the network and what is not."""

import asyncio

import pytest
from support.faultserver import head, send
from support.hlsorigin import COUNT, RATES, Origin, options, packet, played
from support.waiting import eventually

from kithara._core.memory_resource import MemoryResource
from kithara.abr import AbrOptions
from kithara.errors import Interrupted
from kithara.hls import HlsSource, SegmentLoaded
from kithara.hls.slots import State
from kithara.hls.transfer import Transfer
from kithara.net import HttpClient, HttpOptions


async def at_rest(session):
    """Wait until everything that is wanted is here."""
    engine = session._engine

    def rests():
        with engine._lock:
            chain = engine.program.chain
            heard = [slot.start for slot in chain if slot.taken][-1]
            enough = chain[-1].stop - heard >= engine._options.look_ahead or chain[-1].stop >= session.duration
            return enough and not engine._active and all(slot.state is State.DONE for slot in chain)

    await asyncio.to_thread(eventually, rests)


def slow_down(session):
    """Let the controller believe that the link has become slow, for good."""
    with session._engine._lock:
        for _ in range(20):
            session._engine.program.choice.feed(16_000, 2.0, 0.2, variant=1, aborted=False)


async def climbed(session, segments):
    """Listen until the upper variant is heard; what is fetched then is all here."""
    async for segment in segments:
        if segment.variant == 1:
            break
    await at_rest(session)


async def test_after_a_seek_to_what_is_not_here_the_variant_is_chosen_for_an_empty_buffer(server, store):
    origin = Origin(server, count=30)
    async with HlsSource.open(origin.url, options(look_ahead=6.0), store) as session:
        segments = session.segments()
        await climbed(session, segments)
        slow_down(session)
        await session.seek(50.0)
        segment = await anext(segments)
        assert (25, 0) == (segment.index, segment.variant)
        await segments.aclose()
    assert 0 == origin.asked("/1-25.ts")


@pytest.mark.parametrize("kind", ["pinned", "capped"])
async def test_after_a_seek_the_listeners_wish_holds(server, store, kind):
    origin = Origin(server, count=30)
    wish = {"variant": 1} if kind == "pinned" else {"abr": AbrOptions(max_bandwidth=RATES[0])}
    async with HlsSource.open(origin.url, options(look_ahead=4.0, **wish), store) as session:
        segments = session.segments()
        wished = (await anext(segments)).variant
        await at_rest(session)
        if kind == "pinned":
            slow_down(session)
        await session.seek(50.0)
        assert (25, wished) == ((segment := await anext(segments)).index, segment.variant)
        await segments.aclose()
    assert (kind == "pinned") == bool(wished)


async def test_what_the_cache_has_at_the_place_of_a_seek_is_not_fetched_again_in_another_variant(server, store):
    origin = Origin(server, count=30)
    async with HlsSource.open(origin.url, options(variant=1, look_ahead=0.1), store) as session:
        segments = session.segments()
        await session.seek(50.0)
        assert 25 == (await anext(segments)).index
        await at_rest(session)
        await segments.aclose()
    async with HlsSource.open(origin.url, options(look_ahead=0.1), store) as session:
        segments = session.segments()
        assert 0 == (await anext(segments)).variant
        await at_rest(session)
        slow_down(session)
        await session.seek(50.0)
        segment = await anext(segments)
        assert (25, 1) == (segment.index, segment.variant)
        await segments.aclose()
    assert (0, 1) == (origin.asked("/0-25.ts"), origin.asked("/1-25.ts"))


async def test_under_the_cap_the_cache_does_not_choose_what_is_above_it(server, store):
    origin = Origin(server)
    async with HlsSource.open(origin.url, options(variant=1), store) as session:
        await played(session)
    async with HlsSource.open(origin.url, options(abr=AbrOptions(max_bandwidth=RATES[0])), store) as session:
        assert {0} == {variant for _, variant, _ in await played(session)}


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
async def test_a_second_play_that_climbed_the_first_time_asks_for_nothing(server, store, offline):
    origin = Origin(server, count=12)
    async with HlsSource.open(origin.url, options(look_ahead=6.0), store) as session:
        first = await played(session)
        await at_rest(session)
    assert {0, 1} == {variant for _, variant, _ in first}
    asked = len(server.requests)
    async with HlsSource.open(origin.url, options(look_ahead=6.0), store, offline=offline) as session:
        assert first == await played(session)
        assert 0 == session._engine.program.choice.controller.estimator.count
    assert asked == len(server.requests)


async def test_what_was_pinned_the_first_time_is_heard_the_second_time_without_a_request(server, store):
    origin = Origin(server)
    async with HlsSource.open(origin.url, options(variant=1), store) as session:
        first = await played(session)
        await at_rest(session)
    asked = len(server.requests)
    async with HlsSource.open(origin.url, options(), store) as session:
        assert first == await played(session)
    assert asked == len(server.requests)


async def test_the_best_of_several_that_the_cache_has_is_heard(server, store):
    origin = Origin(server)
    for variant in (1, 0):
        async with HlsSource.open(origin.url, options(variant=variant), store) as session:
            await played(session)
            await at_rest(session)
    async with HlsSource.open(origin.url, options(), store) as session:
        assert [1] * COUNT == [variant for _, variant, _ in await played(session)]


async def test_latency_is_that_of_the_attempt_that_was_answered(server):
    body = packet(0, 0, RATES[0])
    server.on("/a.ts", head(503, {"Content-Length": 0}))
    server.on("/a.ts", head(200, {"Content-Length": len(body)}), send(body))
    store = MemoryResource()

    async def commit(resource):
        resource.commit()

    async with HttpClient(HttpOptions(retries=2)) as client:
        transfer = Transfer(client, server.url("/a.ts"), store, commit=commit)
        await transfer.run()
    refused, answered = server.requests
    assert transfer.begun < refused.started < transfer.asked < answered.started < transfer.answered


async def test_what_comes_from_this_machine_says_nothing_about_the_network(server, tmp_path):
    origin = Origin(server, count=4)
    for path in ("master.m3u8", "v0.m3u8", "v1.m3u8", *(f"{v}-{n}.ts" for v in range(2) for n in range(4))):
        (tmp_path / path).write_bytes(server._scripts[f"/{path}"][0][0].data)
    async with HlsSource.open(tmp_path / "master.m3u8", options(variant="auto")) as session:
        events = session.events()
        segments = session.segments()
        assert 1 == (await anext(segments)).variant  # at its best from the start
        session.set_variant(0)
        await asyncio.to_thread(eventually, lambda: 0 in session._engine.catalogue.timelines)
        assert 0 == (await anext(segments)).variant
        session.set_variant("auto")
        assert [1, 1] == [segment.variant async for segment in segments]
        assert 0 == session._engine.program.choice.controller.estimator.count
    loaded = [event async for event in events if isinstance(event, SegmentLoaded)]
    assert 3 <= len(loaded)  # the last one may not have been told yet
    assert all(event.cached and event.size == len(packet(0, 0, RATES[event.variant])) for event in loaded)
    assert [] == origin.server.requests


async def test_a_seek_just_after_a_wish_lands_in_the_variant_that_was_wished_for(server, store):
    origin = Origin(server, count=30)
    async with HlsSource.open(origin.url, options(look_ahead=0.1, abr=AbrOptions(max_bandwidth=1)), store) as session:
        source = session.segment_source()
        assert 0 == source.segment_at(0.0).variant
        session.set_variant(1)
        waiting = source.segment_at(50.0)
        with pytest.raises(Interrupted):
            await asyncio.to_thread(waiting.store.wait_range, 0, 1)
        segment = source.segment_at(waiting.start)
        assert (25, 1, 50.0) == (segment.index, segment.variant, segment.start)
        session.set_variant(0)
        assert source.segment_at(60.0) is None


def cut_long(origin):
    """Let the upper variant be cut every five seconds, and be nowhere."""
    listing = ["#EXTM3U", "#EXT-X-TARGETDURATION:5", "#EXT-X-PLAYLIST-TYPE:VOD"]
    for index, seconds in enumerate((5.0, 5.0, 2.0)):
        listing += [f"#EXTINF:{seconds},", f"long-{index}.ts"]
        origin.refuse(f"/long-{index}.ts", 404)
    origin.server.serve("/v1.m3u8", "\n".join([*listing, "#EXT-X-ENDLIST", ""]).encode())


async def test_what_stands_in_begins_where_the_other_was_to_be_heard_not_where_that_begins(server, store):
    origin = Origin(server)
    cut_long(origin)
    async with HlsSource.open(origin.url, options(), store) as session:
        heard = await played(session)
    assert origin.asked("/long-0.ts")  # which begins at 0, to be heard from 2 on
    assert [(index, 0) for index in range(COUNT)] == [(index, variant) for index, variant, _ in heard]


async def test_what_stands_in_at_the_target_of_a_seek_is_what_sounds_there(server, store):
    origin = Origin(server)
    cut_long(origin)
    wish = options(abr=AbrOptions(prior_rate=1e8))  # begins with the upper one
    async with HlsSource.open(origin.url, wish, store) as session:
        await session.seek(4.5)
        heard = await played(session)
    assert origin.asked("/long-0.ts")
    assert [(index, 0) for index in range(2, COUNT)] == [(index, variant) for index, variant, _ in heard]
    assert 0 == origin.asked("/0-0.ts")
