"""Segments as one stream: joints that lose nothing, seeks across them, variants, gaps, discontinuities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support import corpus, presented
from support.presented import Listed, Presentation
from support.signals import lag

import kithara.decode as decode
from kithara.source import SegmentSource

KINDS = {"ts": presented.TS, "fmp4": presented.FMP4}


@pytest.fixture(scope="session")
def listed(tmp_path_factory):
    """``listed(kind, bitrate)`` → the segments ffmpeg makes of the corpus signal."""
    made: dict[tuple[str, str], Listed] = {}

    def make(kind: str, *options: str) -> Listed:
        key = (kind, " ".join(options))
        if key not in made:
            folder = tmp_path_factory.mktemp("hls")
            source = corpus.file("wav-16").path
            codec = ("-c:a", "aac", "-b:a", "128k", "-aac_pns", "0", *options)
            if kind == "packed":
                corpus.run("ffmpeg", "-v", "error", "-i", source, *codec, "-f", "segment", "-segment_time", "2",
                           "-segment_list", folder / "list.m3u8", folder / "part%03d.aac")  # fmt: skip
                made[key] = presented.read_list(folder)
            else:
                made[key] = presented.packaged(folder, source, *codec, *KINDS[kind])
        return made[key]

    return make


def plain() -> np.ndarray:
    """The same encoding as one ADTS stream, raw."""
    return decode.load(corpus.file("adts-no-pns").path)[0]


def test_the_fake_is_a_segment_source(listed):
    assert isinstance(Presentation(listed("ts")), SegmentSource)


@pytest.mark.parametrize("kind", ["ts", "fmp4", "packed"])
def test_segments_decode_to_what_one_stream_does(kind, listed):
    made = listed(kind)
    with decode.Decoder(Presentation(made), gapless="off") as decoder:
        got = decoder.read()
    expected, _ = decode.load((made.init or b"") + b"".join(made.files), gapless="off")
    assert abs(len(plain()) - len(got)) <= 1024
    assert np.array_equal(expected, got)


@pytest.mark.parametrize("kind", ["ts", "fmp4"])
def test_any_seek_gives_the_samples_of_a_decode_from_the_start(kind, listed):
    source = Presentation(listed(kind))
    with decode.Decoder(source) as decoder:
        whole = decoder.read()
        edges = np.cumsum(source.lists[0].seconds) * decoder.spec.rate
        chance = np.random.default_rng(8)
        places = [
            0,
            5,
            len(whole) - 10,
            len(whole) + 50_000,
            *(int(edge) + d for edge in edges[:-1] for d in (-1, 0, 1500)),
        ]
        for place in [*places, *chance.integers(0, len(whole), 30).tolist()]:
            decoder.seek(place)
            assert np.array_equal(whole[place : place + 4096], decoder.read(4096)), f"at {place}"


@pytest.mark.parametrize("kind", ["ts", "fmp4"])
def test_switching_between_variants_loses_and_repeats_nothing(kind, listed):
    low, high = listed(kind, "-b:a", "64k"), listed(kind)
    with decode.Decoder(Presentation(low, high, pattern=(0, 1))) as decoder:
        got = decoder.read()
    source = corpus.pcm(corpus.file("wav-16")).astype(float)
    assert abs(len(got) - len(plain())) <= 1024
    for start in (0, 80_000, 300_000, 480_000):
        assert 1024 == lag(got[start : start + 40_000, 0], source[start : start + 40_000, 0])


def test_a_variant_of_another_rate_is_converted_to_the_streams(listed):
    low, high = listed("fmp4", "-ar", "22050"), listed("fmp4")
    with decode.Decoder(Presentation(high, low, pattern=(0, 1))) as decoder:
        assert 44100 == decoder.spec.rate
        got = decoder.read()
    source = corpus.pcm(corpus.file("wav-16")).astype(float)
    assert abs(len(got) - len(plain())) <= 4096
    for start in (20_000, 300_000):
        late = lag(got[start : start + 40_000, 0], source[start : start + 40_000, 0])
        assert abs(late - 1024) <= 1100  # the slower encoder's priming is twice as long in seconds


def test_a_missing_segment_is_silence_of_its_length(listed):
    source = Presentation(listed("ts"))
    with decode.Decoder(source) as decoder:
        whole = decoder.read()
    source = Presentation(listed("ts"))
    source.skipped.add(2)
    with decode.Decoder(source) as decoder:
        got = decoder.read()
    assert len(whole) == len(got)
    middle = round((sum(source.lists[0].seconds[:2]) + 1.0) * 44100)
    assert not got[middle - 20_000 : middle + 20_000].any()
    assert np.array_equal(whole[-100_000:], got[-100_000:])


def test_a_discontinuity_is_played_on_without_a_gap(listed):
    first = listed("ts")
    twice = replace(first, files=[*first.files, *first.files], seconds=[*first.seconds, *first.seconds])
    source = Presentation(twice)
    source.discontinuities = dict.fromkeys(range(len(first.files), len(twice.files)), 1)
    with decode.Decoder(source) as decoder:
        got = decoder.read()
    assert abs(2 * len(plain()) - len(got)) <= 2048


def test_an_audio_stream_says_which_variant_a_chunk_is_of(listed):
    low, high = listed("ts", "-b:a", "64k"), listed("ts")
    with decode.AudioStream(Presentation(low, high, pattern=(0, 1))) as stream:
        events = stream.events()
        seen = [(chunk.variant, chunk.discontinuity) for chunk in stream.chunks()]
        switched = 0
        while (event := events.get_nowait()) is not None:
            switched += isinstance(event, decode.VariantSwitched)
    assert {0, 1} == {variant for variant, _ in seen}
    assert 5 <= switched
    assert any(discontinuity for _, discontinuity in seen)


@pytest.mark.needs("ffmpeg", "lame")
def test_info_frames_of_single_segments_move_nothing(tmp_path):
    """As ffmpeg cuts a file of LAME's: each segment has an Info frame, and the first alone tells the true delay."""
    source = corpus.file("mp3-cbr").path
    corpus.run("ffmpeg", "-v", "error", "-i", source, "-c", "copy", "-f", "segment", "-segment_time", "2",
               "-segment_format", "mp3", "-segment_list", tmp_path / "list.m3u8",
               tmp_path / "part%03d.mp3")  # fmt: skip
    listed = presented.read_list(tmp_path)
    assert all(b"Info" in data[:1024] for data in listed.files)
    with decode.Decoder(Presentation(listed)) as decoder:
        whole = decoder.read()
    with decode.Decoder(Presentation(listed)) as decoder:
        for place in range(0, len(whole) - 2000, 30_011):
            decoder.seek(place)
            assert np.array_equal(whole[place : place + 2000], decoder.read(2000)), place


def test_a_place_is_a_number_of_frames():
    with decode.Decoder(corpus.file("wav-16").path) as decoder, pytest.raises(TypeError):
        decoder.seek(1.5)
