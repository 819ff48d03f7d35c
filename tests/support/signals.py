"""The signal every corpus file holds: stereo, seeded, with one sharp cross-correlation peak at every place."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

SEED = 20
Samples = npt.NDArray[np.float64]


@functools.cache
def signal(frames: int, rate: int) -> Samples:
    """*frames* × 2 samples in [-1, 1) at *rate*: a slow sweep over noise with no energy above a third of the rate.

    Encoders keep what lies that low, so a decoded file correlates with it; the two channels differ.
    """
    chance = np.random.default_rng(SEED)
    time = np.arange(frames) / rate
    noise = chance.standard_normal((frames, 2))
    kernel = np.sinc(np.arange(-24, 25) / 4.5) * np.hanning(49)
    kernel /= np.abs(kernel).sum()
    low = np.stack([np.convolve(noise[:, channel], kernel, "same") for channel in (0, 1)], axis=1)
    low *= (0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * time))[:, None]
    sweep = np.sin(2 * np.pi * (220 * time + 1200 * (1 - np.cos(2 * np.pi * time / 37)) * 37 / (2 * np.pi)))
    tone = np.sin(2 * np.pi * 331 * time)
    mix = 0.5 * low / np.abs(low).max() + np.stack([0.22 * sweep, 0.12 * sweep + 0.12 * tone], axis=1)
    mix.setflags(write=False)
    return mix


def quantized(samples: Samples, bits: int) -> npt.NDArray[np.int32]:
    """*samples* as integers of *bits* bits, right-aligned in int32."""
    full = 1 << (bits - 1)
    return np.clip(np.rint(samples * full), -full, full - 1).astype(np.int32)


def lag(decoded: npt.NDArray[np.floating], source: npt.NDArray[np.floating], reach: int = 8192) -> int:
    """By how many frames *decoded* is late against *source* (both one channel), up to *reach* either way."""
    size = min(len(decoded), len(source), 1 << 17)
    width = 1 << (size + 2 * reach).bit_length()
    spectrum = np.fft.rfft(decoded[:size], width) * np.conj(np.fft.rfft(source[:size], width))
    correlation = np.fft.irfft(spectrum, width)
    candidates = np.concatenate([np.arange(0, reach), np.arange(-reach, 0)])
    return int(candidates[np.argmax(correlation[candidates])])
