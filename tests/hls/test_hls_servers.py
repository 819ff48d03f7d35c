"""What servers, caches and playlists do besides failing outright: each with what a listener must get all the same."""

import asyncio
import gzip

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import Citizen, FaultServer, finish, head, redirect, send, stall, until, when
from support.hlsorigin import COUNT, IV, KEY, RATES, Origin, encrypted, options, packet, played

import kithara
from kithara.abr import AbrOptions
from kithara.errors import (
    ContentEncodingRejected,
    DecodeError,
    DecryptFailed,
    HttpStatus,
    Interrupted,
    KitharaError,
    RangeMismatch,
    RetryExhausted,
    TooLarge,
)
from kithara.hls import HlsOptions, HlsSource
from kithara.net import HttpOptions
from kithara.portal import portal


async def gathered(stream):
    return b"".join([chunk async for chunk in stream])


def listing(*lines):
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:2", *lines, "#EXT-X-ENDLIST", ""]).encode()


def scripted(server, path, *steps):
    """Answer *path* with *steps* once, and then as before."""
    before, server._scripts[path] = server._scripts[path], []
    server.on(path, *steps)
    server._scripts[path] += before


PIECE = b"G" + bytes(187)


# ── playlists ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/master.m3u8", "/v0.m3u8"])
@pytest.mark.parametrize("status", [500, 503])
async def test_a_playlist_whose_server_stumbles_is_asked_for_again(server, store, path, status):
    origin = Origin(server)
    scripted(server, path, head(status, {"Content-Length": 0, "Retry-After": 0}))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert COUNT == len(await played(session))
    assert 2 == origin.asked(path)


async def test_a_variant_whose_server_never_recovers_is_left_for_another(server, store):
    origin = Origin(server)
    origin.refuse("/v0.m3u8", 503)
    async with HlsSource.open(origin.url, options(), store) as session:
        assert [1] * COUNT == [variant for _, variant, _ in await played(session)]
    assert 2 == origin.asked("/v0.m3u8")  # one retry is what these options allow


async def test_a_master_whose_server_never_recovers_is_told(server, store):
    origin = Origin(server)
    origin.refuse("/master.m3u8", 503)
    with pytest.raises(RetryExhausted):
        await HlsSource.open(origin.url, options(), store)


@pytest.mark.parametrize("kind", ["text/plain", "audio/x-mpegurl", "application/octet-stream", "video/mp4", None])
async def test_the_body_says_what_it_is_and_not_its_type(server, store, kind):
    origin = Origin(server)
    for path in ("/master.m3u8", "/v0.m3u8", *(f"/0-{index}.ts" for index in range(COUNT))):
        server._scripts[path][0][0].content_type = kind
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert [packet(0, n, RATES[0]) for n in range(COUNT)] == [data for _, _, data in await played(session)]


async def test_a_complete_list_is_read_once_whatever_the_server_makes_of_it_later(server, store):
    origin = Origin(server)
    async with HlsSource.open(origin.url, options(variant=0, look_ahead=0.1), store) as session:
        found = []
        async for segment in session.segments():
            found.append(segment.index)
            server.serve("/v0.m3u8", listing("#EXTINF:2,", "elsewhere.ts"))
    assert ([*range(COUNT)], 1) == (found, origin.asked("/v0.m3u8"))


async def test_presentations_that_differ_by_a_declared_parameter_do_not_share_a_cache(server, store):
    lists = {number: Citizen(listing("#EXTINF:2,", f"{number}.ts")) for number in (1, 2)}
    server.on("/play.m3u8", when(lambda request: "id=1" in request.target, [lists[1]], [lists[2]]))
    for number in (1, 2):
        server.serve(f"/{number}.ts", PIECE * number)
    for _ in range(2):
        for number in (1, 2):
            url = server.url(f"/play.m3u8?id={number}&token=x")
            async with HlsSource.open(url, options(query=("id",)), store) as session:
                assert PIECE * number == await gathered(session.stream())
    other = server.url("/play.m3u8?id=1&token=y")  # a new token is no new presentation
    async with HlsSource.open(other, options(query=("id",)), store) as session:
        assert PIECE == await gathered(session.stream())
    assert 4 == len(server.requests)


