"""Ogg streams with pages lost, and streams chained behind one another: every frame stays in its place."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
from support import corpus
from support.signals import lag

import kithara.decode as decode
from kithara.decode.pages import Page, page_in


def pages(data: bytes) -> list[Page]:
    found, at = [], 0
    while (page := page_in(data, at, 0)) is not None:
        found.append(page)
        at = page.stop
    return found


def without(data: bytes, lost: list[Page]) -> bytes:
    out = bytearray(data)
    for page in reversed(lost):
        del out[page.offset : page.stop]
    return bytes(out)


@pytest.mark.parametrize("name", ["ogg-opus", "ogg-vorbis", "ogg-flac"])
@pytest.mark.parametrize("count", [1, 3])
def test_lost_pages_are_silence_and_move_nothing_behind_them(name, count):
    data = corpus.file(name).path.read_bytes()
    whole = decode.load(data)[0]
    found = pages(data)
    middle = len(found) // 2
    with decode.Decoder(without(data, found[middle : middle + count])) as decoder:
        got = decoder.read()
        assert decoder.damaged
    assert len(whole) == len(got)
    rate = corpus.file(name).rate
    assert np.allclose(whole[-3 * rate :], got[-3 * rate :], atol=1e-4)
    assert np.array_equal(whole[: 3 * rate], got[: 3 * rate])
    assert not np.array_equal(whole, got)


@pytest.mark.parametrize("name", ["ogg-opus", "ogg-vorbis", "ogg-flac"])
def test_a_damaged_page_header_costs_its_page(name):
    data = bytearray(corpus.file(name).path.read_bytes())
    whole = decode.load(bytes(data))[0]
    hurt = pages(bytes(data))[-4]
    data[hurt.offset : hurt.offset + 8] = bytes(8)
    got = decode.load(bytes(data))[0]
    assert len(whole) == len(got)
    assert np.array_equal(whole[: 5 * corpus.file(name).rate], got[: 5 * corpus.file(name).rate])


def test_a_seek_behind_lost_pages_lands_where_reading_comes_to():
    data = corpus.file("ogg-opus").path.read_bytes()
    found = pages(data)
    hurt = without(data, found[5:7])
    whole = decode.load(hurt)[0]
    with decode.Decoder(hurt) as decoder:
        for place in (480_000, 300_000, 520_000):
            decoder.seek(place)
            assert np.array_equal(whole[place : place + 4096], decoder.read(4096)), f"at {place}"


def encoded(tmp_path, name: str, rate: int, channels: int, seconds: float, hertz: int, *options: str) -> bytes:
    path = tmp_path / name
    source = f"sine=frequency={hertz}:sample_rate={rate}:duration={seconds}"
    made = (*options, "-serial_offset", str(hertz), "-fflags", "+bitexact")  # each stream has a number of its own
    corpus.run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-ac", str(channels), *made, path)
    return path.read_bytes()


OPUS = ("-c:a", "libopus")
VORBIS = ("-c:a", "libvorbis")


def loudest(data: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(data[:, 0] * np.hanning(len(data))))
    return float(np.argmax(spectrum)) * rate / len(data)


def test_a_chain_of_two_streams_plays_both_to_the_sample(tmp_path):
    first = encoded(tmp_path, "a.opus", 48000, 2, 2.5, 440, *OPUS)
    second = encoded(tmp_path, "b.opus", 48000, 2, 3.5, 880, *OPUS)
    one, two = decode.load(first)[0], decode.load(second)[0]
    got = decode.load(first + second)[0]
    assert len(one) + len(two) == len(got)
    assert np.array_equal(one, got[: len(one)])
    assert np.array_equal(two, got[len(one) :])


@pytest.mark.parametrize("codec", [OPUS, VORBIS])
@pytest.mark.parametrize("seconds", [(2, 2), (40, 40), (40, 3), (3, 40)])
def test_links_with_the_same_serial_number_are_all_heard(tmp_path, codec, seconds):
    links = [encoded(tmp_path, f"{k}.ogg", 48000, 2, length, 440, *codec) for k, length in enumerate(seconds)]
    expected = np.concatenate([decode.load(link)[0] for link in links])
    with decode.Decoder(b"".join(links)) as decoder:
        assert decoder.frames is None or seconds == (3, 40)  # what the last page tells fits all, but for the three
        got = np.concatenate(list(decoder.blocks(10_000)))
        assert len(expected) == decoder.frames
        for place in (len(expected) - 30_000, 20_000, seconds[0] * 48_000 - 100):
            decoder.seek(place)
            assert np.array_equal(got[place : place + 4096], decoder.read(4096))
    assert len(expected) == len(got)
    assert np.allclose(expected, got, atol=1e-6)


def test_a_chain_that_comes_back_to_its_first_serial_number_is_heard_to_its_end(tmp_path):
    first = encoded(tmp_path, "a.ogg", 48000, 2, 30, 440, *VORBIS)
    data = first + encoded(tmp_path, "b.ogg", 48000, 2, 40, 880, *VORBIS) + first
    assert 2 * len(decode.load(first)[0]) + 40 * 48_000 == len(decode.load(data)[0])


@pytest.mark.parametrize("name", ["ogg-opus", "ogg-vorbis"])
def test_the_length_of_a_file_that_was_cut_off_is_what_is_whole_of_it(name):
    data = corpus.file(name).path.read_bytes()
    with decode.Decoder(data[: len(data) * 2 // 3]) as decoder:
        told = decoder.frames
        assert told == len(decoder.read())


@pytest.mark.parametrize("codec", [OPUS, VORBIS])
def test_a_chain_goes_on_over_a_reader_that_only_goes_forward(tmp_path, codec):
    links = [encoded(tmp_path, f"{k}.ogg", 48000, 2, 2, 400 * (k + 1), *codec) for k in range(3)]

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.left = memoryview(b"".join(links))

        def read(self, size: int = -1) -> bytes:
            piece, self.left = bytes(self.left[: min(size, 701)]), self.left[min(size, 701) :]
            return piece

    with decode.Decoder(Pipe()) as decoder:
        got = decoder.read()
    expected = np.concatenate([decode.load(link)[0] for link in links])
    assert len(expected) == len(got)
    assert np.allclose(expected, got, atol=1e-6)


def test_a_chain_to_another_rate_and_layout_is_converted_to_the_first(tmp_path):
    first = encoded(tmp_path, "a.ogg", 44100, 2, 2, 440, *VORBIS)
    second = encoded(tmp_path, "b.ogg", 32000, 1, 2, 1000, *VORBIS)
    with decode.Decoder(first + second) as decoder:
        got = decoder.read()
        assert (44100, 2) == (decoder.spec.rate, got.shape[1])
    assert abs(4 * 44100 - len(got)) < 64
    assert abs(440 - loudest(got[:80_000], 44100)) < 2
    assert abs(1000 - loudest(got[-80_000:], 44100)) < 2
    assert np.allclose(got[-80_000:, 0], got[-80_000:, 1])


def test_a_chain_to_another_codec_plays_on(tmp_path):
    first = encoded(tmp_path, "a.opus", 48000, 2, 2, 440, *OPUS)
    second = encoded(tmp_path, "b.oga", 44100, 2, 2, 1000, "-c:a", "flac")
    got = decode.load(first + second)[0]
    assert abs(4 * 48000 - len(got)) < 64
    assert abs(1000 - loudest(got[-80_000:], 48000)) < 2


def test_seeks_in_a_chain_that_was_read_give_what_reading_gave(tmp_path):
    body = b"".join(encoded(tmp_path, f"{k}.opus", 48000, 2, 3, 300 + 200 * k, *OPUS) for k in range(3))
    with decode.Decoder(body) as decoder:
        whole = decoder.read()
        for place in (400_000, 20_000, 250_000, 144_000, 300_000, 143_000, 10):
            decoder.seek(place)
            assert np.allclose(whole[place : place + 8192], decoder.read(8192), atol=1e-3), f"at {place}"
        decoder.seek(len(whole) - 100)
        assert 100 == len(decoder.read())


def test_a_seek_ahead_into_a_chain_that_was_not_read_gets_there(tmp_path):
    body = b"".join(encoded(tmp_path, f"{k}.opus", 48000, 2, 3, 300 + 200 * k, *OPUS) for k in range(3))
    whole = decode.load(body)[0]
    with decode.Decoder(body) as decoder:
        decoder.seek(330_000)
        got = decoder.read(16_384)
    assert 16_384 == len(got)
    assert 0 == lag(got[:, 0], whole[330_000:346_384, 0].astype(np.float64), reach=2048)


def test_a_chain_whose_end_is_cut_off_does_not_end_with_its_first_stream(tmp_path):
    first = encoded(tmp_path, "a.opus", 48000, 2, 2, 440, *OPUS)
    second = encoded(tmp_path, "b.opus", 48000, 2, 4, 880, *OPUS)
    with decode.Decoder(first + second[: len(second) * 3 // 4]) as decoder:
        assert decoder.frames is None
        assert len(decoder.read()) > 3.5 * 48_000


def test_what_is_chained_and_no_audio_ends_the_stream(tmp_path):
    first = encoded(tmp_path, "a.opus", 48000, 2, 2, 440, *OPUS)
    other = bytearray(first)
    other[28:36] = b"Nonsense"
    assert len(decode.load(first)[0]) == len(decode.load(first + bytes(other))[0])


@pytest.mark.needs("ffprobe")
def test_the_made_chains_are_chains_for_ffmpeg_too(tmp_path):
    body = encoded(tmp_path, "a.opus", 48000, 2, 2, 440, *OPUS) + encoded(tmp_path, "b.opus", 48000, 2, 2, 880, *OPUS)
    path = tmp_path / "chain.opus"
    path.write_bytes(body)
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(told.stdout.split()[0].strip(",")) >= 200
