"""What servers do to HLS: dead variants, lost segments, wrong keys, and a link that changes."""

import asyncio
import gzip
import zlib
from itertools import pairwise

import pytest
from support import hlstrees
from support.faultserver import finish, head, send, stall, until
from support.hlsorigin import COUNT, IV, KEY, RATES, Origin, encrypted, options, packet, played
from support.nginx import Nginx
from support.waiting import eventually, held_up

from kithara._core.memory_resource import MemoryResource
from kithara.abr import AbrOptions
from kithara.errors import (
    DecodeError,
    DecryptFailed,
    HttpStatus,
    KeyInvalid,
    PlaylistInvalid,
    PlaylistTooLarge,
    Unsupported,
)
from kithara.hls import (
    HlsOptions,
    HlsSource,
    SegmentGivenUp,
    SegmentLoaded,
    VariantApplied,
    VariantDecided,
    documents,
    fetcher,
)
from kithara.hls.engine import Engine
from kithara.hls.slots import Shelf, State
from kithara.hls.transfer import Transfer
from kithara.net import HttpClient, HttpOptions


async def test_a_dead_variant_does_not_keep_the_others_from_playing(server, store):
    origin = Origin(server)
    origin.refuse("/v0.m3u8", 404)
    async with HlsSource.open(origin.url, options(), store) as session:
        assert [(n, 1, packet(1, n, RATES[1])) for n in range(COUNT)] == await played(session)
    assert 1 == origin.asked("/v0.m3u8")


async def test_when_every_variant_is_dead_the_first_failure_is_told(server, store):
    origin = Origin(server)
    origin.refuse("/v0.m3u8", 404)
    origin.refuse("/v1.m3u8", 410)
    with pytest.raises(HttpStatus) as failure:
        await HlsSource.open(origin.url, options(), store)
    assert 404 == failure.value.status


async def test_a_master_that_is_gone_is_told_at_once(server, store):
    origin = Origin(server)
    origin.refuse("/master.m3u8", 404)
    with pytest.raises(HttpStatus):
        await HlsSource.open(origin.url, options(), store)
    assert 1 == origin.asked("/master.m3u8")


async def test_a_lost_segment_comes_from_another_variant(server, store):
    origin = Origin(server)
    origin.refuse("/0-2.ts", 404)
    async with HlsSource.open(origin.url, options(abr=AbrOptions(max_bandwidth=1)), store) as session:
        events = session.events()
        heard = await played(session)
        assert [0, 0, 1, 0, 0, 0] == [variant for _, variant, _ in heard]
        assert [packet(v, n, RATES[v]) for n, v, _ in heard] == [data for _, _, data in heard]
    told = [event async for event in events]
    assert [404] == [event.error.status for event in told if isinstance(event, SegmentGivenUp)]
    assert 1 == origin.asked("/0-2.ts")


async def test_a_lost_segment_of_a_pinned_variant_is_an_error_at_its_place(server, store):
    origin = Origin(server)
    origin.refuse("/0-2.ts", 404)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        heard = []
        with pytest.raises(HttpStatus):
            await played(session, heard)
        assert [0, 1] == [index for index, _, _ in heard]


async def test_what_was_refused_ahead_of_the_listener_is_told_before_it_is_asked_for_again(server, store):
    origin = Origin(server)
    origin.refuse("/0-2.ts", 404)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        segments, program = session.segments(), session._engine.program
        await anext(segments)
        await asyncio.to_thread(eventually, lambda: program.chain[-1].state is State.FAILED)
        assert 1 == (await anext(segments)).index
        with pytest.raises(HttpStatus):
            await anext(segments)
        assert 1 == origin.asked("/0-2.ts")


async def test_a_server_that_stumbles_is_asked_again(server, store):
    origin = Origin(server)
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", head(503, {"Content-Length": 0}))
    server.on("/0-1.ts", origin.citizens[0, 1])
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert packet(0, 1, RATES[0]) == (await played(session))[1][2]
    assert 2 == origin.asked("/0-1.ts")