@pytest.mark.parametrize(("patience", "variant"), [(60.0, 1), (0.05, 0)], ids=["it comes", "it does not come in time"])
def test_the_wish_for_a_variant_holds_up_the_bytes_and_never_the_question(server, monkeypatch, patience, variant):
    monkeypatch.setattr("kithara.hls.wish.WISH", patience)
    origin = Origin(server)
    lists = server._scripts["/v1.m3u8"][0]
    server._scripts["/v1.m3u8"] = []
    server.on("/v1.m3u8", until("list"), *lists)
    session = portal().run(opened(origin.url))
    segments = session.segment_source()
    first = segments.segment_at(0.0)
    segments.set_variant(1)
    following = segments.next(first)  # the list is still kept back: whoever waited for it would wait for ever
    if variant:
        assert "active" == following.store.status
        server.open_gate("list")
    with pytest.raises(Interrupted):
        following.store.wait_range(0, 1, 60.0)
    assert (1, variant) == (segments.next(first).index, segments.next(first).variant)
    server.open_gate("list")
    session.close()


async def opened(url):
    return await HlsSource.open(url, options(variant=0))


# ── segments ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_segment_that_falls_silent_is_gone_on_with_where_it_stopped(server, store):
    origin = Origin(server)
    whole = packet(0, 1, RATES[0])
    first = head(200, {"Content-Length": len(whole), "Accept-Ranges": "bytes", "ETag": '"v1"'})
    scripted(server, "/0-1.ts", first, send(whole[:5000]), stall())
    http = HttpOptions(retries=2, idle=0.5)
    async with HlsSource.open(origin.url, HlsOptions(variant=0, http=http), store) as session:
        assert whole == (await played(session))[1][2]
    ranges = [request.header("range") for request in server.requests if request.path == "/0-1.ts"]
    assert [True, True] == [len(ranges) >= 2, (ranges[1] or "").startswith("bytes=5000-")]


async def test_a_server_without_ranges_gives_each_piece_of_one_file(server, store):
    body = b"".join(PIECE[:1] + bytes([number]) * 187 for number in range(40))
    server.serve("/all.ts", body, ranges=False)
    lines = [line for at in (0, 10, 20, 30) for line in (f"#EXT-X-BYTERANGE:1880@{at * 188}", "#EXTINF:2,", "all.ts")]
    server.serve("/list.m3u8", listing(*lines))
    async with HlsSource.open(server.url("/list.m3u8"), options(), store) as session:
        assert body == await gathered(session.stream())


async def test_a_range_that_was_not_asked_for_is_refused_and_not_kept(server, store, tmp_path):
    body = PIECE * 40
    server.serve("/list.m3u8", listing("#EXT-X-BYTERANGE:1880@1880", "#EXTINF:2,", "all.ts"))
    server.on("/all.ts", head(206, range=(0, 1880, len(body))), send(body[:1880]))
    async with HlsSource.open(server.url("/list.m3u8"), options(), store) as session:
        with pytest.raises(KitharaError) as failure:
            await played(session)
    assert isinstance(failure.value.__cause__ or failure.value, RangeMismatch)
    assert [] == [path for path in (tmp_path / "cache").rglob("segments/0/*") if path.stat().st_size]


async def test_a_range_beyond_the_end_of_its_file_is_told(server, store):
    server.serve("/all.ts", PIECE * 10)
    server.serve("/list.m3u8", listing("#EXT-X-BYTERANGE:1880@940", "#EXTINF:2,", "all.ts"))
    async with HlsSource.open(server.url("/list.m3u8"), options(), store) as session:
        with pytest.raises(RangeMismatch):
            await played(session)


async def test_a_segment_that_was_whole_but_for_the_last_word_is_asked_for_no_more(server, store):
    origin = Origin(server)
    async with HlsSource.open(origin.url, options(variant=0, look_ahead=0.1), store) as session:
        key = session._engine.part(0, 3).key  # wanted from now on
        await asyncio.to_thread(session._engine.part(0, 3).store.wait_range, 0, 1 << 40)
    store.remove_resource(key)
    part = store.open_streaming(key)
    part.write_at(0, packet(0, 3, RATES[0]))
    part.close()
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert [packet(0, n, RATES[0]) for n in range(COUNT)] == [data for _, _, data in await played(session)]


async def test_a_compressed_segment_is_refused(server, store):
    origin = Origin(server)
    packed = gzip.compress(packet(0, 1, RATES[0]))
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", head(200, {"Content-Length": len(packed), "Content-Encoding": "gzip"}), send(packed))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        with pytest.raises(ContentEncodingRejected):
            await played(session)
    async with HlsSource.open(origin.url, options(), store) as session:
        assert packet(1, 1, RATES[1]) == (await played(session))[1][2]


