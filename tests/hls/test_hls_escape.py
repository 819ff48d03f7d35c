"""Out of a download that is doomed: with no other list at hand, midway, from a key that never comes."""

import asyncio
import threading

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import finish, head, send, stall
from support.hlsorigin import COUNT, RATES, Origin, encrypted, options, packet, played
from support.hlssession import opened
from support.waiting import Background, eventually, held_up

import kithara
from kithara.abr import AbrOptions
from kithara.errors import DecryptFailed
from kithara.hls import HlsSource, SegmentGivenUp, VariantDecided, choice, listings
from kithara.hls.slots import Shelf
from kithara.net import HttpOptions


def hang(server, path, *steps):
    """Let requests for *path* hang for ever, after *steps*."""
    server._scripts[path] = []
    server.on(path, *steps, stall())


def whole(heard):
    return [(index, packet(variant, index, RATES[variant])) for index, variant, _ in heard] == [
        (index, data) for index, _, data in heard
    ]


async def test_a_download_is_given_up_for_a_variant_whose_list_was_never_asked_for(server, store, liveness):
    origin = Origin(server)
    hang(server, "/1-3.ts", head(200, {"Content-Length": 64_000}), send(packet(1, 3, RATES[1])[:2000]))
    async with HlsSource.open(origin.url, options(variant=1, look_ahead=0.1), store) as session:
        heard = []
        async with asyncio.timeout(liveness(30.0)):
            async for segment in session.segments():
                heard.append((segment.index, segment.variant))
                if segment.index == 2:
                    assert 0 == origin.asked("/v0.m3u8")
                    session.set_variant("auto")
    assert list(range(COUNT)) == [index for index, _ in heard]
    assert (3, 0) in heard
    assert 1 == origin.asked("/v0.m3u8")


async def test_a_first_download_that_hangs_is_given_up_before_anything_is_known_of_the_network(
    server, store, liveness, monkeypatch
):
    monkeypatch.setattr(choice, "STALLED", 0.3)
    origin = Origin(server)
    hang(server, "/1-0.ts")
    async with HlsSource.open(origin.url, options(abr=AbrOptions(prior_rate=1e7)), store) as session:
        assert 1 == session.variant
        async with asyncio.timeout(liveness(20.0)):
            heard = await played(session)
    assert whole(heard)
    assert (0, 0) == heard[0][:2]


@pytest.mark.parametrize("what", ["key", "init section"])
async def test_a_variant_whose_key_or_init_section_never_comes_is_left(what, server, store, liveness, monkeypatch):
    monkeypatch.setattr(choice, "STALLED", 0.3)
    origin = Origin(server, keyed=what == "key")
    if what == "key":
        hang(server, "/k1")
    else:
        listing = server._scripts["/v1.m3u8"][0][0].data
        server.serve("/v1.m3u8", listing.replace(b"#EXTINF", b'#EXT-X-MAP:URI="init1"\n#EXTINF', 1))
        hang(server, "/init1")
    async with HlsSource.open(origin.url, options(abr=AbrOptions(prior_rate=1e7)), store) as session:
        events = session.events()
        async with asyncio.timeout(liveness(20.0)):
            heard = await played(session)
    assert whole(heard)
    assert [0] * COUNT == [variant for _, variant, _ in heard]
    told = [event async for event in events]
    decided = [event for event in told if isinstance(event, VariantDecided)]
    assert ["start", "abandoned"] == [event.reason for event in decided if event.index == 0]
    assert 1 == len([event for event in told if isinstance(event, SegmentGivenUp)])


async def test_a_variants_list_that_never_comes_holds_up_no_other(server, store, liveness, monkeypatch):
    monkeypatch.setattr(listings, "PATIENCE", 0.1)
    origin = Origin(server)
    hang(server, "/v1.m3u8")
    http = HttpOptions(retries=0, headers=600, idle=600)
    async with HlsSource.open(origin.url, options(http=http), store) as session:
        async with asyncio.timeout(liveness(20.0)):
            heard = await played(session)
    assert [0] * COUNT == [variant for _, variant, _ in heard]
    assert whole(heard)
    assert 1 == origin.asked("/v1.m3u8")


async def test_a_first_list_that_never_comes_does_not_keep_the_others_from_playing(
    server, store, liveness, monkeypatch
):
    monkeypatch.setattr(listings, "LONG_PATIENCE", 0.1)
    origin = Origin(server)
    hang(server, "/v0.m3u8")
    http = HttpOptions(retries=0, headers=600, idle=600)
    async with asyncio.timeout(liveness(20.0)):
        async with HlsSource.open(origin.url, options(http=http), store) as session:
            heard = await played(session)
    assert [1] * COUNT == [variant for _, variant, _ in heard]


