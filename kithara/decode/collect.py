"""An engine's frames in arrays: new ones of the right size, and whether a caller's will do."""

from __future__ import annotations

from typing import Any

import numpy as np

from .engine import Engine
from .pcm import Array
from .resample import Resampled

__all__ = ["check_array", "collected"]

GROWTH = 1 << 18
"""Frames read at once where it is not sure that so many come."""


def collected(engine: Engine | Resampled, frames: int, dtype: np.dtype[Any], *, at_once: bool) -> Array:
    """The next *frames* frames (negative: all) in a new array, ``(n, channels)`` of *dtype*; fewer only at the end.

    Memory for all is taken *at_once*, if so many are sure to come; else as they come. Waits for bytes.
    """
    if frames >= 0 and (at_once or frames <= GROWTH):
        return _fresh(engine, frames, dtype)
    pieces = []
    while frames:
        piece = _fresh(engine, GROWTH if frames < 0 else min(GROWTH, frames), dtype)
        pieces.append(piece)
        frames -= len(piece) if frames > 0 else 0
        if len(piece) < GROWTH:
            break
    return np.concatenate(pieces) if len(pieces) != 1 else pieces[0]


def _fresh(engine: Engine | Resampled, frames: int, dtype: np.dtype[Any]) -> Array:
    out = np.empty((frames, engine.spec.channels), dtype)
    count = engine.fill(out, 0, frames)
    return out if count == frames else out[:count].copy()


def check_array(out: Array, dtype: np.dtype[Any], channels: int) -> None:
    """Whether frames of *channels* samples of *dtype* can be put into *out*.

    Raises:
        ValueError: they cannot.
    """
    shape = (len(out), channels)
    if out.dtype != dtype or not (out.shape == shape or (channels == 1 and out.ndim == 1)):
        raise ValueError(f"out is {out.dtype} {out.shape}, expected {dtype} (n, {channels})")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError("out must be C-contiguous and writable")
