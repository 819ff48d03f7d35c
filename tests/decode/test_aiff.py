"""AIFF and AIFF-C: every encoding that is decoded, tags, headers that lie."""

from __future__ import annotations

import numpy as np
import pytest
from support import corpus
from support.metered import Metered

import kithara.decode as decode
from kithara.errors import DecodeError, UnsupportedMedia
from kithara.media import sniff


def encoded(tmp_path, codec: str, *options: str) -> bytes:
    path = tmp_path / "made.aiff"
    source = corpus.file("wav-16", seconds=3).path
    corpus.run("ffmpeg", "-v", "error", "-y", "-i", source, "-c:a", codec, *options, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("codec", "within"),
    [
        ("pcm_s8", 0.02), ("pcm_s16be", 0), ("pcm_s16le", 0), ("pcm_s24be", 0), ("pcm_s32be", 0), ("pcm_f32be", 0),
        ("pcm_f64be", 0), ("pcm_alaw", 0.05), ("pcm_mulaw", 0.05),
    ],
)  # fmt: skip
def test_every_encoding_gives_the_source(tmp_path, codec, within):
    expected = decode.load(corpus.file("wav-16", seconds=3).path)[0]
    got, rate = decode.load(encoded(tmp_path, codec))
    assert (44_100, expected.shape) == (rate, got.shape)
    assert np.abs(expected - got).max() <= within


def test_an_unknown_compression_is_named(tmp_path):
    body = encoded(tmp_path, "pcm_f32be").replace(b"fl32", b"ima4")
    with pytest.raises(UnsupportedMedia, match="ima4"):
        decode.Decoder(body)


def test_tags_are_read(tmp_path):
    body = encoded(tmp_path, "pcm_s16be", "-metadata", "title=Prelude", "-metadata", "comment=live")
    with decode.Decoder(body) as decoder:
        assert "Prelude" == decoder.tags["title"]
    body = encoded(tmp_path, "pcm_s16be", "-write_id3v2", "1", "-metadata", "artist=Orpheus")
    with decode.Decoder(body) as decoder:
        assert "Orpheus" == decoder.tags["artist"]


def test_a_seek_is_one_request():
    entry = corpus.file("aiff", seconds=60)
    data = entry.path.read_bytes()
    reader = Metered(data)
    with decode.Decoder(reader) as decoder:
        assert entry.frames == decoder.frames
        decoder.read(10)
        reader.start_counting()
        decoder.seek(1_000_000)
        got = decoder.read(4096)
    assert 1 == len(reader.requests)
    assert np.array_equal(decode.load(data)[0][1_000_000:1_004_096], got)


def test_the_first_bytes_say_what_it_is():
    assert "aiff" == sniff(corpus.file("aiff", seconds=3).path.read_bytes()[:64]).container


@pytest.mark.parametrize("cut", [12, 20, 30, 54])
def test_a_header_that_is_cut_off_is_an_error_of_ours(cut):
    with pytest.raises(DecodeError):
        decode.Decoder(corpus.file("aiff", seconds=3).path.read_bytes()[:cut])


def test_a_length_that_lies_costs_what_is_there():
    data = bytearray(corpus.file("aiff", seconds=3).path.read_bytes())
    at = data.index(b"COMM") + 10
    data[at : at + 4] = b"\xff\xff\xff\xff"
    at = data.index(b"SSND") + 4
    data[at : at + 4] = b"\xff\xff\xff\xf0"
    assert 3 * 44_100 + corpus.EXTRA == len(decode.load(bytes(data))[0])
