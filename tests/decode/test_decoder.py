"""The decoder's face: facts, dtypes, blocks, ranges, gapless modes, tags, and misuse."""

from __future__ import annotations

import io
import subprocess
import sys
import wave

import numpy as np
import pytest
from support import corpus

import kithara.decode as decode
from kithara.errors import Closed, LocalFileError
from kithara.media import MediaInfo


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    return decode.load(corpus.file("flac").path)[0]


@pytest.fixture
def decoder():
    with decode.Decoder(corpus.file("flac").path) as decoder:
        yield decoder


def test_facts_are_known_at_once(decoder):
    assert decode.PcmSpec(44_100, 2, "stereo") == decoder.spec
    assert 529_977 == decoder.frames
    assert 529_977 / 44_100 == decoder.duration
    assert ("flac", "flac", 44_100, 2) == tuple(
        getattr(decoder.media, name) for name in ("codec", "container", "rate", "channels")
    )
    assert decode.Gapless(lead=0, tail=0, source="flac") == decoder.gapless


@pytest.mark.parametrize(
    ("name", "lead", "source"),
    [
        ("mp3-cbr", 1105, "lame"),
        ("m4a-faststart", 1024, "elst"),
        ("ogg-opus", 312, "opus-head"),
        ("fdk-aac_itunsmpb", 2048, "iTunSMPB"),
    ],
)
def test_what_is_trimmed_is_told_with_its_source(name, lead, source):
    with decode.Decoder(corpus.file(name).path) as decoder:
        assert decoder.gapless is not None
        assert (lead, source) == (decoder.gapless.lead, decoder.gapless.source)


def test_a_tail_is_told_where_the_header_tells_it():
    with decode.Decoder(corpus.file("m4a-faststart").path) as decoder:
        assert 455 == decoder.gapless.tail


def test_nothing_is_trimmed_where_nothing_is_told():
    with decode.Decoder(corpus.file("adts").path) as decoder:
        assert decoder.gapless is None
        assert decoder.frames is None


@pytest.mark.parametrize(("name", "priming"), [("mp3-no-tag", 1105), ("adts-no-pns", 1024)])
def test_the_codecs_usual_priming_can_be_trimmed_instead(name, priming):
    path = corpus.file(name).path
    raw, trimmed = decode.load(path)[0], decode.load(path, gapless="codec")[0]
    assert np.array_equal(raw[priming:], trimmed)


@pytest.mark.parametrize("name", ["flac", "wav-16", "alac", "mp3-cbr", "m4a-no-pns"])
def test_gapless_off_knows_its_length_too(name):
    with decode.Decoder(corpus.file(name).path, gapless="off") as decoder:
        assert decoder.frames == len(decoder.read())
        assert decoder.gapless is None


def test_gapless_off_gives_everything_the_codec_does():
    path = corpus.file("mp3-cbr").path
    raw, true = decode.load(path, gapless="off")[0], decode.load(path)[0]
    assert 0 == len(raw) % 1152
    assert np.array_equal(true, raw[1105 : 1105 + len(true)])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32", np.float32, "<i2"])
def test_every_dtype_comes_c_contiguous_with_frames_first(dtype):
    with decode.Decoder(corpus.file("m4a-no-pns").path, dtype=dtype) as decoder:
        x = decoder.read(100)
    assert ((100, 2), np.dtype(dtype), True) == (x.shape, x.dtype, x.flags.c_contiguous)


