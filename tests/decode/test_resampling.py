"""Another rate: right samples, right length, the same samples from wherever they are reached."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support import corpus

import kithara.decode as decode
from kithara.errors import Closed

RATES = [16_000, 48_000, 44_100 * 2]


@pytest.fixture(params=["soxr", "swresample"])
def filter_kind(request, monkeypatch):
    if request.param == "soxr":
        pytest.importorskip("soxr", reason="soxr is optional")
    else:
        monkeypatch.setitem(sys.modules, "soxr", None)
    return request.param


def tone(rate: int, frames: int) -> np.ndarray:
    time = np.arange(frames) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * 997 * time), 0.3 * np.cos(2 * np.pi * 2003 * time)], axis=1)


def wav(samples: np.ndarray, rate: int) -> bytes:
    data = samples.astype("<f4").tobytes()
    head = b"WAVEfmt \x10\0\0\0\x03\0\x02\0" + rate.to_bytes(4, "little") + (rate * 8).to_bytes(4, "little")
    head += b"\x08\0\x20\0data" + len(data).to_bytes(4, "little")
    return b"RIFF" + (len(head) + len(data)).to_bytes(4, "little") + head + data


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_the_tone_it_was(rate, filter_kind):
    y, got = decode.load(wav(tone(44_100, 100_000), 44_100), rate=rate)
    assert rate == got
    assert -(-100_000 * rate // 44_100) == len(y)
    expected = tone(rate, len(y))
    inside = slice(2000, len(y) - 2000)
    assert np.abs(y[inside] - expected[inside]).max() < 2e-3


@pytest.mark.parametrize("rate", RATES)
def test_a_seek_gives_what_a_decode_from_the_start_does(rate, filter_kind):
    path = corpus.file("flac").path
    whole, _ = decode.load(path, rate=rate)
    with decode.Decoder(path).resampled_to(rate) as decoder:
        assert len(whole) == decoder.frames
        for place in [0, 1, len(whole) - 500, *np.random.default_rng(3).integers(0, len(whole), 10).tolist()]:
            decoder.seek(place)
            part = decoder.read(3000)
            expected = whole[place : place + 3000]
            assert expected.shape == part.shape
            assert np.abs(expected - part).max() < 1e-5, f"at {place}"


def test_positions_of_both_decoders_stay_their_own(filter_kind):
    path = corpus.file("flac").path
    whole = decode.load(path)[0]
    original = decode.Decoder(path)
    with original.resampled_to(22_050) as other:
        assert np.array_equal(whole[:1000], original.read(1000))
        first = other.read(500)
        assert np.array_equal(whole[1000:2000], original.read(1000))
        other.seek(0)
        assert np.abs(first - other.read(500)).max() < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32"])
def test_every_dtype_can_be_resampled(dtype, filter_kind):
    y, _ = decode.load(wav(tone(44_100, 30_000), 44_100), rate=22_050, dtype=dtype)
    full = {"int16": 32768.0, "int32": 2147483648.0}.get(dtype, 1.0)
    expected = tone(22_050, len(y))
    assert np.abs(y[1000:-1000] / full - expected[1000:-1000]).max() < 2e-3


def test_mono_is_the_mean_of_the_channels():
    samples = tone(44_100, 5000)
    y, _ = decode.load(wav(samples, 44_100), mono=True)
    assert (5000,) == y.shape
    assert np.abs(y - samples.mean(axis=1)).max() < 1e-6


def test_a_stream_plays_at_the_rate_of_the_card():
    with decode.AudioStream(corpus.file("flac").path, rate=48_000) as stream:
        assert 48_000 == stream.spec.rate
        assert 4800 == len(stream.read(4800))


@pytest.mark.parametrize("rate", [0, -1, 2_000_000])
def test_a_rate_that_makes_no_sense_is_refused(rate):
    with decode.Decoder(corpus.file("flac").path) as decoder, pytest.raises(ValueError, match="rate"):
        decoder.resampled_to(rate)


def test_closing_either_closes_both() -> None:
    path = corpus.file("wav-16").path
    with decode.Decoder(path) as original:
        resampled = original.resampled_to(16_000)
        assert (100, 2) == resampled.read(100).shape
    assert resampled.closed
    with pytest.raises(Closed):
        resampled.read(1)
    with decode.Decoder(path).resampled_to(16_000) as alone:
        assert (100, 2) == alone.read(100).shape