@pytest.mark.needs("ffmpeg")
def test_a_segment_that_is_being_heard_is_left_for_another_variant_without_losing_a_sample(server, store):
    tree = hlstrees.tree("fmp4-lossless")
    for path in tree.folder.rglob("*.m*"):
        server.serve(f"/{path.relative_to(tree.folder)}", path.read_bytes())
    body = tree.variants[1].files[4].read_bytes()
    assert "seg003.m4s" == tree.variants[1].files[4].name
    hang(server, "/v1/seg003.m4s", head(200, {"Content-Length": len(body)}), send(body[: len(body) // 2]))
    with kithara.Decoder(tree.folder / "v0/list.m3u8", dtype="int16") as decoder:
        expected = decoder.read()
    session = opened(server, store, variant=1, look_ahead=0.1)
    events = session.events()
    with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
        head_of_it = decoder.read(9 * 44100 + 1000)  # into the segment that hangs
        assert 1 == decoder.variant
        decoder.set_variant("auto")
        rest = Background(decoder.read)
        got = np.concatenate((head_of_it, rest.result(40.0)))
    session.close()
    assert np.array_equal(expected, got)
    told = [(event.variant, event.reason) for event in events if isinstance(event, VariantDecided)]
    assert (0, "abandoned") in told


async def test_bytes_that_somebody_reads_are_not_given_up_with_the_listeners_segment(server, store):
    origin = Origin(server)
    body = packet(1, 3, RATES[1])
    server._scripts["/1-3.ts"] = []
    server.on(
        "/1-3.ts", head(200, {"Content-Length": len(body)}), send(body[:2000]),
        lambda exchange: exchange.server.pass_gate("go on"), send(body[2000:]), finish(),
    )  # fmt: skip
    async with HlsSource.open(origin.url, options(variant=1, look_ahead=0.1), store) as session:
        heard = []
        reader = session.as_file(variant=1)
        reading = asyncio.ensure_future(asyncio.to_thread(reader.read))
        async for segment in session.segments():
            heard.append(segment.index)
            if segment.index == 2:
                session.set_variant("auto")
                assert await server.sees(lambda: origin.asked("/1-3.ts") == 1)
                server.open_gate("go on")
        assert b"".join(packet(1, index, RATES[1]) for index in range(COUNT)) == await reading
        reader.close()
    assert list(range(COUNT)) == heard
    assert {1} == {origin.asked(f"/1-{index}.ts") for index in range(COUNT)}


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_who_asks_while_a_torn_segment_is_settled_is_told_of_it_and_nothing_is_left(
    moment, server, store, tmp_path, monkeypatch
):
    origin = Origin(server, keyed=True)
    body = encrypted(packet(0, 1, RATES[0]))
    server.serve("/0-1.ts", body[:-16] + bytes(16))
    throwing, asked = threading.Event(), threading.Event()
    discards = []
    discard = Shelf.discard

    def slowly(self, key):
        discards.append(key)
        last = len(discards) == 2  # the first time it is to be begun anew
        if last and moment == "after":
            discard(self, key)
        if last:
            throwing.set()
            assert asked.wait(30)
        discard(self, key)

    monkeypatch.setattr(Shelf, "discard", slowly)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        listener = session.segments()
        await anext(listener)
        assert await asyncio.to_thread(throwing.wait, 30)
        following = asyncio.ensure_future(anext(listener))
        await asyncio.to_thread(eventually, lambda: session._engine.program.chain[1].taken)
        asked.set()
        with pytest.raises(DecryptFailed):
            await following
    assert 2 == origin.asked("/0-1.ts")
    kept = [path.name for path in (tmp_path / "cache").rglob("segments/0/*") if path.name.startswith("1-")]
    assert [] == kept


async def test_leaving_while_a_torn_segment_is_begun_anew_leaves_no_file(server, store, tmp_path, monkeypatch):
    origin = Origin(server, keyed=True)
    body = encrypted(packet(0, 1, RATES[0]))
    server.serve("/0-1.ts", body[:-16] + bytes(16))
    begun, leaving = held_up(monkeypatch, Shelf, "reopen")
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        listener = session.segments()
        await anext(listener)
        assert await asyncio.to_thread(begun.wait, 30)
        await listener.aclose()
        task = session._engine.program.chain[1].task
        stopping = asyncio.ensure_future(session.stop())
        await asyncio.to_thread(eventually, lambda: task.cancelling() or task.done())
        leaving.set()
        await stopping
    kept = [path.name for path in (tmp_path / "cache").rglob("segments/0/*") if path.name.startswith("1-")]
    assert [] == kept