@pytest.mark.parametrize("dtype", ["float16", "uint8", "complex64", ">i2", "nonsense"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises((ValueError, TypeError)):
        decode.Decoder(corpus.file("flac").path, dtype=dtype)


def test_readinto_fills_an_array_and_says_how_much(decoder, whole):
    out = np.empty((1000, 2), "float32")
    assert 1000 == decoder.readinto(out)
    assert np.array_equal(whole[:1000], out)
    decoder.seek(len(whole) - 300)
    assert 300 == decoder.readinto(out)
    assert 0 == decoder.readinto(out)


@pytest.mark.parametrize(
    "out",
    [np.empty((10, 3), "float32"), np.empty((10, 2), "int16"), np.empty((2, 10), "float32").T, np.empty(20, "float32")],
)
def test_readinto_refuses_what_it_cannot_fill(decoder, out):
    with pytest.raises(ValueError, match="out"):
        decoder.readinto(out)


def test_blocks_overlap_as_asked(decoder, whole):
    blocks = list(decoder.blocks(10_000, overlap=2500))
    assert all(np.array_equal(whole[k * 7500 :][:10_000], block) for k, block in enumerate(blocks))
    assert len(whole) - 7500 * (len(blocks) - 1) == len(blocks[-1])


def test_a_range_is_read_without_moving(decoder, whole):
    decoder.seek(777)
    chunk = decoder.read_range(start=44_100, frames=16_000)
    assert (44_100, 44_100, 1.0) == (chunk.start, chunk.rate, chunk.seconds)
    assert np.array_equal(whole[44_100:60_100], chunk.data)
    assert 777 == decoder.tell()
    assert np.array_equal(whole[777:1000], decoder.read(223))


def test_a_range_in_seconds_is_rounded_once(decoder, whole):
    chunk = decoder.read_range(seconds=(0.1, 0.3))
    assert (4410, 8820) == (chunk.start, len(chunk.data))


@pytest.mark.parametrize("arguments", [{}, {"start": 1}, {"seconds": (0, 1), "start": 1}, {"start": -1, "frames": 2}])
def test_a_range_that_is_none_is_refused(decoder, arguments):
    with pytest.raises((TypeError, ValueError)):
        decoder.read_range(**arguments)


def test_reading_past_the_end_is_empty_and_seeking_back_works(decoder, whole):
    decoder.seek(10**9)
    assert (10**9, 0) == (decoder.tell(), len(decoder.read(5)))
    assert (0, 2) == decoder.read().shape
    decoder.seek(3)
    assert np.array_equal(whole[3:8], decoder.read(5))


def test_start_is_where_reading_begins(whole):
    with decode.Decoder(corpus.file("flac").path, start=5000) as decoder:
        assert np.array_equal(whole[5000:5100], decoder.read(100))


def test_a_negative_seek_is_refused(decoder):
    with pytest.raises(ValueError, match="negative"):
        decoder.seek(-1)


def test_a_closed_decoder_says_so(whole):
    decoder = decode.Decoder(corpus.file("flac").path)
    decoder.close()
    decoder.close()
    with pytest.raises(Closed):
        decoder.read(1)


def test_a_callers_object_stays_open_and_a_forgotten_decoder_warns():
    reader = io.BytesIO(corpus.file("flac").path.read_bytes())
    with decode.Decoder(reader) as decoder:
        decoder.read(10)
    assert not reader.closed
    forgotten = decode.Decoder(corpus.file("flac").path)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del forgotten


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LocalFileError, match=r"missing\.mp3"):
        decode.Decoder(tmp_path / "missing.mp3")


@pytest.mark.parametrize("what", [None, 3, object(), ["a"]])
def test_what_cannot_be_read_is_refused(what):
    with pytest.raises(TypeError, match="cannot decode"):
        decode.Decoder(what)


def test_bytes_outweigh_a_wrong_hint(whole):
    with decode.Decoder(corpus.file("flac").path, media=MediaInfo(container="mp3")) as decoder:
        assert np.array_equal(whole[:100], decoder.read(100))


def test_tags_and_cover_art_are_read_when_asked_for():
    with decode.Decoder(corpus.file("mp3-cover").path) as decoder:
        assert {"title": "Prélude", "artist": "Orpheus", "album": "Seven Strings"}.items() <= decoder.tags.items()
        [picture] = decoder.pictures
    assert ("image/png", 3, "Cover") == (picture.mime, picture.kind, picture.description)
    assert corpus.cover(483) == picture.data


TAGGED = ("-metadata", "title=Prélude", "-metadata", "artist=Orpheus", "-metadata", "album=Seven Strings")


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("m4a", "aac"),
        ("flac", "flac"),
        ("ogg", "libvorbis"),
        ("opus", "libopus"),
        ("mka", "aac"),
        ("mp3", "libmp3lame"),
        ("wav", "pcm_s16le"),
    ],
)
def test_tags_come_out_of_every_container(suffix, codec, tmp_path):
    tagged = tmp_path / f"tagged.{suffix}"
    corpus.run("ffmpeg", "-v", "error", "-i", corpus.file("wav-16", seconds=3).path, "-c:a", codec, *TAGGED, tagged)
    with decode.Decoder(tagged) as decoder:
        tags = decoder.tags
    assert {"title": "Prélude", "artist": "Orpheus", "album": "Seven Strings"}.items() <= tags.items()


