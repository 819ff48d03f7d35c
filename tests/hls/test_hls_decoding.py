"""From playlist to samples: lossless variants give the source back, whatever is switched and sought."""

import pickle
import random

import numpy as np
import pytest
from support import corpus, hlstrees
from support.hlssession import opened
from support.nginx import Nginx
from support.signals import quantized, signal

import kithara
from kithara.assets import shared
from kithara.errors import Unsupported

pytestmark = pytest.mark.needs("nginx", "ffmpeg")
RATE = 44100
FRAMES = RATE * hlstrees.SECONDS + corpus.EXTRA


@pytest.fixture(scope="module")
def source():
    return quantized(signal(FRAMES, RATE), 16).astype(np.int16)


@pytest.fixture
def store(tmp_path):
    with kithara.AssetStore(tmp_path / "cache") as store:
        yield store


@pytest.mark.parametrize("variant", [0, 1])
def test_a_lossless_variant_gives_the_source_sample_for_sample(store, source, variant):
    with Nginx(hlstrees.tree("fmp4-lossless").folder) as server:
        session = opened(server, store, variant=variant)
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            assert np.array_equal(source, decoder.read())
        session.close()


@pytest.mark.parametrize("splice", ["smooth", "exact"])
def test_across_a_hundred_switches_and_seeks_every_sample_is_in_its_place(splice, store, source):
    chance = random.Random(5)
    with Nginx(hlstrees.tree("fmp4-lossless").folder) as server:
        session = opened(server, store, splice=splice)
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            heard = set()
            for turn in range(100):
                decoder.set_variant(chance.choice([0, 1, "auto"]))
                if turn % 2:
                    decoder.seek(chance.randrange(FRAMES - 1))
                position = decoder.tell()
                block = decoder.read(chance.randrange(1, 6 * RATE))
                heard.add(decoder.variant)
                assert np.array_equal(source[position : position + len(block)], block), (turn, position)
                if decoder.tell() >= FRAMES:
                    decoder.seek(0)
            assert {0, 1} == heard
        session.close()


def test_the_same_codec_at_another_rate_joins_without_a_lost_sample(store):
    with Nginx(hlstrees.tree("ts").folder) as server:
        session = opened(server, store, variant=0)
        with kithara.Decoder(session.segment_source()) as decoder:
            whole = len(decoder.read())
        session.close()
        session = opened(server, store, variant=0)
        with kithara.Decoder(session.segment_source()) as decoder:
            count = len(decoder.read(6 * RATE))
            decoder.set_variant(2)
            count += len(decoder.read())
            assert (whole, 2) == (count, decoder.variant)
        session.close()


@pytest.mark.parametrize("name", ["ts", "fmp4", "fmp4-single-file", "ts-aes-iv"])
def test_packaged_audio_is_as_long_as_its_source(store, name):
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server:
        session = opened(server, store, variant=1)
        with kithara.Decoder(session.segment_source()) as decoder:
            # without an edit list in the playlist the encoder's own lead and padding cannot be told from music
            assert 0 <= len(decoder.read()) - FRAMES <= 3 * 1024
        session.close()


def test_a_decoder_over_a_variants_bytes_goes_by_its_segments(store, source):
    chance = random.Random(11)
    with Nginx(hlstrees.tree("fmp4-lossless").folder) as server:
        session = opened(server, store)
        with session.as_file(variant=1) as reader, kithara.Decoder(reader, dtype="int16") as decoder:
            assert "hls" == decoder._engine.demuxer.container
            for start in (FRAMES - 1, *(chance.randrange(FRAMES) for _ in range(20)), 0):
                assert np.array_equal(source[start : start + 5000], decoder.read_range(start=start, frames=5000).data)
            with pytest.raises(Unsupported):
                decoder.set_variant(0)
        asked = {logged.path for logged in server.requests()}
        assert not [path for path in asked if path.startswith("/v0/seg")]
        session.close()


def test_decoders_over_two_variants_and_a_listener_go_on_beside_each_other(store, source):
    with Nginx(hlstrees.tree("fmp4-lossless").folder) as server:
        session = opened(server, store)
        with session.as_file(variant=0) as one, session.as_file(variant=1) as other:
            decoders = [kithara.Decoder(what, dtype="int16") for what in (one, other, session.segment_source())]
            for start in range(0, FRAMES, 3 * RATE):
                for decoder in decoders:
                    assert np.array_equal(source[start : start + 3 * RATE], decoder.read(3 * RATE))
            for decoder in decoders:
                decoder.close()
        session.close()


def test_a_decoder_over_an_opened_playlist_is_made_again_elsewhere(store, source, tmp_path, monkeypatch):
    monkeypatch.setitem(shared._shared, None, store)
    with Nginx(hlstrees.tree("fmp4-lossless").folder) as server:
        url = server.url("master.m3u8")
        with kithara.open(url, variant=1) as reader, kithara.Decoder(reader, dtype="int16") as one:
            one.seek(123_456)
            with pickle.loads(pickle.dumps(one)) as other:
                assert np.array_equal(source[123_456:130_000], other.read(130_000 - 123_456))


def test_a_playlists_address_opens_as_a_file_and_as_a_decoder(store, source, monkeypatch):
    tree = hlstrees.tree("fmp4-lossless")
    monkeypatch.setitem(shared._shared, None, store)
    with Nginx(tree.folder) as server:
        url = server.url("master.m3u8")
        with kithara.open(url, variant=1) as reader:
            assert tree.variants[1].plain == reader.read()
        with kithara.Decoder(url, dtype="int16", variant=0) as decoder:
            assert np.array_equal(source, decoder.read())


def test_a_playlist_is_known_by_its_type_too(store, tmp_path):
    tree = hlstrees.tree("fmp4-lossless")
    folder = tmp_path / "served"
    folder.mkdir()
    for path in (tree.folder / "v1").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "radio").symlink_to(tree.variants[1].playlist)
    with Nginx(folder, "location = /radio { default_type application/vnd.apple.mpegurl; }") as server:
        with kithara.open(server.url("radio"), store=store) as reader:
            assert tree.variants[1].plain == reader.read()


def test_what_was_played_plays_again_without_the_server(store, source):
    with Nginx(hlstrees.tree("fmp4-lossless").folder) as server:
        session = opened(server, store, variant=0)
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            decoder.read()
        session.close()
        server.stop()
        session = opened(server, store, variant=0)
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            assert np.array_equal(source, decoder.read())
        session.close()
