"""One call: a whole file as an array, or what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..media import MediaInfo
from .decoder import Decoder
from .gapless import Gapless, GaplessMode
from .pcm import Array, PcmSpec
from .tags import Tags

__all__ = ["Probe", "load", "measure", "mix_down", "probe"]


def load(
    what: Any,
    rate: int | None = None,
    mono: bool = False,
    dtype: Any = "float32",
    *,
    gapless: GaplessMode = "media",
    media: MediaInfo | None = None,
    variant: int | None = None,
) -> tuple[Array, int]:
    """All of *what* and its rate: ``(n, channels)``, or ``(n,)`` with *mono*; resampled to *rate* if given.

    Of an HLS presentation it is *variant*, or whatever the network allowed. Waits for all bytes. Raises as `Decoder`
    does.
    """
    with Decoder(what, dtype, gapless=gapless, media=media, variant=variant) as original:
        same = rate is None or rate == original.spec.rate
        with original if same else original.resampled_to(rate or 0) as decoder:
            data = decoder.read()
            return (mix_down(data) if mono else data), decoder.spec.rate


def mix_down(data: Array) -> Array:
    """The mean of the channels, ``(n,)`` of the same dtype."""
    if data.shape[1] == 1:
        return data.reshape(-1)
    if data.dtype.kind == "f":
        mean: Array = data.mean(axis=1, dtype=data.dtype)
        return mean
    rounded: Array = np.rint(data.mean(axis=1, dtype=np.float64)).astype(data.dtype)
    return rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What is known of a body without decoding it through."""

    media: MediaInfo
    spec: PcmSpec
    frames: int | None
    duration: float | None
    gapless: Gapless | None
    tags: Tags
    variants: Sequence[Any]


def probe(what: Any, *, media: MediaInfo | None = None) -> Probe:
    """Media, length and tags of *what*. Waits for the header, and for the end of what tells its length only there."""
    with Decoder(what, media=media) as decoder:
        return Probe(
            media=decoder.media,
            spec=decoder.spec,
            frames=measure(decoder),
            duration=decoder.duration,
            gapless=decoder.gapless,
            tags=decoder.tags,
            variants=decoder.variants,
        )


def measure(decoder: Decoder) -> int | None:
    """The frames of *decoder*, or None where nothing tells. Waits for the end of what tells its length only there."""
    return decoder._engine.frames(wait=True)