async def test_a_body_that_breaks_off_is_gone_on_with(server, store):
    origin = Origin(server)
    whole = packet(0, 1, RATES[0])
    server._scripts["/0-1.ts"] = []
    server.on(
        "/0-1.ts", head(200, {"Content-Length": len(whole), "Accept-Ranges": "bytes", "ETag": '"a"'}),
        send(whole[:5000]), finish(),
    )  # fmt: skip
    server.on("/0-1.ts", origin.citizens[0, 1])
    origin.citizens[0, 1].etag = '"a"'
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert whole == (await played(session))[1][2]
    again = [request for request in server.requests if request.path == "/0-1.ts"][1]
    assert "bytes=5000-" in (again.header("range") or "")


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>please log in</html>", "text/html"), (b"<html>please log in</html>", "video/mp2t"), (b"G", "video/mp2t")],
    ids=["a web page", "a web page in disguise", "next to nothing"],
)
async def test_what_is_no_media_is_never_kept(server, store, tmp_path, body, kind):
    origin = Origin(server)
    origin.answer("/0-1.ts", body, kind)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        with pytest.raises(DecodeError):
            await played(session)
    assert [] == [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and b"html" in path.read_bytes()]
    origin.server.serve("/0-1.ts", packet(0, 1, RATES[0]))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert COUNT == len(await played(session))


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "kept in memory"])
async def test_a_segment_that_was_a_web_page_once_is_fetched_anew_at_its_own_length(server, store, cached):
    origin = Origin(server)
    page = b"<html>please log in</html>"
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", head(200, {"Content-Length": len(page), "Content-Type": "video/mp2t"}), send(page))
    server.on("/0-1.ts", origin.citizens[0, 1])
    async with HlsSource.open(origin.url, options(variant=0), store if cached else None) as session:
        assert [packet(0, n, RATES[0]) for n in range(COUNT)] == [data for _, _, data in await played(session)]
    assert 2 == origin.asked("/0-1.ts")


BAD_KEYS = {
    "15 bytes": KEY[:15],
    "17 bytes": KEY + b"x",
    "nothing": b"",
    "a web page": b"<html>" * 100,
    "huge": bytes(5000),
}


