"""WAV and FLAC as the command line writes them, read back by libsndfile."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.signals import quantized, signal

from kithara.cli import lyre
from kithara.cli.recorder import SAMPLE_TYPES, Recorder

FRAMES = 10_007


def samples(kind: str) -> np.ndarray:
    mix = signal(FRAMES, 44100)
    if kind == "float32":
        return mix.astype(np.float32)
    bits = {"int16": 16, "int24": 24, "int32": 32}[kind]
    values = np.clip(np.rint(mix * 2.0 ** (bits - 1)), -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    return (values.astype(np.int64) << (8 if kind == "int24" else 0)).astype(SAMPLE_TYPES[kind].dtype)


@pytest.mark.parametrize(
    ("container", "kind", "subtype"),
    [
        ("wav", "int16", "PCM_16"),
        ("wav", "int24", "PCM_24"),
        ("wav", "int32", "PCM_32"),
        ("wav", "float32", "FLOAT"),
        ("flac", "int16", "PCM_16"),
        ("flac", "int24", "PCM_24"),
    ],
)
def test_libsndfile_reads_back_every_sample(tmp_path: Path, container: str, kind: str, subtype: str) -> None:
    path = tmp_path / f"out.{container}"
    data = samples(kind)
    with Recorder(path, container, SAMPLE_TYPES[kind], rate=44100, channels=2) as recorder:
        for start in range(0, FRAMES, 777):
            recorder.write(data[start : start + 777])
    with soundfile.SoundFile(path) as file:
        assert (44100, 2, subtype, FRAMES) == (file.samplerate, file.channels, file.subtype, file.frames)
        assert np.array_equal(data, file.read(dtype=SAMPLE_TYPES[kind].dtype))


@pytest.mark.parametrize("channels", [1, 6])
def test_any_number_of_channels_is_written(tmp_path: Path, channels: int) -> None:
    data = np.arange(600 * channels, dtype=np.int16).reshape(600, channels)
    with Recorder(tmp_path / "a.wav", "wav", SAMPLE_TYPES["int16"], rate=8000, channels=channels) as recorder:
        recorder.write(data)
    assert np.array_equal(data, soundfile.read(tmp_path / "a.wav", dtype="int16", always_2d=True)[0])


def test_a_pipe_gets_a_wav_that_can_be_read_to_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    script = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    with (
        subprocess.Popen([sys.executable, "-c", script], stdin=reading, stdout=subprocess.PIPE) as other,
        os.fdopen(writing, "wb") as pipe,
        Recorder(pipe, "wav", SAMPLE_TYPES["int16"], rate=44100, channels=2) as recorder,
    ):
        os.close(reading)
        data = quantized(signal(FRAMES, 44100), 16).astype(np.int16)
        recorder.write(data)
        recorder.close()
        pipe.close()
        assert other.stdout is not None
        written = other.stdout.read()
    assert written.endswith(data.tobytes())
    assert written.startswith(b"RIFF")


def test_the_lyre_plays_the_same_every_time_and_survives_flac() -> None:
    music = lyre.melody(3)
    assert np.array_equal(music, lyre.melody(3))
    assert np.array_equal(music, soundfile.read(io.BytesIO(lyre.flac(music)), dtype="int16")[0])


def test_the_m4a_of_the_lyre_has_its_index_at_the_end() -> None:
    file = lyre.m4a(lyre.melody(3))
    assert file.index(b"mdat") < file.index(b"moov")
