"""Streams that lose packets or become another in the middle: what follows keeps its place, rate and channels."""

from __future__ import annotations

import numpy as np
import pytest
from support import corpus
from support.signals import lag

import kithara.decode as decode
from kithara._core.memory_resource import MemoryResource
from kithara._core.reader import SyncReader
from kithara.errors import OfflineMiss

PACKET = 188


def loudest(data: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(data[:, 0] * np.hanning(len(data))))
    return float(np.argmax(spectrum)) * rate / len(data)


def sine(tmp_path, name: str, hertz: int, rate: int, channels: int, *options: str) -> bytes:
    path = tmp_path / name
    source = f"sine=frequency={hertz}:sample_rate={rate}:duration=4"
    corpus.run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-ac", str(channels), *options, path)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["ts-aac", "ts-ac3"])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_lost_transport_packets_are_silence_and_move_nothing_behind_them(name, count):
    data = corpus.file(name).path.read_bytes()
    whole = decode.load(data)[0]
    at = len(data) // PACKET // 2 * PACKET
    with decode.Decoder(data[:at] + data[at + count * PACKET :]) as decoder:
        got = decoder.read()
        assert decoder.damaged
    assert len(whole) == len(got)
    assert 0 == lag(got[-100_000:, 0], whole[-100_000:, 0].astype(np.float64), reach=3000)


def test_bytes_lost_inside_a_transport_packet_move_nothing_behind_them():
    data = corpus.file("ts-aac").path.read_bytes()
    whole = decode.load(data)[0]
    for at, gone in ((60_000, 100), (100_001, 1234)):
        got = decode.load(data[:at] + data[at + gone :])[0]
        assert len(whole) == len(got)
        assert 0 == lag(got[-100_000:, 0], whole[-100_000:, 0].astype(np.float64), reach=3000)


def test_a_transport_packet_sent_twice_is_heard_once():
    data = corpus.file("ts-aac").path.read_bytes()
    at = len(data) // PACKET // 2 * PACKET
    twice = data[:at] + data[at - PACKET : at] + data[at:]
    with decode.Decoder(twice) as decoder:
        assert np.array_equal(decode.load(data)[0], decoder.read())
        assert 0 == decoder.damaged


def test_two_transport_streams_one_behind_the_other_play_both():
    data = corpus.file("ts-aac").path.read_bytes()
    assert abs(2 * len(decode.load(data)[0]) - len(decode.load(data + data)[0])) <= 1024


@pytest.mark.parametrize(("codec", "frames"), [("libmp3lame", 1152), ("ac3", 1536), ("aac", 1024)])
def test_a_transport_stream_of_a_single_frame_is_heard(tmp_path, codec, frames):
    body = sine(tmp_path, "one.ts", 440, 44100, 2, "-c:a", codec, "-frames:a", "1", "-f", "mpegts")
    assert frames == len(decode.load(body, gapless="off")[0])


MP3 = ("-c:a", "libmp3lame", "-write_xing", "0", "-f", "mp3")
AAC = ("-c:a", "aac", "-f", "adts")
AC3 = ("-c:a", "ac3", "-f", "ac3")
TS = ("-c:a", "aac", "-f", "mpegts")


@pytest.mark.parametrize("options", [MP3, AAC, AC3, TS])
@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (32000, 2), (44100, 1)])
def test_what_goes_on_in_another_rate_or_layout_is_heard_in_the_first_ones(tmp_path, options, rate, channels):
    first = sine(tmp_path, "a", 440, 44100, 2, *options)
    second = sine(tmp_path, "b", 1000, rate, channels, *options)
    with decode.Decoder(first + second) as decoder:
        got = decoder.read()
        assert (44100, 2) == (decoder.spec.rate, got.shape[1])
    assert abs(8 * 44100 - len(got)) < 4 * 1536
    assert abs(440 - loudest(got[10_000:160_000], 44100)) < 2
    assert abs(1000 - loudest(got[-150_000:-5000], 44100)) < 2
    assert np.allclose(got[-150_000:-5000, 0], got[-150_000:-5000, 1], atol=1e-3)


@pytest.mark.parametrize("options", [MP3, AAC, AC3])
def test_a_seek_behind_a_change_gives_what_reading_gave(tmp_path, options):
    body = sine(tmp_path, "a", 440, 44100, 2, *options)
    body += sine(tmp_path, "b", 1000, 32000, 1, *options)
    with decode.Decoder(body) as decoder:
        whole = decoder.read()
        for place in (300_000, 50_000, 250_000):
            decoder.seek(place)
            got = decoder.read(16_384)
            assert 0 == lag(got[:, 0], whole[place : place + 16_384, 0].astype(np.float64), reach=30), f"at {place}"


@pytest.mark.parametrize(
    ("first", "second"), [("mp3-cbr", "mp3-cbr"), ("mp3-vbr", "mp3-cbr"), ("mp3-cbr", "mp3-cover")]
)
def test_a_file_behind_another_is_heard_although_the_tag_of_the_first_ends_before_it(first, second):
    alone = decode.load(corpus.file(first).path)[0]
    parts = [corpus.file(name).path.read_bytes() for name in (first, second)]
    with decode.Decoder(b"".join(parts)) as decoder:
        assert decoder.frames is None
        whole = decoder.read()
        decoder.seek(len(alone) + 30_000)
        assert np.array_equal(whole[len(alone) + 30_000 :][:5000], decoder.read(5000))
    assert np.array_equal(alone, whole[: len(alone)])
    assert len(alone) + len(decode.load(parts[1])[0]) <= len(whole)


def test_what_is_here_of_files_one_behind_the_other_is_heard_offline():
    data = corpus.file("mp3-cbr").path.read_bytes()
    alone = decode.load(data)[0]
    store = MemoryResource(2 * len(data))
    store.write_at(0, data[:100_000])
    store.fail(OfflineMiss("offline, and not in the cache"))
    with SyncReader(store) as reader, decode.Decoder(reader) as decoder:
        assert np.array_equal(alone[:50_000], decoder.read(50_000))


@pytest.mark.parametrize("tag", [b"APETAGEX", bytes(8), b"ID3\4\0\0\0\1\x1c\x20"])
def test_what_lies_behind_an_mp3_and_is_no_audio_leaves_its_length_told(tag):
    data = corpus.file("mp3-vbr").path.read_bytes()
    alone = decode.load(data)[0]
    with decode.Decoder(data + tag + bytes(20_000)) as decoder:
        assert len(alone) == decoder.frames
        assert np.array_equal(alone, decoder.read())


def test_layer_two_is_known_by_its_first_bytes(tmp_path):
    with decode.Decoder(sine(tmp_path, "low.mp2", 440, 48_000, 2)) as decoder:
        assert ("mp2", "mp3") == (decoder.media.codec, decoder.media.container)
        assert abs(loudest(decoder.read()[-48_000:-2000], 48_000) - 440) < 3
