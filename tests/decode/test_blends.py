"""Where another decoder takes over: 20 ms of both, nothing lost, repeated or displaced, and no click."""

from __future__ import annotations

import threading
import wave

import numpy as np
import pytest
from support import presented
from support.presented import FMP4, TS, Presentation, loudest_step
from support.signals import quantized

import kithara.decode as decode
from kithara._core.memory_resource import MemoryResource
from kithara.decode import boxes as iso
from kithara.decode import segments
from kithara.decode.fragments import read_fragment
from kithara.errors import Interrupted, NetTimeout
from kithara.source import Priming

RATE = 44100
SECONDS = 9
JOIN = 2
"""The segment from which on the second variant is heard."""
PATTERN = (0,) * JOIN + (1,) * 20
WINDOW = RATE // 50
STEP = 64
LOSSY = ("-c:a", "aac", "-aac_pns", "0")
KINDS = {
    "aac 44.1": (*LOSSY, "-b:a", "64k", *FMP4),
    "aac 48": (*LOSSY, "-b:a", "128k", "-ar", "48000", *FMP4),
    "aac in ts": (*LOSSY, "-b:a", "96k", *TS),
    "alac": ("-c:a", "alac", *FMP4),
    "flac": ("-c:a", "flac", "-strict", "-2", *FMP4),
    "mp3 in ts": ("-c:a", "libmp3lame", "-b:a", "96k", *TS),
}
PAIRS = [
    ("aac 44.1", "flac"),
    ("flac", "aac 44.1"),
    ("aac 44.1", "aac 48"),
    ("mp3 in ts", "aac in ts"),
    ("mp3 in ts", "aac 48"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """``made(kind)`` → low tones, 24 bits, in segments of that kind."""
    folder = tmp_path_factory.mktemp("blends")
    time = np.arange(SECONDS * RATE) / RATE
    left = 0.35 * np.sin(2 * np.pi * 220 * time) + 0.2 * np.sin(2 * np.pi * 547 * time + 1)
    right = 0.35 * np.sin(2 * np.pi * 330 * time) + 0.2 * np.sin(2 * np.pi * 811 * time)
    whole = quantized(np.stack([left, right], axis=1), 24)
    with wave.open(str(folder / "tones.wav"), "wb") as file:
        file.setparams((2, 3, RATE, len(whole), "NONE", ""))
        file.writeframes(whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    kept: dict[str, presented.Listed] = {}

    def make(kind: str, *options: str) -> presented.Listed:
        name = "-".join((*kind.split(), *options))
        if name not in kept:
            kept[name] = presented.packaged(folder / name, folder / "tones.wav", *KINDS[kind], *options)
        return kept[name]

    return make


def joined(made, old: str, new: str) -> Presentation:
    return Presentation(made(old), made(new), pattern=PATTERN, primed=True)


def played(source, **options) -> tuple[np.ndarray, int]:
    """All of *source*, and the frame from which the new variant is heard alone."""
    with decode.Decoder(source, **options) as decoder:
        pieces, place = [], -1
        while len(piece := decoder.read(STEP)):
            if decoder.variant and place < 0:
                place = decoder.tell() - len(piece)
            pieces.append(piece)
        return np.concatenate(pieces), place


def alone(made, kind: str, **options) -> np.ndarray:
    with decode.Decoder(Presentation(made(kind)), **options) as decoder:
        return decoder.read()


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.parametrize("gapless", ["media", "codec"])
def test_a_join_bends_the_signal_no_more_than_the_music_does(old, new, gapless, made):
    pcm, place = played(joined(made, old, new), gapless=gapless)
    assert loudest_step(pcm, place, RATE) < 1.5  # a cut here: 4.7 to 190


@pytest.mark.parametrize(("old", "new"), [("aac 44.1", "flac"), ("flac", "aac 44.1"), ("mp3 in ts", "aac in ts")])
def test_around_the_twenty_milliseconds_each_sounds_as_it_does_alone(old, new, made):
    before, after = alone(made, old), alone(made, new)
    pcm, place = played(joined(made, old, new))
    size = min(len(before), len(after), len(pcm))
    start = np.flatnonzero((before[:size] != pcm[:size]).any(axis=1))[0]
    stop = np.flatnonzero((after[:size] != pcm[:size]).any(axis=1))[-1] + 1
    assert WINDOW - 8 <= stop - start <= WINDOW  # the first share of the new one may be less than a float can tell
    assert place <= stop < place + STEP
    assert len(after) == len(pcm)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_seek_around_a_join_gives_the_samples_of_playing_through_it(old, new, made):
    source = joined(made, old, new)
    pcm, place = played(source)
    chance = np.random.default_rng(6)
    with decode.Decoder(source) as decoder:
        for start in (*range(place - WINDOW, place + WINDOW, 173), *chance.integers(place - 9000, place + 3000, 20)):
            decoder.seek(int(start))
            assert np.array_equal(pcm[start : start + 6000], decoder.read(6000)), start


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("bits", ["s16", "s32"])
def test_equal_music_stays_equal_to_the_last_bit(dtype, bits, made):
    old, new = made("flac", "-sample_fmt", bits), made("alac", "-sample_fmt", bits + "p")
    pcm, _ = played(Presentation(old, new, pattern=PATTERN, primed=True), dtype=dtype)
    with decode.Decoder(Presentation(old), dtype=dtype) as decoder:
        assert np.array_equal(decoder.read(), pcm)


def test_a_change_at_every_segment_keeps_all_in_place(made):
    source = Presentation(made("flac"), made("aac 44.1"), pattern=(0, 1), primed=True)
    pcm, _ = played(source)
    edges = np.cumsum(source.lists[0].seconds) * RATE
    expected = alone(made, "flac")
    assert len(edges) % 2  # so the last one is lossless, too
    assert len(expected) == len(pcm)
    for index in range(2, len(edges), 2):
        start, stop = round(edges[index - 1]) + 4608, round(edges[index]) - 4608
        assert np.array_equal(expected[start:stop], pcm[start:stop])


@pytest.mark.parametrize("rate", [22050, 48000])
def test_a_join_is_as_smooth_at_another_rate_of_the_listener(rate, made):
    with decode.Decoder(joined(made, "aac 44.1", "flac")) as original, original.resampled_to(rate) as decoder:
        pcm = decoder.read()
    edge = sum(made("aac 44.1").seconds[:JOIN])
    assert loudest_step(pcm, round(edge * rate), rate) < 1.5


class Asked(Presentation):
    """One that brings nothing along, but can be asked for what comes before a segment."""

    def __init__(self, *variants, **options):
        super().__init__(*variants, **options)
        self.asked: list[int] = []
        self.pending: MemoryResource | None = None

    def before(self, segment):
        self.asked.append(segment.index)
        if self.pending is not None:
            self.stores[segment.index - 1] = self.pending
        return self.piece(segment.variant, segment.index - 1)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_where_the_playlist_told_of_no_change_the_segment_before_is_asked_for(old, new, made):
    expected, _ = played(joined(made, old, new))
    source = Asked(made(old), made(new), pattern=PATTERN)
    assert isinstance(source, Priming)
    pcm, _ = played(source)
    assert [JOIN] == source.asked
    assert np.array_equal(expected, pcm)


def test_between_variants_of_one_codec_and_rate_nothing_more_is_asked_for(made):
    for kind, option in (("flac", ("-compression_level", "0")), ("aac 44.1", ("-b:a", "96k"))):
        source = Asked(made(kind), made(kind, *option), pattern=(0, 1))
        played(source)
        assert [] == source.asked


def test_what_does_not_come_soon_primes_nothing_and_keeps_nobody_waiting(made, monkeypatch):
    monkeypatch.setattr(segments, "PATIENCE", 0.05)
    source = Asked(made("aac 44.1"), made("aac 48"), pattern=PATTERN)
    source.pending = MemoryResource()
    pcm, _ = played(source)
    assert [JOIN] == source.asked
    assert abs(len(alone(made, "aac 44.1")) - len(pcm)) <= 2048


def test_a_seek_ends_the_waiting_for_what_primes_a_decoder(made):
    source = Asked(made("aac 44.1"), made("aac 48"), pattern=PATTERN)
    source.pending = MemoryResource()
    asked = threading.Event()
    source.before = lambda segment, before=source.before: (before(segment), asked.set())[0]
    with decode.AudioStream(source, buffer=60) as stream:
        assert asked.wait(20)
        stream.seek(0.5)
        expected = alone(made, "aac 44.1")
        assert np.array_equal(expected[RATE // 2 : RATE], stream.read(RATE // 2))


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_segment_given_up_midway_for_another_codec_is_no_click(old, new, made):
    source = Presentation(made(old), made(new), start=0)
    data = source.lists[0].files[JOIN]
    store = source.stores[JOIN] = MemoryResource(len(data))
    store.write_at(0, data[: len(data) // 2])
    store.fail(Interrupted("this comes from another variant now"))
    asked = source.segment_at

    def segment_at(seconds):
        if seconds:
            source.stores.clear()
            source.set_variant(1)
        return asked(seconds)

    source.segment_at = segment_at
    pcm, place = played(source)
    edges = np.cumsum(source.lists[0].seconds) * RATE
    assert edges[JOIN - 1] + RATE // 2 < place < edges[JOIN] - RATE // 2
    assert loudest_step(pcm, place, RATE) < 1.5


@pytest.mark.parametrize("variants", [1, 2])
def test_what_is_held_back_is_no_more_than_the_end_of_a_segment(variants, made):
    lists = [made("aac 44.1"), made("flac")][:variants]
    source = Presentation(*lists, pattern=(0,))
    source.stores[1] = MemoryResource()  # it never comes
    source.stores[1].fail(NetTimeout("nothing comes", operation="a test"))
    whole = alone(made, "aac 44.1")
    count = round(made("aac 44.1").seconds[0] * RATE / 1024) * 1024
    with decode.Decoder(source) as decoder:
        assert np.array_equal(whole[:count], decoder.read(count))  # the failure gives what was held back
        with pytest.raises(NetTimeout):
            decoder.read(1)


@pytest.mark.parametrize(("variants", "packets"), [(1, 2), (2, 3)])
def test_of_a_segment_that_may_be_given_up_midway_one_more_packet_is_awaited(variants, packets, made):
    listed = made("aac 44.1")
    data, init = listed.files[0], listed.init
    moov, moof = (next(box for box in iso.boxes(whole, 0, len(whole)) if box.kind == kind)
                  for whole, kind in ((init, b"moov"), (data, b"moof")))  # fmt: skip
    fragment = read_fragment(data[moof.start - 8 : moof.stop], iso.Box(b"moof", 8, moof.stop - moof.start + 8),
                             moof.start - 8, iso.sound_track(init, moov))  # fmt: skip
    offset, size, _ = fragment.samples[packets - 1]
    source = Presentation(*(listed, made("flac"))[:variants], pattern=(0,))
    store = source.stores[0] = MemoryResource(len(data))
    store.write_at(0, data[: offset + size])  # and the next packet does not come
    with decode.Decoder(source) as decoder:
        assert 2048 == len(decoder.read(2048))
