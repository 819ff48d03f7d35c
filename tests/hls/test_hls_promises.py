"""What is promised of playing: a crash costs what was under way, a seek fetches what it needs, secrets stay at home."""

import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import FaultServer
from support.waiting import eventually

import kithara
from kithara.errors import OfflineMiss, PolicyDenied
from kithara.hls import HlsOptions, HlsSource
from kithara.net import HttpClient, HttpOptions
from kithara.portal import portal

pytestmark = pytest.mark.needs("ffmpeg")


@pytest.fixture
def store(tmp_path):
    with kithara.AssetStore(tmp_path / "cache") as store:
        yield store


def opened(url, store, **options):
    async def open_it():
        return await HlsSource.open(url, HlsOptions(**options), store)

    return portal().run(open_it())


def serve(server, tree, **weaknesses):
    return {
        path.relative_to(tree.folder).as_posix(): server.serve(
            f"/{path.relative_to(tree.folder).as_posix()}", path.read_bytes(), **weaknesses
        )
        for path in tree.folder.rglob("*")
        if path.is_file()
    }


PLAYER = """
import asyncio, sys
from kithara.assets import AssetStore
from kithara.hls import HlsOptions, HlsSource

async def main(url, root):
    with AssetStore(root) as store:
        async with HlsSource.open(url, HlsOptions(variant=0), store) as session:
            async for segment in session.segments():
                print(segment.index, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def test_after_a_kill_only_missing_segments_are_fetched(tmp_path):
    tree = hlstrees.tree("ts")
    with FaultServer() as server:
        served = serve(server, tree)
        for number in (4, 5, 6):
            served[f"v0/seg00{number}.ts"].rate = 4000.0
        url = server.url("/master.m3u8")
        command = [sys.executable, "-c", textwrap.dedent(PLAYER), url, tmp_path / "cache"]
        where = Path(kithara.__file__).parents[1]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=where) as player:
            assert ["0", "1", "2", "3"] == [player.stdout.readline().strip() for _ in range(4)]
            player.send_signal(signal.SIGKILL)
        for citizen in served.values():
            citizen.rate = None
        with kithara.AssetStore(tmp_path / "cache") as store:
            session = opened(url, store, variant=0)
            with session.as_file() as reader:
                assert tree.variants[0].plain == reader.read()
            session.close()
        asked = Counter(request.path for request in server.requests)
        # the last one heard may not have been on disk yet
        assert {1} == {asked[f"/v0/seg00{number}.ts"] for number in range(3)}
        assert 1 == asked["/master.m3u8"] == asked["/v0/list.m3u8"]


def test_a_seek_into_what_is_not_here_fetches_one_or_two_segments(store):
    tree = hlstrees.tree("ts-minute")
    with FaultServer() as server:
        serve(server, tree, delay=0.06, rate=500_000.0)
        session = opened(server.url("/master.m3u8"), store, variant=1, look_ahead=0.1)
        with kithara.Decoder(session.segment_source()) as decoder:
            asked = len(server.requests)
            decoder.seek(44100 * 41)
            assert (1, 2) == decoder.read(1).shape
            segments = [request.path for request in server.requests[asked:]]
        session.close()
    assert len(segments) <= 2 + 1  # the next one may have been asked for by then
    assert {"/v1/seg019.ts", "/v1/seg020.ts", "/v1/seg021.ts"} >= set(segments)


def test_offline_the_variant_that_is_here_is_heard(store):
    tree = hlstrees.tree("fmp4-lossless")
    with FaultServer() as server:
        serve(server, tree)
        url = server.url("/master.m3u8")
        session = opened(url, store, variant=1)
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            online = decoder.read()
        session.close()

    async def open_offline():
        return await HlsSource.open(url, HlsOptions(), store, offline=True)

    session = portal().run(open_offline())
    with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
        assert np.array_equal(online, decoder.read())
        assert 1 == decoder.variant
    with pytest.raises(OfflineMiss):
        session.as_file(variant=0)
    session.close()


def test_a_public_playlist_leads_to_no_private_host(store):
    playlist = b"#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.2:%d/a.ts\n#EXT-X-ENDLIST\n"
    with FaultServer() as public, FaultServer(host="127.0.0.2") as private:
        private.serve("/a.ts", (b"G" + bytes(187)) * 10)
        public.serve("/list.m3u8", playlist % private.port)
        client = HttpClient(HttpOptions(retries=0), is_private=lambda address: str(address) == "127.0.0.2")
        session = opened(public.url("/list.m3u8"), store, http=client)
        with pytest.raises(PolicyDenied), session.as_file() as reader:
            reader.read()
        session.close()
        portal().run(client.close())
        assert [] == private.requests


def test_secrets_go_to_the_origin_they_were_given_for_and_to_no_other(tmp_path):
    playlist = "#EXTM3U\n#EXTINF:2,\na.ts\n#EXTINF:2,\nhttp://127.0.0.2:{port}/b.ts\n#EXT-X-ENDLIST\n"
    media = (b"G" + bytes(187)) * 10
    with FaultServer() as home, FaultServer(host="127.0.0.2") as elsewhere:
        elsewhere.serve("/b.ts", media)
        home.serve("/a.ts", media)
        home.serve("/list.m3u8", playlist.format(port=elsewhere.port).encode())

        async def open_it(store):
            headers = {"Authorization": "Bearer secret"}
            return await HlsSource.open(home.url("/list.m3u8"), None, store, headers=headers)

        for turn in range(2):
            if turn:  # the list comes from the cache, the segments do not
                for found in [*tmp_path.rglob("segments/0/*")]:
                    found.unlink()
            with kithara.AssetStore(tmp_path / "cache") as store:
                session = portal().run(open_it(store))
                with session.as_file() as reader:
                    assert media * 2 == reader.read()
                session.close()
        assert {"Bearer secret"} == {request.header("authorization") for request in home.requests}
        assert [None, None] == [request.header("authorization") for request in elsewhere.requests]


def test_nothing_of_a_session_is_left_when_it_is_dropped(store):
    tree = hlstrees.tree("ts-minute")
    with FaultServer() as server:
        serve(server, tree, rate=100_000.0)
        session = opened(server.url("/master.m3u8"), store, variant=2)
        reader = session.as_file()
        assert b"G" == reader.read(1)
        del session
        reader.close()
        del reader
        eventually(lambda: server.open_now() == 0)
