"""Decoding beside PyAV's bare decode loop, which is the limit, and beside libraries that give whole arrays."""

from __future__ import annotations

import importlib.util
import resource
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from support import corpus

from kithara.decode import Decoder, load

from .conftest import Timed, Versus

SECONDS = 300
ROUNDS = 7
CODECS = {
    "mp3-cbr": 0.92, "mp3-vbr": 0.92, "m4a-faststart": 0.92, "adts": 0.92, "flac": 0.92, "flac-24": 0.92, "alac": 0.92,
    "ogg-vorbis": 0.92, "ogg-opus": 0.92, "fmp4": 0.92, "mkv-aac": 0.92, "ts-aac": 0.92, "wav-16": 0.9,
}  # fmt: skip


def once(action: Callable[[Path], object], path: Path) -> Timed:
    """Milliseconds of processor time of one call: decoding waits for nothing, and other jobs do not count.

    That of processes it started counts as its own.
    """

    def spent() -> float:
        usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    def timed() -> float:
        started = spent()
        action(path)
        return (spent() - started) * 1000

    return timed


def ours(path: Path) -> None:
    """Everything into one preallocated block, as float32."""
    with open(path, "rb", buffering=0) as file, Decoder(file) as decoder:
        out = np.empty((65_536, decoder.spec.channels), np.float32)
        while decoder.readinto(out):
            pass


def bare(path: Path) -> None:
    """Demux and decode, and nothing done with the frames."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            for _ in packet.decode():
                pass


def converted(path: Path) -> None:
    """What a user of PyAV writes: every frame to an array, all joined."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)


@pytest.mark.parametrize(("name", "share"), CODECS.items())
def test_decode_beside_the_bare_loop(name: str, share: float, versus: Versus) -> None:
    path = corpus.file(name, seconds=SECONDS).path
    versus(
        f"decode {name}", once(ours, path), "bare PyAV", once(bare, path), at_most=1 / share, unit="ms", rounds=ROUNDS
    )


@pytest.mark.parametrize("name", ["mp3-cbr", "m4a-faststart", "flac", "ogg-vorbis", "ogg-opus"])
def test_load_beside_pyav_arrays(name: str, versus: Versus) -> None:
    path = corpus.file(name, seconds=SECONDS).path
    versus(
        f"load {name}",
        once(load, path),
        "PyAV to_ndarray",
        once(converted, path),
        at_most=1.0,
        unit="ms",
        rounds=ROUNDS,
    )


LIBSNDFILE = {"soundfile", "librosa"}
"""They read by libsndfile, whose decoders of MP3 and FLAC (mpg123, libFLAC) are faster than FFmpeg's, our limit."""


@pytest.mark.parametrize("name", ["mp3-cbr", "m4a-faststart", "flac", "ogg-vorbis", "ogg-opus", "wav-16"])
@pytest.mark.parametrize("peer", ["soundfile", "librosa", "audioread", "torchcodec"])
def test_load_beside_other_libraries(name: str, peer: str, versus: Versus) -> None:
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    if peer == "soundfile" and name == "m4a-faststart":
        pytest.skip("libsndfile reads no AAC")
    path = corpus.file(name, seconds=SECONDS).path
    reach = 1.25 if peer in LIBSNDFILE and name in ("mp3-cbr", "flac") else 1.0
    versus(f"load {name}", once(load, path), peer, once(_peer(peer), path), at_most=reach, unit="ms", rounds=ROUNDS)


def _peer(name: str) -> Callable[[Path], object]:
    """A full decode to an array of float32."""
    if name == "torchcodec":
        decoders = importlib.import_module("torchcodec.decoders")
        return lambda path: decoders.AudioDecoder(str(path)).get_all_samples().data.numpy()
    module = importlib.import_module(name)
    if name == "soundfile":
        return lambda path: module.read(str(path), dtype="float32")
    if name == "librosa":
        return lambda path: module.load(str(path), sr=None, mono=False)

    def read(path: Path) -> object:
        with module.audio_open(str(path)) as file:
            return np.frombuffer(b"".join(file), np.int16).astype(np.float32) / 32768

    return read


PRE_ROLL = {"mp3-cbr": 11_520, "m4a-faststart": 2048, "flac": 0, "ogg-vorbis": 2048, "ogg-opus": 48_000, "wav-16": 0}
"""Frames that have to be decoded ahead of a place until what is decoded there equals a decode from the start."""


@pytest.mark.parametrize("peer", ["PyAV", "PyAV, exact"])
@pytest.mark.parametrize("name", sorted(PRE_ROLL))
def test_a_seek_beside_pyavs(name: str, peer: str, versus: Versus) -> None:
    """All go to the same places and give 4096 frames. PyAV's own seek is off by up to a page and lacks the pre-roll;
    what a careful user writes with it decodes that, too, and cuts to the frame."""
    path = corpus.file(name, seconds=SECONDS).path
    places = np.random.default_rng(1).uniform(2, SECONDS - 1, 50).tolist()

    def ours(path: Path) -> None:
        with Decoder(path) as decoder:
            for place in places:
                decoder.seek(int(place * decoder.spec.rate))
                assert len(decoder.read(4096)) == 4096

    def rough(path: Path) -> None:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            for place in places:
                container.seek(int(place * 1_000_000))
                got = 0
                for frame in container.decode(stream):
                    got += frame.samples
                    if got >= 4096:
                        break

    def exact(path: Path) -> None:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            stream.codec_context.thread_count = 1
            for place in places:
                start = int(place * stream.rate)
                container.seek((start - PRE_ROLL[name]) * 1_000_000 // stream.rate)
                parts, got = [], 0
                for frame in container.decode(stream):
                    at = round(frame.pts * frame.time_base * stream.rate)
                    if at + frame.samples > start:
                        planes = frame.to_ndarray()
                        data = planes.T if frame.format.is_planar else planes.reshape(frame.samples, -1)
                        parts.append(data[max(start - at, 0) :])
                        got += len(parts[-1])
                    if got >= 4096:
                        break
                assert np.concatenate(parts)[:4096].astype(np.float32).shape == (4096, 2)

    theirs, reach = (rough, 3.0) if peer == "PyAV" else (exact, 1.5)
    versus(f"seek {name}", once(ours, path), peer, once(theirs, path), at_most=reach, unit="ms", rounds=ROUNDS)