def test_a_probe_tells_without_decoding_it_through():
    info = decode.probe(corpus.file("ogg-opus").path)
    assert ("opus", "ogg", 576_777, 48_000) == (info.media.codec, info.media.container, info.frames, info.spec.rate)
    assert () == tuple(info.variants)


LAYOUTS = [
    *(("flac", channels) for channels in (1, 3, 4, 5, 6, 7, 8)),
    *((codec, channels) for codec in ("pcm_s16le", "libopus", "aac") for channels in (1, 6, 8)),
]


@pytest.mark.parametrize(("codec", "channels"), LAYOUTS)
def test_every_layout_keeps_its_channels_in_order(codec, channels, tmp_path):
    """Each channel holds a tone of its own."""
    tones = "|".join(f"0.4*sin(2*PI*{300 * (k + 1)}*t)" for k in range(channels))
    layouts = {1: "mono", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
    source = tmp_path / "tones.wav"
    corpus.run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"aevalsrc='{tones}':c={layouts[channels]}:s=48000:d=1",
               "-c:a", "pcm_s16le", source)  # fmt: skip
    container = {"pcm_s16le": "wav", "flac": "flac", "libopus": "opus", "aac": "m4a"}[codec]
    options = ("-mapping_family", "1") if codec == "libopus" else ()
    made = tmp_path / f"made.{container}"
    corpus.run("ffmpeg", "-v", "error", "-i", source, "-c:a", codec, "-b:a", f"{80 * channels}k", *options, made)
    y, rate = decode.load(made)
    assert channels == y.shape[1]
    for k in range(channels):
        spectrum = np.abs(np.fft.rfft(y[12_000:36_000, k]))
        peak = np.argmax(spectrum) * rate / 24_000
        low = codec != "pcm_s16le" and codec != "flac" and channels > 5 and k == 3  # a lossy codec's LFE is a bass
        assert low or abs(peak - 300 * (k + 1)) <= 2


def test_importing_decode_opens_no_libavformat_and_kithara_alone_no_numpy():
    script = "import sys, kithara; assert 'numpy' not in sys.modules and 'av' not in sys.modules; kithara.Decoder"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_of_no_frames_is_empty_and_no_error(channels):
    body = io.BytesIO()
    with wave.open(body, "wb") as file:
        file.setparams((channels, 2, 48_000, 0, "NONE", ""))
    with decode.Decoder(body.getvalue()) as decoder:
        assert (48_000, channels) == (decoder.spec.rate, decoder.spec.channels)
        assert (0, 0.0) == (decoder.frames, decoder.duration)
        assert (0, channels) == decoder.read().shape
        decoder.seek(0)
        assert (0, channels) == decoder.read(10).shape
    assert (0, channels) == decode.load(body.getvalue())[0].shape
    assert (0, channels) == decode.load(body.getvalue(), rate=16_000)[0].shape
    with decode.AudioStream(body.getvalue()) as stream:
        assert 0 == len(stream.read(10))
