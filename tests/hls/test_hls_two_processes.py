"""Two processes play one playlist at once, from one cache: each gets every byte, and each byte is fetched once."""

import asyncio
import hashlib
import subprocess
import sys
from collections import Counter

import pytest
from support import hlstrees
from support.faultserver import FaultServer
from support.hlsorigin import COUNT, RATES, Origin, options, packet, played
from support.nginx import Nginx
from support.waiting import eventually

from kithara.assets import AssetStore
from kithara.hls import HlsOptions, HlsSource
from kithara.hls.names import segment_name
from kithara.portal import portal

PLAYER = """
import asyncio, hashlib, sys
from kithara.assets import AssetStore
from kithara.hls import HlsOptions, HlsSource

async def main(url, root):
    with AssetStore(root) as store:
        async with HlsSource.open(url, HlsOptions(variant=0), store) as session:
            digest = hashlib.sha256()
            async for chunk in session.stream(variant=0):
                digest.update(chunk)
            print(digest.hexdigest())

asyncio.run(main(*sys.argv[1:]))
"""


async def gathered(stream):
    return b"".join([chunk async for chunk in stream])


@pytest.mark.needs("nginx", "ffmpeg")
@pytest.mark.parametrize("name", ["fmp4", "fmp4-aac-flac"])
async def test_two_stores_of_one_root_play_one_playlist_at_once(name, tmp_path):
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server, AssetStore(tmp_path / "cache") as ours, AssetStore(tmp_path / "cache") as theirs:
        url = server.url("master.m3u8")
        async with HlsSource.open(url, HlsOptions(), ours) as one, HlsSource.open(url, HlsOptions(), theirs) as other:
            got = await asyncio.gather(gathered(one.stream(variant=0)), gathered(other.stream(variant=0)))
            assert [tree.variants[0].plain] * 2 == got
        assert [] == ours.verify()


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["fmp4", "fmp4-single-file", "ts-aes"])
def test_two_processes_share_what_each_fetches(name, root, tmp_path):
    tree = hlstrees.tree(name)
    with FaultServer() as server:
        for path in tree.folder.rglob("*"):
            if path.is_file():
                server.serve(f"/{path.relative_to(tree.folder).as_posix()}", path.read_bytes(), delay=0.01)
        command = [sys.executable, "-c", PLAYER, server.url("/master.m3u8"), tmp_path / "cache"]
        players = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
        heard = [player.communicate(timeout=120)[0].strip() for player in players]
        assert [hashlib.sha256(tree.variants[0].plain).hexdigest()] * 2 == heard
        asked = Counter((request.path, request.header("range")) for request in server.requests)
        media = {place: count for place, count in asked.items() if place[0].endswith((".ts", ".m4s"))}
        # whoever follows a writer just as it leaves asks again
        assert sum(media.values()) < 1.5 * len(media)


async def test_a_segment_whose_file_another_process_begins_anew_is_asked_for_again(tmp_path):
    plain = packet(0, 1, RATES[0])
    with FaultServer() as server, AssetStore(tmp_path / "cache") as ours, AssetStore(tmp_path / "cache") as theirs:
        origin = Origin(server)
        async with HlsSource.open(origin.url, options(variant=0), ours) as session:
            segment = session._engine.catalogue.timelines[0].segment(1)
            key = session._engine._shelf._key(segment_name(0, segment), segment.uri)
        held = theirs.open_streaming(key)
        assert "active" == held.status

        async def begin_anew():
            held.close()
            anew = theirs.open_streaming(key)
            anew.set_length(len(plain))
            anew.write_at(0, plain)
            anew.commit()
            anew.close()

        async with HlsSource.open(origin.url, options(variant=0), ours) as session:
            listening = asyncio.ensure_future(played(session))
            await asyncio.to_thread(followed, session)
            await portal().arun(begin_anew())  # where the session looks, so that it cannot take over in between
            assert [packet(0, n, RATES[0]) for n in range(COUNT)] == [data for _, _, data in await listening]


def followed(session):
    """Wait until the session has the second segment in hand, which the other process holds."""

    def has_it():
        return [slot for slot in session._engine.program.chain if slot.index == 1 and slot.taken and slot.transfer]

    eventually(has_it)
