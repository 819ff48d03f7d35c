"""Every file of the corpus: counted, aligned, equal to its source, the same samples from wherever they are reached."""

from __future__ import annotations

import io

import numpy as np
import pytest
from support import corpus
from support.signals import lag

import kithara.decode as decode

# SBR and its noise never decode twice to the same bits; neither does AAC's noise substitution.
INEXACT = {"fdk-heaac-adts", "fdk-heaac_edts", "fdk-heaac_smpb", "fdk-heaacv2_smpb"}
PNS = {"adts", "m4a-faststart", "m4a-moov-last", "mkv-aac", "ts-aac"}
EXACT = [name for name in corpus.NAMES if name not in INEXACT | PNS]


def decoded(name: str, **options: object) -> np.ndarray:
    with decode.Decoder(corpus.file(name).path, **options) as decoder:
        return decoder.read()


@pytest.mark.parametrize("name", [name for name in corpus.TOLD if name not in INEXACT])
def test_a_file_that_tells_its_length_gives_exactly_its_frames_in_their_place(name):
    entry = corpus.file(name)
    source = corpus.pcm(entry).astype(np.float64)
    with decode.Decoder(entry.path) as decoder:
        first = decoder.read()
        decoder.seek(0)
        again = decoder.read()
        assert entry.frames == len(first) == len(again) == decoder.frames
    assert lag(first[:, 0], source[:, 0]) == 0
    assert lag(again[:, 0], source[:, 0]) == 0


@pytest.mark.parametrize("name", ["fdk-heaac_edts", "fdk-heaac_smpb", "fdk-heaacv2_smpb"])
def test_he_aac_is_aligned_with_the_plain_aac_of_the_same_source(name):
    plain, rich = decoded("fdk-aac_edts"), decoded(name)
    assert abs(len(rich) - 529_977) <= 1
    assert abs(lag(rich[:, 0], plain[:, 0])) <= 1


@pytest.mark.parametrize("name", corpus.LOSSLESS)
def test_lossless_files_decode_to_what_was_encoded(name):
    entry = corpus.file(name)
    source = corpus.pcm(entry)
    if entry.bits == 32:
        assert np.array_equal(source, decoded(name, dtype="float32"))
    else:
        shifted = source.astype(np.int64) << (32 - entry.bits)
        assert np.array_equal(shifted.astype(np.int32), decoded(name, dtype="int32"))
        assert np.array_equal((shifted / 2.0**31).astype(np.float32), decoded(name, dtype="float32"))


@pytest.mark.parametrize("name", EXACT)
def test_any_seek_gives_the_samples_of_a_decode_from_the_start(name):
    whole = decoded(name)
    chance = np.random.default_rng(5)
    places = [0, len(whole) - 100, len(whole), 5, *chance.integers(0, len(whole) + 3000, 96).tolist()]
    with decode.Decoder(corpus.file(name).path) as decoder:
        for place in places:
            decoder.seek(place)
            assert np.array_equal(whole[place : place + 4096], decoder.read(4096)), f"at {place}"


@pytest.mark.parametrize("name", sorted(PNS | INEXACT))
def test_a_seek_where_noise_is_made_up_lands_in_its_place(name):
    whole = decoded(name)
    chance = np.random.default_rng(5)
    with decode.Decoder(corpus.file(name).path) as decoder:
        for place in chance.integers(0, len(whole) - 40_000, 100).tolist():
            decoder.seek(place)
            part = decoder.read(16_384)
            assert lag(part[:, 0], whole[place : place + 16_384, 0], reach=2048) == 0, f"at {place}"


@pytest.mark.parametrize("name", EXACT)
def test_ragged_reads_equal_one_read(name):
    whole = decoded(name)
    chance = np.random.default_rng(6)
    pieces = []
    with decode.Decoder(corpus.file(name).path) as decoder:
        while len(piece := decoder.read(int(chance.integers(1, 9000)))):
            pieces.append(piece)
        assert len(whole) == decoder.tell()
        assert len(decoder.read(10)) == 0
        decoder.seek(1000)
        assert np.array_equal(whole[1000:1500], decoder.read(500))
    assert np.array_equal(whole, np.concatenate(pieces))


class Dribble(io.RawIOBase):
    """A reader that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._chance = data, 0, np.random.default_rng(3)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = min(size, int(self._chance.integers(1, 700)))
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece


MOOV_LAST = {"fdk-aac_edts", "fdk-aac_itunsmpb", "m4a-moov-last", "mp4-opus"}


@pytest.mark.parametrize("name", [name for name in EXACT if name not in MOOV_LAST])
def test_a_reader_that_only_goes_forward_gives_the_same_samples(name):
    data = corpus.file(name).path.read_bytes()
    with decode.Decoder(Dribble(data)) as decoder:
        assert np.array_equal(decoded(name), decoder.read())