@pytest.mark.parametrize("secret", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_a_key_of_another_length_is_told_and_never_kept(server, store, tmp_path, secret):
    origin = Origin(server, keyed=True)
    server.serve("/k0", secret)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        with pytest.raises(KeyInvalid):
            await played(session)
    assert 2 == origin.asked("/k0")
    assert [] == list((tmp_path / "cache").rglob("keys/*"))


async def test_a_key_of_another_length_is_asked_for_once_more(server, store):
    origin = Origin(server, keyed=True)
    server._scripts["/k0"] = []
    server.on("/k0", head(200, {"Content-Length": 15}), send(KEY[:15]))
    server.on("/k0", head(200, {"Content-Length": 16}), send(KEY))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert [packet(0, n, RATES[0]) for n in range(COUNT)] == [data for _, _, data in await played(session)]


JUNK = {"nothing": None, "text": "k" * 16, "too little": KEY[:5]}


@pytest.mark.parametrize("given", JUNK.values(), ids=JUNK)
async def test_what_a_key_processor_gives_instead_of_a_key_is_told(server, store, given):
    origin = Origin(server, keyed=True)
    wrong = options(variant=0, key_processor=lambda key, context: given)
    async with HlsSource.open(origin.url, wrong, store) as session:
        with pytest.raises(KeyInvalid):
            await played(session)


@pytest.mark.needs("nginx", "ffmpeg")
async def test_a_mistake_while_an_init_section_is_fetched_is_told_to_who_waits_for_it(monkeypatch):
    def broken(client, url, *details, **more):
        if "init" in url:
            raise RuntimeError("a mistake")
        return Transfer(client, url, *details, **more)

    with Nginx(hlstrees.tree("fmp4").folder) as nginx:
        monkeypatch.setattr(fetcher, "Transfer", broken)
        async with HlsSource.open(nginx.url("master.m3u8"), HlsOptions(variant=0)) as session:
            with pytest.raises(RuntimeError, match="a mistake"):
                await asyncio.wait_for(anext(session.segments()), 10.0)


async def test_a_wrong_key_is_asked_for_once_more_and_nothing_is_kept(server, store, tmp_path):
    origin = Origin(server, keyed=True)
    server.serve("/k0", bytes(16))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        with pytest.raises(DecryptFailed) as failure:
            await played(session)
    assert 2 == origin.asked("/k0")
    assert KEY.hex() not in str(failure.value)
    assert [] == [path for path in (tmp_path / "cache").rglob("segments/*/*") if path.is_file()]


async def test_a_key_that_was_replaced_at_the_server_is_found_again(server, store):
    origin = Origin(server, keyed=True)
    server._scripts["/k0"] = []
    server.on("/k0", head(200, {"Content-Length": 16}), send(bytes(16)))
    server.on("/k0", head(200, {"Content-Length": 16}), send(KEY))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert [packet(0, n, RATES[0]) for n in range(COUNT)] == [data for _, _, data in await played(session)]


async def test_each_key_is_fetched_once(server, store):
    origin = Origin(server, keyed=True)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert COUNT == len(await played(session))
    assert 1 == origin.asked("/k0")


async def test_keys_that_change_for_ever_are_not_held_for_ever(server, store, monkeypatch):
    monkeypatch.setattr(documents, "MOST_KEYS", 2)
    origin = Origin(server, keyed=True)
    tag, rest = b'#EXT-X-KEY:METHOD=AES-128,URI="k0"', server._scripts["/v0.m3u8"][0][0].data
    lines = []
    for line in rest.split(b"\n"):
        if line.startswith(b"#EXTINF"):
            server.serve(f"/rotated-{len(lines)}", KEY)
            lines.append(tag.replace(b"k0", f"rotated-{len(lines)}".encode()) + f",IV=0x{IV.hex()}".encode())
        lines.append(line)
    server.serve("/v0.m3u8", b"\n".join(lines))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        heard = await played(session)
        assert len(session._engine._documents._keys) <= 2
    assert [packet(0, index, RATES[0]) for index in range(COUNT)] == [data for _, _, data in heard]
    asked = [request.path for request in server.requests if "rotated" in request.path]
    assert (COUNT, COUNT) == (len(asked), len(set(asked)))


async def test_a_key_that_is_refused_leads_to_another_variant(server, store):
    origin = Origin(server, keyed=True)
    origin.refuse("/k0", 403)
    async with HlsSource.open(origin.url, options(), store) as session:
        assert [(n, 1, packet(1, n, RATES[1])) for n in range(COUNT)] == await played(session)


TORN = {
    "cut short": lambda body: body[:-8],
    "a block lost": lambda body: body[:-16],
    "bad padding": lambda body: body[:-16] + bytes(16),
}


@pytest.mark.parametrize("tear", TORN.values(), ids=TORN)
async def test_an_encrypted_segment_that_is_torn_is_never_kept(server, store, tmp_path, tear):
    origin = Origin(server, keyed=True)
    server.serve("/0-1.ts", tear(encrypted(packet(0, 1, RATES[0]))))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        with pytest.raises(DecryptFailed):
            await played(session)
    kept = [path.name for path in (tmp_path / "cache").rglob("segments/0/*") if path.name.startswith("1-")]
    assert [] == kept


async def test_who_takes_a_segment_while_it_is_thrown_away_gets_the_one_that_is_fetched_anew(
    server, store, monkeypatch
):
    origin = Origin(server, keyed=True)
    plain = packet(0, 1, RATES[0])
    good = encrypted(plain)
    server._scripts["/0-1.ts"] = []
    for body in (good[:-16] + bytes(16), good):
        server.on("/0-1.ts", head(200, {"Content-Length": len(body)}), send(body))
    thrown, taken = held_up(monkeypatch, Shelf, "reopen")
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        listener = session.segments()
        await anext(listener)
        assert await asyncio.to_thread(thrown.wait, 30)
        following = asyncio.ensure_future(anext(listener))
        await asyncio.to_thread(eventually, lambda: session._engine.program.chain[1].taken)
        taken.set()
        segment = await following
        buffer = bytearray(segment.store.length)
        segment.store.read_at(0, buffer)
        assert (1, plain) == (segment.index, bytes(buffer))
        await listener.aclose()


UNPLAYABLE = {
    "SAMPLE-AES": (b'#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n', Unsupported),
    "pictures": (b"#EXTM3U\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n", Unsupported),
    "no segments": (b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-ENDLIST\n", PlaylistInvalid),
    "a master in a master": (b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmaster.m3u8\n", PlaylistInvalid),
    "a web page": (b"<html></html>", PlaylistInvalid),
    "too large": (b"#EXTM3U\n" + b"#" * (9 << 20), PlaylistTooLarge),
}


@pytest.mark.parametrize(("body", "error"), UNPLAYABLE.values(), ids=UNPLAYABLE)
async def test_an_unplayable_variant_is_told_when_it_is_opened(server, store, body, error):
    origin = Origin(server)
    server.serve("/v0.m3u8", body)
    with pytest.raises(error):
        await HlsSource.open(origin.url, options(variant=0), store)
    async with HlsSource.open(origin.url, options(), store) as session:
        assert [1] * COUNT == [variant for _, variant, _ in await played(session)]


async def test_a_playlist_redirected_elsewhere_is_the_base_of_its_segments(server, store):
    origin = Origin(server)
    listing = server._scripts.pop("/v0.m3u8")[0][0].data
    server.serve("/deep/v0.m3u8", listing)
    server._scripts["/v0.m3u8"] = []
    server.on("/v0.m3u8", head(302, {"Location": "/deep/v0.m3u8", "Content-Length": 0}))
    for index in range(COUNT):
        server.serve(f"/deep/0-{index}.ts", packet(7, index, RATES[0]))
    for offline in (False, True):
        async with HlsSource.open(origin.url, options(variant=0), store, offline=offline) as session:
            assert packet(7, 0, RATES[0]) == (await played(session))[0][2]


async def test_signed_queries_arrive_byte_for_byte(server, store):
    token = "sig=a%2Fb+c%3D%3D&x=~%7e"
    server.serve("/list.m3u8", f"#EXTM3U\n#EXTINF:2,\na.ts?{token}\n#EXT-X-ENDLIST\n".encode())
    server.serve(f"/a.ts?{token}", packet(0, 0, 64_000))
    server.serve("/a.ts", packet(0, 0, 64_000))
    async with HlsSource.open(server.url("/list.m3u8"), options(), store) as session:
        assert 1 == len(await played(session))
    assert [f"/a.ts?{token}"] == [request.target for request in server.requests if "a.ts" in request.target]


async def test_a_fast_link_climbs_and_tells_what_was_decided_and_applied(server, store):
    origin = Origin(server, count=12)
    async with HlsSource.open(origin.url, options(look_ahead=6.0), store) as session:
        events = session.events()
        heard = [variant for _, variant, _ in await played(session)]
    told = [event async for event in events]
    assert (0, 1) == (heard[0], heard[-1])
    decided = {event.ticket: event.variant for event in told if isinstance(event, VariantDecided)}
    applied = {event.ticket: event.variant for event in told if isinstance(event, VariantApplied)}
    assert applied
    assert applied.items() <= decided.items()
    loaded = [event for event in told if isinstance(event, SegmentLoaded)]
    assert 11 <= len(loaded)  # the last one may still be on its way to the disk
    assert not any(event.cached for event in loaded)


async def test_cache_hits_say_nothing_about_the_network(server, store):
    origin = Origin(server, count=12)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        await played(session)
    async with HlsSource.open(origin.url, options(), store) as session:
        heard = [variant for _, variant, _ in await played(session)]
        assert 0 == session._engine.program.choice.controller.estimator.count
    assert [0] * 12 == heard


async def test_no_more_than_the_look_ahead_is_fetched(server, store):
    origin = Origin(server, count=30)
    async with HlsSource.open(origin.url, options(variant=0, look_ahead=6.0), store) as session:
        events = session.events()
        listener = session.segments()
        await anext(listener)
        loaded = []
        async for event in events:
            loaded += [event.index] if isinstance(event, SegmentLoaded) else []
            if len(loaded) == 3:
                break
        assert [0, 1, 2] == loaded
        await anext(listener)
        assert await server.sees(lambda: origin.asked("/0-3.ts") == 1)
        assert 0 == origin.asked("/0-4.ts")
        await listener.aclose()


async def test_leaving_ends_a_download_that_hangs(server, store, liveness):
    origin = Origin(server)
    server._scripts["/0-0.ts"] = []
    server.on("/0-0.ts", head(200, {"Content-Length": 1000}), lambda exchange: exchange.wait_for_client(None))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        waiting = asyncio.ensure_future(anext(session.segments()))
        assert await server.sees(lambda: origin.asked("/0-0.ts") == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(liveness(2.0)):
            await session.stop()


async def test_a_variant_that_stalls_is_left_while_its_request_hangs(server, store, liveness):
    origin = Origin(server, count=8)
    for index in range(4, 6):
        origin.citizens[1, index].rate = 200.0
    async with HlsSource.open(origin.url, options(look_ahead=6.0), store) as session:
        events = session.events()
        async with asyncio.timeout(liveness(20.0)):
            heard = await played(session)
    told = [event async for event in events]
    assert list(range(8)) == [index for index, _, _ in heard]
    assert [packet(v, n, RATES[v]) for n, v, _ in heard] == [data for _, _, data in heard]
    assert 1 in [variant for _, variant, _ in heard]
    assert [0, 0] == [variant for _, variant, _ in heard][4:6]
    assert [None] == list({event.error for event in told if isinstance(event, SegmentGivenUp)})


async def test_an_address_that_has_expired_is_asked_for_anew(server, store):
    origin = Origin(server)
    listing = server._scripts["/v0.m3u8"][0][0].data
    async with HlsSource.open(origin.url, options(variant=0, look_ahead=0.1), store) as session:
        heard = []
        async for segment in session.segments():
            heard.append(segment.index)
            if segment.index == 1:
                for index in range(COUNT):
                    origin.refuse(f"/0-{index}.ts", 403)
                    server.serve(f"/new-{index}.ts", packet(0, index, RATES[0]))
                server.serve("/v0.m3u8", listing.replace(b"\n0-", b"\nnew-"))
        assert list(range(COUNT)) == heard
    assert 2 == origin.asked("/v0.m3u8")


async def test_an_address_that_stays_refused_is_an_error(server, store):
    origin = Origin(server)
    origin.refuse("/0-1.ts", 403)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        with pytest.raises(HttpStatus):
            await played(session)
    assert 2 == origin.asked("/v0.m3u8")


PACKED = {
    "gzip": ("gzip", gzip.compress),
    "gzip, not told": (None, gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without its header": ("deflate", lambda plain: zlib.compress(plain, wbits=-15)),
}


@pytest.mark.parametrize(("told", "pack"), PACKED.values(), ids=PACKED)
async def test_a_compressed_playlist_is_read(server, store, told, pack):
    origin = Origin(server)
    packed = pack(server._scripts["/v0.m3u8"][0][0].data)
    headers = {"Content-Length": len(packed), **({"Content-Encoding": told} if told else {})}
    server._scripts["/v0.m3u8"] = []
    server.on("/v0.m3u8", head(200, headers), send(packed))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert COUNT == len(await played(session))


async def test_a_playlist_that_unpacks_to_too_much_is_refused(server, store):
    origin = Origin(server)
    server.serve("/v0.m3u8", gzip.compress(b"#EXTM3U\n" + b"#" * (64 << 20)))
    with pytest.raises(PlaylistTooLarge):
        await HlsSource.open(origin.url, options(variant=0), store)


async def test_a_cached_playlist_that_was_damaged_is_fetched_again(server, store, tmp_path):
    origin = Origin(server)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        await played(session)
    for name in ("master.m3u8", "variant_0.m3u8"):
        (cached,) = (tmp_path / "cache").rglob(name)
        cached.write_bytes(b"<html>")
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert COUNT == len(await played(session))
    assert 2 == origin.asked("/master.m3u8") == origin.asked("/v0.m3u8")
    assert 1 == origin.asked("/0-3.ts")


async def test_a_gap_in_one_variant_comes_from_the_other_and_a_gap_in_all_is_skipped(server, store):
    origin = Origin(server)
    for number, gaps in ((0, (2, 4)), (1, (4,))):
        listing = server._scripts[f"/v{number}.m3u8"][0][0].data
        for index in gaps:
            listing = listing.replace(f"{number}-{index}.ts".encode(), f"#EXT-X-GAP\n{number}-{index}.ts".encode())
        server.serve(f"/v{number}.m3u8", listing)
    async with HlsSource.open(origin.url, options(abr=AbrOptions(max_bandwidth=1), variant="auto"), store) as session:
        heard = [(index, variant) for index, variant, _ in await played(session)]
    assert [(0, 0), (1, 0), (2, 1), (3, 0), (5, 0)] == heard
    assert 0 == origin.asked("/0-2.ts") == origin.asked("/0-4.ts") == origin.asked("/1-4.ts")


@pytest.mark.parametrize("beyond", [0.5, 20.0], ids=["into what is decided", "past it"])
async def test_a_change_that_a_seek_overtakes_is_told_when_it_is_heard_and_dropped_when_not(server, store, beyond):
    origin = Origin(server, count=12)
    async with HlsSource.open(origin.url, options(look_ahead=6.0), store) as session:
        events = session.events()
        segments = session.segments()
        heard = [(await anext(segments)).variant]
        async for event in events:
            if isinstance(event, VariantDecided) and event.variant == 1:
                break
        place = (event.index + 1) * session.duration / 12  # the segment behind the one that it was decided for
        async for event in events:
            if isinstance(event, SegmentLoaded) and event.index == int(place * 12 / session.duration):
                break
        await session.seek(min(place + beyond, session.duration - 0.1))
        async for segment in segments:
            heard.append(segment.variant)
            break
        await segments.aclose()
    applied = [event.variant for event in [event async for event in events] if isinstance(event, VariantApplied)]
    changes = [after for before, after in pairwise(heard) if after != before]
    assert heard == ([0, 1] if beyond < 1 else [0, 0])
    assert changes == applied


@pytest.mark.parametrize("told", [True, False], ids=["of a told length", "of an untold length"])
async def test_how_a_segment_came_is_learned_before_its_end_can_be_read(server, told):
    body = packet(0, 0, RATES[0])
    server.on("/a.ts", head(200, {"Content-Length": len(body)} if told else {}), send(body), finish())
    store = MemoryResource()
    seen = []

    async def commit(resource):
        seen.append("kept")
        resource.commit()

    async with HttpClient(HttpOptions()) as client:
        transfer = Transfer(client, server.url("/a.ts"), store, commit=commit)
        transfer.arrived = lambda: seen.append((transfer.received, store.total == store.length))
        await transfer.run()
    assert [(len(body), False), "kept"] == seen


async def test_a_seek_ends_the_wait_for_a_segment_that_hangs(server, store, liveness):
    origin = Origin(server)
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", head(200, {"Content-Length": 1000}), stall())
    async with HlsSource.open(origin.url, options(variant=0, look_ahead=0.1), store) as session:
        segments = session.segments()
        assert 0 == (await anext(segments)).index
        waiting = asyncio.ensure_future(anext(segments))
        assert await server.sees(lambda: origin.asked("/0-1.ts") == 1)
        await asyncio.to_thread(lambda: asyncio.run(session.seek(9.0)))  # from another thread's loop
        async with asyncio.timeout(liveness(5.0)):
            assert 4 == (await waiting).index
        await segments.aclose()


async def test_what_becomes_of_a_segment_that_was_left_by_a_seek_is_no_error(server, store):
    origin = Origin(server)
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", until("refuse"), head(404, {"Content-Length": 0}))
    async with HlsSource.open(origin.url, options(variant=0, look_ahead=0.1), store) as session:
        segments = session.segments()
        assert 0 == (await anext(segments)).index
        waiting = asyncio.ensure_future(anext(segments))
        assert await server.sees(lambda: origin.asked("/0-1.ts") == 1)
        await session.seek(9.0)
        server.open_gate("refuse")
        assert 4 == (await waiting).index
        await segments.aclose()


@pytest.mark.parametrize("asked", ["before", "after"])
async def test_a_mistake_of_ours_leaves_nobody_waiting(server, store, liveness, monkeypatch, asked):
    origin = Origin(server)
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", head(200, {"Content-Length": 1000}), stall())

    def mistaken(self):
        raise ZeroDivisionError("a mistake")

    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        segments = session.segments()
        assert 0 == (await anext(segments)).index
        assert await server.sees(lambda: origin.asked("/0-1.ts") == 1)
        waiting = asyncio.ensure_future(anext(segments)) if asked == "before" else None
        if waiting is not None:
            await asyncio.to_thread(eventually, lambda: session._engine.program.chain[1].taken)
        monkeypatch.setattr(Engine, "_drop_stale", mistaken)
        session._engine._call()
        async with asyncio.timeout(liveness(5.0)):
            if waiting is None:
                await asyncio.to_thread(eventually, lambda: session._engine._mistake is not None)
            with pytest.raises(ZeroDivisionError):
                await (waiting or anext(segments))


async def test_an_init_section_that_is_wanted_as_the_session_ends_is_not_waited_for(server, store, monkeypatch):
    origin = Origin(server)
    listing = server._scripts["/v0.m3u8"][0][0].data
    server.serve("/v0.m3u8", listing.replace(b"#EXTINF", b'#EXT-X-MAP:URI="init"\n#EXTINF', 1))
    session = await HlsSource.open(origin.url, options(variant=0), store)
    engine, sections = session._engine, []
    close = engine._documents.close

    async def late():
        sections.append(engine._shelf.init(0, engine.catalogue.timelines[0].segment(0)))
        engine._fetcher.begin_init(sections[0])
        await close()

    monkeypatch.setattr(engine._documents, "close", late)
    await session.stop()
    assert "cancelled" == sections[0].store.status
    assert sections[0].task is None