async def test_a_segment_may_be_redirected_and_is_kept_under_its_own_name(server, store):
    origin = Origin(server)
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", redirect("/elsewhere.ts", 307))
    server.serve("/elsewhere.ts", packet(0, 1, RATES[0]))
    for _ in range(2):
        async with HlsSource.open(origin.url, options(variant=0), store) as session:
            assert packet(0, 1, RATES[0]) == (await played(session))[1][2]
    assert (1, 1) == (origin.asked("/0-1.ts"), origin.asked("/elsewhere.ts"))


async def test_a_segment_that_claims_gigabytes_is_refused_unread(server, store):
    origin = Origin(server)
    server._scripts["/0-1.ts"] = []
    server.on("/0-1.ts", head(200, {"Content-Length": 4 << 30}), send(PIECE), stall())
    async with HlsSource.open(origin.url, options(variant=0), store) as session, asyncio.timeout(60):
        with pytest.raises(TooLarge):
            await played(session)


@pytest.mark.parametrize("times", [1, 9])
async def test_an_empty_segment_is_asked_for_once_more_and_then_an_error(server, store, times):
    origin = Origin(server)
    whole = server._scripts["/0-1.ts"]
    server._scripts["/0-1.ts"] = []
    for _ in range(times):
        server.on("/0-1.ts", head(200, {"Content-Length": 0}))
    server._scripts["/0-1.ts"] += whole
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        if times == 1:
            assert packet(0, 1, RATES[0]) == (await played(session))[1][2]
        else:
            with pytest.raises(KitharaError):
                await played(session)


async def test_of_equal_variants_the_other_one_helps_before_a_lesser(server, store):
    origin = Origin(server, rates=(64_000, 128_000, 128_000, 256_000))
    origin.refuse("/1-0.ts", 404)
    quick = AbrOptions(prior_rate=1e9, max_bandwidth=130_000)
    async with HlsSource.open(origin.url, options(abr=quick), store) as session:
        first = session.variant
        assert first in (1, 2)
        origin.refuse(f"/{first}-0.ts", 404)
        assert (0, 3 - first) == (await played(session))[0][:2]


async def test_leaving_while_a_retry_is_waited_for_is_prompt(server, store, liveness):
    origin = Origin(server)
    origin.refuse("/0-0.ts", 503)
    async with HlsSource.open(origin.url, HlsOptions(variant=0, http=HttpOptions(retries=9)), store) as session:
        waiting = asyncio.ensure_future(anext(session.segments()))
        assert await server.sees(lambda: origin.asked("/0-0.ts") >= 2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(liveness(2.0)):
            await session.stop()


# ── keys ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_server_that_stumbles_is_asked_again(server, store):
    origin = Origin(server, keyed=True)
    scripted(server, "/k0", head(503, {"Content-Length": 0}))
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert COUNT == len(await played(session))
    assert 2 == origin.asked("/k0")


async def test_what_decrypts_to_no_media_is_never_kept(server, store, tmp_path):
    origin = Origin(server, keyed=True)
    server.serve("/0-1.ts", encrypted(bytes(5000)))  # padding and length are right
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        with pytest.raises(DecryptFailed):
            await played(session)
    kept = [path.name for path in (tmp_path / "cache").rglob("segments/0/*") if path.name.startswith("1-")]
    assert [] == kept


async def test_a_key_elsewhere_sees_no_secret(server, store):
    with FaultServer(host="127.0.0.2") as elsewhere:
        elsewhere.serve("/k", KEY)
        key = f'#EXT-X-KEY:METHOD=AES-128,URI="{elsewhere.url("/k")}",IV=0x{IV.hex()}'
        server.serve("/list.m3u8", listing(key, "#EXTINF:2,", "a.ts"))
        server.serve("/a.ts", encrypted(PIECE * 9))
        headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "X-Api-Key": "secret"}
        async with HlsSource.open(server.url("/list.m3u8"), options(), store, headers=headers) as session:
            assert PIECE * 9 == await gathered(session.stream())
        (request,) = elsewhere.requests
        assert [None] * 3 == [request.header(name) for name in ("authorization", "cookie", "x-api-key")]


