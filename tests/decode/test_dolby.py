"""AC-3 and E-AC-3: whole files, transport streams, packed segments; frames and those that extend them."""

from __future__ import annotations

import numpy as np
import pytest
from support import corpus
from support.metered import Metered
from support.signals import lag

import kithara.decode as decode
from kithara._core.frames import DOLBY_AUDIO, split
from kithara.decode.dolby import dolby_header
from kithara.media import sniff

PRIMING = 256
"""Frames that FFmpeg's encoder puts in front, and `gapless="codec"` takes away."""


def made(tmp_path, name, *options):
    path = tmp_path / name
    sines = "aevalsrc=sin(880*t)|sin(1320*t)|sin(440*t)|sin(100*t)|sin(660*t)|sin(990*t):c=5.1:s=48000:d=20"
    corpus.run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", sines, *options, path)
    return path


@pytest.mark.parametrize("name", ["ac3", "eac3", "ts-ac3"])
def test_the_audio_is_the_source_behind_the_priming(name):
    entry = corpus.file(name)
    source = corpus.pcm(entry).astype(np.float64)
    with decode.Decoder(entry.path, gapless="codec") as decoder:
        assert PRIMING == decoder.gapless.lead
        got = decoder.read()
    assert 0 <= len(got) - entry.frames < 1536
    assert 0 == lag(got[:, 0], source[:, 0])


def test_an_untold_priming_stays_by_default():
    with decode.Decoder(corpus.file("ac3").path) as decoder:
        assert decoder.gapless is None
        assert 0 == len(decoder.read()) % 1536


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
def test_six_channels_come_in_the_order_of_a_wave_file(tmp_path, codec):
    path = made(tmp_path, f"six.{codec}", "-c:a", codec, "-b:a", "448k")
    data, rate = decode.load(path)
    assert (48_000, 6) == (rate, data.shape[1])
    spectrum = np.abs(np.fft.rfft(data[48_000:96_000], axis=0))  # one bin is one hertz
    hertz = [140, 210, 70, 16, 105, 158]
    assert hertz == np.argmax(spectrum, axis=0).tolist()


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
def test_a_seek_at_a_constant_bitrate_is_one_small_request(tmp_path, codec):
    data = made(tmp_path, f"six.{codec}", "-c:a", codec, "-b:a", "448k").read_bytes()
    whole = decode.load(data)[0]
    for place in np.random.default_rng(2).integers(200_000, 900_000, 5).tolist():
        reader = Metered(data)
        with decode.Decoder(reader) as decoder:
            decoder.read(100)
            reader.start_counting()
            decoder.seek(place)
            assert np.array_equal(whole[place : place + 4096], decoder.read(4096)), f"at {place}"
        assert 1 == len(reader.requests)
        assert reader.fetched <= 48 << 10


def test_an_id3_tag_in_front_hides_nothing():
    data = corpus.file("ac3").path.read_bytes()
    tag = b"ID3\x04\0\0\0\0\0\x14" + bytes(20)
    assert np.array_equal(decode.load(data)[0], decode.load(tag + data)[0])


def test_a_damaged_stretch_is_silence_of_its_length():
    data = bytearray(corpus.file("ac3").path.read_bytes())
    expected = decode.load(bytes(data))[0]
    data[60_000:64_000] = bytes(4000)
    with decode.Decoder(bytes(data)) as decoder:
        got = decoder.read()
        assert decoder.damaged
    assert len(expected) == len(got)
    assert np.array_equal(expected[-200_000:], got[-200_000:])


@pytest.mark.parametrize(("name", "codec"), [("ac3", "ac3"), ("eac3", "eac3")])
def test_the_first_bytes_say_what_it_is(name, codec):
    found = sniff(corpus.file(name).path.read_bytes()[:64])
    assert ("ac3", codec) == (found.container, found.codec)


def test_frames_that_add_channels_belong_to_the_frame_before_them():
    data = corpus.file("eac3").path.read_bytes()
    frames, *_ = split(data, 0, DOLBY_AUDIO, 0, True, False)
    pieces = []
    for at, size in frames[:5]:
        dependent = bytearray(data[at : at + size])
        dependent[2] = dependent[2] & 0x3F | 0x40
        pieces.append(data[at : at + size] + dependent)
    body = b"".join(pieces)
    joined, *_ = split(body, 0, DOLBY_AUDIO, 0, True, False)
    assert [2 * size for _, size in frames[:5]] == [size for _, size in joined]
    unfinished, *_ = split(body, 0, DOLBY_AUDIO, 0, False, False)
    assert [len(piece) for piece in pieces[:-1]] == [size for _, size in unfinished]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("0b77 0000 1c 40 43 f0", ("ac3", 48000, 2, 1536)),
        ("0b77 0000 1c 40 e1 00", ("ac3", 48000, 6, 1536)),
        ("0b77 0000 1c 40 20 00", ("ac3", 48000, 1, 1536)),
        ("0b77 0000 9c 48 40 00", ("ac3", 16000, 2, 1536)),
        ("0b77 0000 dc 40 40 00", None),
        ("0b77 007f 3f 80 00 00", ("eac3", 48000, 6, 1536)),
        ("0b77 007f 04 80 00 00", ("eac3", 48000, 2, 256)),
        ("0b77 007f d4 80 00 00", ("eac3", 22050, 2, 1536)),
        ("0b77 007f f4 80 00 00", None),
        ("0b76 0000 1c 40 40 00", None),
    ],
)
def test_a_header_tells_rate_channels_and_length(head, expected):
    found = dolby_header(bytes.fromhex(head))
    assert expected == (None if found is None else found[:4])
