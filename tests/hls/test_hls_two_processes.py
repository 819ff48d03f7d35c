"""Two processes, here two stores of one root, play one playlist at once: each gets every byte."""

import asyncio

import pytest
from support import hlstrees
from support.nginx import Nginx

from kithara.assets import AssetStore
from kithara.hls import HlsOptions, HlsSource

pytestmark = pytest.mark.needs("nginx", "ffmpeg")


async def gathered(stream):
    return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize("name", sorted(hlstrees.RECIPES)[:2])
async def test_two_stores_of_one_root_play_one_playlist_at_once(name, tmp_path):
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server, AssetStore(tmp_path / "cache") as ours, AssetStore(tmp_path / "cache") as theirs:
        url = server.url("master.m3u8")
        async with HlsSource.open(url, HlsOptions(), ours) as one, HlsSource.open(url, HlsOptions(), theirs) as other:
            got = await asyncio.gather(gathered(one.stream(variant=0)), gathered(other.stream(variant=0)))
            assert [tree.variants[0].plain] * 2 == got
        assert [] == ours.verify()