@pytest.mark.needs("ffmpeg")
async def test_every_key_of_a_presentation_that_changes_them_is_fetched_once(server, store):
    tree = hlstrees.tree("ts-rekeyed")
    for path in tree.folder.rglob("*"):
        if path.is_file():
            server.serve(f"/{path.relative_to(tree.folder).as_posix()}", path.read_bytes())
    async with HlsSource.open(server.url("/master.m3u8"), options(variant=0), store) as session:
        assert tree.variants[0].plain == await gathered(session.stream())
    keys = [request.path for request in server.requests if request.path.endswith(".key")]
    assert len(set(keys)) == len(keys) == 7


# ── init sections ──────────────────────────────────────────────────────────────────────────────────────────────────


def serve_fmp4(server, *, init=True):
    tree = hlstrees.tree("fmp4")
    for path in tree.folder.rglob("*"):
        if path.is_file() and (init or not path.name.startswith("init")):
            server.serve(f"/{path.relative_to(tree.folder).as_posix()}", path.read_bytes())
    return tree


@pytest.mark.needs("ffmpeg")
def test_an_init_section_that_is_gone_is_told(server, store):
    tree = serve_fmp4(server)
    for path in tree.folder.glob("v0/init*"):
        server._scripts[f"/v0/{path.name}"] = []
        server.on(f"/v0/{path.name}", head(404, {"Content-Length": 0}), finish())
    with pytest.raises(HttpStatus), kithara.open(server.url("/master.m3u8"), store=store, variant=0) as reader:
        reader.read()


@pytest.mark.needs("ffmpeg")
async def test_an_init_section_that_is_gone_leads_to_another_variant(server, store):
    tree = serve_fmp4(server)
    for path in tree.folder.glob("v0/init*"):
        server._scripts[f"/v0/{path.name}"] = []
        server.on(f"/v0/{path.name}", head(404, {"Content-Length": 0}), finish())
    async with HlsSource.open(server.url("/master.m3u8"), options(), store) as session:
        async for segment in session.segments():
            assert 0 != segment.variant


@pytest.mark.needs("ffmpeg")
def test_fragments_without_a_map_are_told(server):
    tree = serve_fmp4(server)
    text = (tree.folder / "v0" / "list.m3u8").read_text()
    server.serve("/v0/list.m3u8", "\n".join(line for line in text.split("\n") if "EXT-X-MAP" not in line).encode())
    with kithara.open(server.url("/v0/list.m3u8"), store=False) as reader:
        with pytest.raises(DecodeError):
            kithara.Decoder(reader)


# ── time and disk ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["ts-no-pns", "fmp4-lossless"])
@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_durations_that_are_off_cost_no_sample(tmp_path, name, factor):
    tree = hlstrees.tree(name)
    own = tree.variants[0].playlist.parent
    for path in own.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lines = (own / "list.m3u8").read_text().split("\n")
    wrong = [
        f"#EXTINF:{float(line[8:].rstrip(',')) * factor:.6f}," if line.startswith("#EXTINF") else line for line in lines
    ]
    (tmp_path / "list.m3u8").write_text("\n".join(wrong))
    with kithara.Decoder(own / "list.m3u8") as decoder:
        expected = decoder.read()
    with kithara.Decoder(tmp_path / "list.m3u8") as decoder:
        assert np.array_equal(expected, decoder.read())


@pytest.mark.needs("ffmpeg")
def test_seeks_around_every_boundary_are_exact():
    tree = hlstrees.tree("fmp4-lossless")
    with kithara.Decoder(tree.variants[1].playlist, dtype="int16") as decoder:
        whole = decoder.read()
        for boundary in range(0, len(whole), 3 * 44100):
            for start in (boundary - 1, boundary, boundary + 1):
                got = decoder.read_range(start=max(start, 0), frames=100).data
                assert np.array_equal(whole[max(start, 0) : max(start, 0) + 100], got), start
        assert 0 == len(decoder.read_range(start=len(whole), frames=1).data)
        assert 1 == len(decoder.read_range(start=len(whole) - 1, frames=9).data)


@pytest.mark.parametrize("harm", ["cut", "emptied", "removed", "another's"])
async def test_a_cached_segment_that_was_harmed_is_fetched_again(server, store, tmp_path, harm):
    origin = Origin(server)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        expected = await played(session)
    (path,) = [path for path in (tmp_path / "cache").rglob("segments/0/2-*") if path.suffix == ".ts"]
    if harm == "removed":
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes({"cut": whole[:1000], "emptied": b"", "another's": whole + b"more"}[harm])
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert expected == await played(session)
    assert (2, 1) == (origin.asked("/0-2.ts"), origin.asked("/0-3.ts"))
