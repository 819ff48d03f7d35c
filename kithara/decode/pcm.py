"""The shapes PCM comes in: specification, dtype, chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.pcm import DTYPES, FORMATS

__all__ = ["LAYOUTS", "Array", "PcmChunk", "PcmSpec", "as_dtype"]

Array = NDArray[Any]

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Usual names by channel count; the order of channels is the decoder's, which is WAVE's."""

RAW_FORMATS = {
    "pcm_u8": FORMATS["u8"][0],
    "pcm_s16le": FORMATS["s16"][0],
    "pcm_s24le": FORMATS["s24"][0],
    "pcm_s32le": FORMATS["s32"][0],
    "pcm_f32le": FORMATS["flt"][0],
    "pcm_f64le": FORMATS["dbl"][0],
}
RAW_WIDTHS = {"pcm_u8": 1, "pcm_s16le": 2, "pcm_s24le": 3, "pcm_s32le": 4, "pcm_f32le": 4, "pcm_f64le": 8}
"""Bytes of a sample."""


@dataclass(frozen=True, slots=True)
class PcmSpec:
    """Frames per second and channels; *layout* names the channels' order."""

    rate: int
    channels: int
    layout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmChunk:
    """PCM that says where it belongs.

    Attributes:
        data: ``(frames, channels)``, C-contiguous.
        start: The frame of the stream that ``data[0]`` is.
        rate: Frames per second.
        epoch: Counts seeks; a chunk of an older epoch than the stream's is stale.
        variant: Index of the HLS variant it came from, or None.
        discontinuity: It does not continue the chunk before it.
    """

    data: Array
    start: int
    rate: int
    epoch: int = 0
    variant: int | None = None
    discontinuity: bool = False

    @property
    def seconds(self) -> float:
        """Where it begins, in seconds."""
        return self.start / self.rate


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """*dtype* as numpy's, if it is one PCM can have.

    Raises:
        ValueError: it is not one of int16, int32, float32, float64.
    """
    found: np.dtype[Any] = np.dtype(dtype)
    if found.name not in DTYPES or not found.isnative:
        raise ValueError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    return found
