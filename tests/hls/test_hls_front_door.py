"""HLS through the front door: `kithara.open`, `Decoder`, `load` and `AudioStream` take a playlist like a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import hlstrees
from support.nginx import Nginx

import kithara
from kithara.assets import shared

pytestmark = pytest.mark.needs("nginx", "ffmpeg")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[kithara.AssetStore]:
    with kithara.AssetStore(tmp_path / "cache") as store:
        monkeypatch.setitem(shared._shared, None, store)
        yield store


@pytest.mark.parametrize("name", ["ts", "fmp4", "ts-aes"])
def test_open_gives_the_bytes_of_one_variant(name: str, store: kithara.AssetStore) -> None:
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server:
        for index, variant in enumerate(tree.variants):
            with kithara.open(server.url("master.m3u8"), variant=index) as reader:
                assert variant.plain == reader.read()


def test_a_playlist_by_type_alone_is_opened_as_one(store: kithara.AssetStore) -> None:
    tree = hlstrees.tree("ts")
    rename = f"location = /listen {{ default_type application/vnd.apple.mpegurl; alias {tree.master}; }}"
    with Nginx(tree.folder, rename) as server, kithara.open(server.url("listen"), variant=0) as reader:
        assert tree.variants[0].plain == reader.read()


def test_lossless_segments_decode_to_the_source(store: kithara.AssetStore) -> None:
    tree = hlstrees.tree("fmp4-aac-flac")
    with Nginx(tree.folder) as server:
        with kithara.Decoder(server.url("master.m3u8"), variant=len(tree.variants) - 1, dtype="int16") as decoder:
            whole = decoder.read()
            decoder.seek(300_000)
            part = decoder.read(4096)
        assert np.array_equal(whole[300_000:304_096], part)
        asked = len(server.requests())
        again, _ = kithara.load(server.url("master.m3u8"), dtype="int16", variant=len(tree.variants) - 1)
        assert np.array_equal(whole, again)
        assert asked == len(server.requests())


def test_an_audio_stream_plays_and_seeks(store: kithara.AssetStore) -> None:
    tree = hlstrees.tree("fmp4")
    with Nginx(tree.folder) as server, kithara.AudioStream(server.url("master.m3u8")) as stream:
        assert len(tree.variants) == len(stream.variants)
        assert (1000, 2) == stream.read(1000).shape
        stream.seek(10.0)
        assert (1000, 2) == stream.read(1000).shape
        assert stream.position == pytest.approx(10.0 + 1000 / 44100)
