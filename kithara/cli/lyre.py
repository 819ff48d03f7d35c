"""The demo's own music: a plucked lyre, computed and encoded here, so that nothing need be downloaded or shipped."""

from __future__ import annotations

import io

import av
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


def m4a(samples: npt.NDArray[np.int16]) -> bytes:
    """*samples* as AAC in an MP4 whose index stands at the end, as many encoders leave it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=128_000)
        for start in range(0, len(samples), RATE):
            block = np.ascontiguousarray(samples[start : start + RATE])
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="stereo")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
