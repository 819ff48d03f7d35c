"""Presentations by a real packager, served by nginx: the bytes, the order, the cache."""

import asyncio
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from support import hlstrees
from support.nginx import Nginx

import kithara
from kithara.assets import AssetStore
from kithara.errors import Closed, InvalidSeek, OfflineMiss
from kithara.hls import HlsOptions, HlsSource

pytestmark = pytest.mark.needs("nginx", "ffmpeg")
TREES = sorted(hlstrees.RECIPES)


@pytest.fixture
def store(tmp_path):
    with AssetStore(tmp_path / "cache") as store:
        yield store


async def listen(session, heard):
    async for segment in session.segments():
        heard.append(segment.index)


async def gathered(stream):
    return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize("name", TREES)
async def test_a_variants_bytes_are_its_init_and_segments_decrypted(name, store):
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server:
        async with HlsSource.open(server.url("master.m3u8"), HlsOptions(), store) as session:
            assert tree.bandwidths == [variant.bandwidth for variant in session.variants]
            for number, made in enumerate(tree.variants):
                assert made.plain == await gathered(session.stream(variant=number))


@pytest.mark.parametrize("name", TREES)
async def test_nothing_is_asked_for_twice(name, store):
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server:
        url = server.url("master.m3u8")
        async with HlsSource.open(url, HlsOptions(variant=0), store) as session:
            assert tree.variants[0].plain == await gathered(session.stream())
        asked = [(logged.path, logged.range) for logged in server.requests()]
        assert len(set(asked)) == len(asked)
        server.stop()
        async with HlsSource.open(url, HlsOptions(variant=0), store, offline=True) as session:
            assert tree.variants[0].plain == await gathered(session.stream())
        async with HlsSource.open(url, HlsOptions(variant=0), store) as session:
            assert tree.variants[0].plain == await gathered(session.stream())


async def test_the_cache_shows_a_presentation_by_its_own_address(store):
    tree = hlstrees.tree("ts")
    with Nginx(tree.folder) as server:
        url = server.url("master.m3u8")
        async with HlsSource.open(f"{url}?token=secret", HlsOptions(variant=0), store) as session:
            await gathered(session.stream())
        assert [f"{url}?…"] == [asset.label for asset in store.assets()]


async def test_a_cache_that_lacks_something_says_so_offline(store):
    tree = hlstrees.tree("ts")
    with Nginx(tree.folder) as server:
        url = server.url("master.m3u8")
        with pytest.raises(OfflineMiss):
            await HlsSource.open(url, HlsOptions(), store, offline=True)
        async with HlsSource.open(url, HlsOptions(variant=0, look_ahead=0.1), store) as session:
            async for segment in session.segments():
                if segment.index == 1:
                    break
        async with HlsSource.open(url, HlsOptions(variant=0), store, offline=True) as session:
            played = []
            with pytest.raises(OfflineMiss):
                await listen(session, played)
            assert [0, 1] == played[:2]
        assert [] == [logged for logged in server.requests() if "v1" in logged.path]


async def test_segments_come_in_order_with_their_times(store):
    tree = hlstrees.tree("fmp4")
    with Nginx(tree.folder) as server:
        async with HlsSource.open(server.url("master.m3u8"), HlsOptions(variant=1), store) as session:
            segments = [segment async for segment in session.segments()]
            assert list(range(7)) == [segment.index for segment in segments]
            assert [1] * 7 == [segment.variant for segment in segments]
            assert 24.04 == pytest.approx(session.duration, abs=0.05)
            for before, after in pairwise(segments):
                assert after.start == pytest.approx(before.start + before.duration)
            assert 1 == len({id(segment.init) for segment in segments})
            assert "fmp4" == segments[0].media.container


async def test_a_presentation_without_a_cache_plays_too():
    tree = hlstrees.tree("ts-aes")
    with Nginx(tree.folder) as server:
        async with HlsSource.open(server.url("master.m3u8"), HlsOptions(variant=1)) as session:
            assert tree.variants[1].plain == await gathered(session.stream())


async def test_a_media_playlist_is_a_presentation_of_one_variant(store):
    tree = hlstrees.tree("fmp4")
    with Nginx(tree.folder) as server:
        async with HlsSource.open_with_cache(server.url("v2/list.m3u8"), None, store) as session:
            assert (1, 0) == (len(session.variants), session.variant)
            assert tree.variants[2].plain == await gathered(session.stream())


