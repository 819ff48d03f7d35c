"""The demo's own music: a plucked lyre, computed and encoded here, so that nothing need be downloaded or shipped."""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import av.container
import numpy as np
import numpy.typing as npt

from .recorder import SAMPLE_TYPES, Recorder

RATE = 44100
NOTE_SECONDS = 0.3
RING_SECONDS = 2.4
# Steps over A2 in the Dorian mode; one phrase, played up, down and again a fifth higher.
PHRASE = (0, 7, 12, 15, 14, 10, 7, 3, 5, 9, 12, 17, 15, 12, 10, 7)


def pluck(frequency: float, seconds: float, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """One string: noise that circles in a delay line and loses its edges each turn (Karplus and Strong, 1983)."""
    period = round(RATE / frequency)
    line = chance.uniform(-1, 1, period)
    turns = round(seconds * RATE / period)
    sound = np.empty(turns * period)
    for turn in range(turns):
        sound[turn * period : (turn + 1) * period] = line
        line = 0.498 * (line + np.roll(line, 1))
    return sound


def melody(seconds: float, seed: int = 1) -> npt.NDArray[np.int16]:
    """Music of *seconds*, (n, 2) at 44.1 kHz; the same for the same *seed*."""
    chance = np.random.default_rng(seed)
    ring = round(RING_SECONDS * RATE)
    frames = round(seconds * RATE)
    mix = np.zeros((frames + 2 * ring, 2))
    for number, start in enumerate(range(0, frames, round(NOTE_SECONDS * RATE))):
        turn, step = divmod(number, len(PHRASE))
        height = PHRASE[-1 - step if turn % 2 else step] + (7 if turn % 4 > 1 else 0)
        string = pluck(110 * 2 ** (height / 12), RING_SECONDS, chance)
        place = 0.5 + 0.35 * np.sin(number)  # from left to right
        mix[start : start + len(string)] += string[:, None] * (np.sqrt(1 - place), np.sqrt(place))
    mix = mix[:frames]
    loudest = float(np.abs(mix).max())
    return np.asarray(mix * (0.8 * 32767 / loudest), dtype=np.int16)


def flac(samples: npt.NDArray[np.int16]) -> bytes:
    """*samples* as a FLAC file."""
    file = io.BytesIO()
    with Recorder(file, "flac", SAMPLE_TYPES["int16"], rate=RATE, channels=samples.shape[1]) as recorder:
        for start in range(0, len(samples), RATE):
            recorder.write(samples[start : start + RATE])
    return file.getvalue()


def hls(samples: npt.NDArray[np.int16], rates: Sequence[int], segment: int) -> dict[str, bytes]:
    """*samples* as an HLS presentation, its files by path: AAC of each of *rates* (bits a second), in fragmented MP4.

    Begin with ``master.m3u8``. Segments are of *segment* seconds.
    """
    with tempfile.TemporaryDirectory(prefix="kithara-demo-") as name, ThreadPoolExecutor() as pool:
        folders = [Path(name, f"{rate // 1000}k") for rate in rates]
        list(pool.map(_pack, itertools.repeat(samples), rates, folders, itertools.repeat(segment)))
        files = {f"{folder.name}/{path.name}": path.read_bytes() for folder in folders for path in folder.iterdir()}
    master = ["#EXTM3U", "#EXT-X-VERSION:7"]
    for folder in folders:
        largest = max(len(data) for path, data in files.items() if path.startswith(folder.name))
        master.append(f'#EXT-X-STREAM-INF:BANDWIDTH={largest * 8 // segment},CODECS="mp4a.40.2"')
        master.append(f"{folder.name}/list.m3u8")
    return {**files, "master.m3u8": "\n".join([*master, ""]).encode()}


def _pack(samples: npt.NDArray[np.int16], rate: int, folder: Path, segment: int) -> None:
    """Write one variant to *folder*."""
    folder.mkdir()
    options = {
        "hls_time": str(segment),
        "hls_playlist_type": "vod",
        "hls_segment_type": "fmp4",
        "hls_segment_filename": str(folder / "%03d.m4s"),
    }
    with av.open(str(folder / "list.m3u8"), "w", format="hls", options=options) as container:
        _encode(container, samples, rate)


def m4a(samples: npt.NDArray[np.int16]) -> bytes:
    """*samples* as AAC in an MP4 whose index stands at the end, as many encoders leave it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        _encode(container, samples, 128_000)
    return file.getvalue()


def _encode(container: av.container.OutputContainer, samples: npt.NDArray[np.int16], rate: int) -> None:
    stream = container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=rate, options={"aac_coder": "fast"})
    for start in range(0, len(samples), RATE):
        block = np.ascontiguousarray(samples[start : start + RATE])
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