async def test_a_reader_seeks_in_a_variants_bytes(store):
    tree = hlstrees.tree("fmp4-single-file")
    plain = tree.variants[0].plain
    with Nginx(tree.folder) as server:
        async with HlsSource.open(server.url("master.m3u8"), None, store) as session:

            def read():
                with session.as_file(variant=0) as reader:
                    reader.seek(-1000, 2)
                    tail = reader.read()
                    reader.seek(50_000)
                    return reader.length, tail, reader.read(100_000)

            assert (len(plain), plain[-1000:], plain[50_000:150_000]) == await asyncio.to_thread(read)


async def test_a_seek_fetches_nothing_that_lies_between(store):
    tree = hlstrees.tree("ts")
    with Nginx(tree.folder) as server:
        async with HlsSource.open(server.url("master.m3u8"), HlsOptions(variant=0, look_ahead=0.1), store) as session:
            heard = []
            async for segment in session.segments():
                heard.append(segment.index)
                if segment.index == 0:
                    assert 16.0 == pytest.approx(await session.seek(17.5), abs=0.1)
            assert [0, 4, 5, 6] == heard
            with pytest.raises(InvalidSeek):
                await session.seek(100)
        fetched = {logged.path.rpartition("/")[2] for logged in server.requests()}
        assert {"seg000.ts", "seg004.ts"} <= fetched
        assert not {"seg002.ts", "seg003.ts"} & fetched


async def test_a_pinned_variant_is_heard_from_the_next_segment_on(store):
    tree = hlstrees.tree("ts")
    with Nginx(tree.folder) as server:
        async with HlsSource.open(server.url("master.m3u8"), HlsOptions(variant=0), store) as session:
            heard = []
            async for segment in session.segments():
                heard.append((segment.index, segment.variant))
                if segment.index == 2:
                    session.set_variant(2)
            assert [(0, 0), (1, 0), (2, 0), (3, 2), (4, 2), (5, 2), (6, 2)] == heard
            for none in (7, -1, 1.5):
                with pytest.raises(ValueError, match=f"variant {none}"):
                    session.set_variant(none)


async def test_only_wanted_playlists_are_fetched(store):
    tree = hlstrees.tree("ts")
    with Nginx(tree.folder) as server:
        async with HlsSource.open(server.url("master.m3u8"), HlsOptions(variant=1), store):
            pass
        assert ["/master.m3u8", "/v1/list.m3u8"] == [logged.path for logged in server.requests(2)]


async def test_a_closed_session_says_so(store):
    tree = hlstrees.tree("ts")
    with Nginx(tree.folder) as server:
        session = await HlsSource.open(server.url("master.m3u8"), None, store)
        await session.stop()
        await session.stop()
        with pytest.raises(Closed):
            session.as_file()
        with pytest.raises(Closed):
            session.set_variant(0)


async def test_keys_are_kept_as_they_were_processed_and_for_the_owner_only(tmp_path, store):
    tree = hlstrees.tree("ts-aes")
    (tree.folder / "secret.key").stat()
    wrapped = bytes(byte ^ 0x55 for byte in hlstrees.KEY)
    seen = []

    async def unwrap(raw, context):
        seen.append((raw, context.url.rpartition("/")[2]))
        return bytes(byte ^ 0x55 for byte in raw)

    served = tmp_path / "served"
    served.mkdir()
    for path in tree.folder.rglob("*"):
        if path.is_file() and "plain" not in path.parts:
            target = served / path.relative_to(tree.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wrapped if path.name == "secret.key" else path.read_bytes())
    with Nginx(served) as server:
        async with HlsSource.open(
            server.url("master.m3u8"), HlsOptions(variant=0, key_processor=unwrap), store
        ) as session:
            assert tree.variants[0].plain == await gathered(session.stream())
        assert [(wrapped, "secret.key")] == seen
        server.stop()
        async with HlsSource.open(server.url("master.m3u8"), HlsOptions(variant=0), store, offline=True) as session:
            assert tree.variants[0].plain == await gathered(session.stream())
    (key,) = (tmp_path / "cache").rglob("keys/*")
    assert (hlstrees.KEY, 0o600) == (key.read_bytes(), key.stat().st_mode & 0o777)


def test_a_session_dropped_after_the_portals_end_starts_no_other():
    tree = hlstrees.tree("ts")
    script = (
        "import sys, threading, kithara\n"
        "from kithara.portal import portal\n"
        "async def opened():\n"
        "    return await kithara.HlsSource.open(sys.argv[1])\n"
        "session = portal().run(opened())\n"
        "portal().close()\n"  # as at the interpreter's exit, after which no thread can be started
        "del session\n"
        "print([thread.name for thread in threading.enumerate() if 'portal' in thread.name])\n"
    )
    with Nginx(tree.folder) as server:
        done = subprocess.run(
            [sys.executable, "-c", script, server.url("master.m3u8")],
            cwd=Path(kithara.__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert (0, "[]\n", "") == (done.returncode, done.stdout, done.stderr)
