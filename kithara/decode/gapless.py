"""What is not music at the ends: told by the container, or the codec's usual priming, or left in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CODEC_PRIMING", "LOSSLESS", "SBR_DELAY", "Gapless", "GaplessMode"]

GaplessMode = Literal["media", "codec", "off"]

CODEC_PRIMING = {"mp3": 1105, "aac": 1024, "opus": 312, "ac3": 256, "eac3": 256}
"""Frames that the usual encoders put before the first true one, at the decoder's core rate.

LAME's 576 and the decoder's 529; one AAC frame; libopus' 6.5 ms at 48 kHz; AC-3's one block.
"""

LOSSLESS = {"flac", "alac"}
"""Codecs that put nothing before or behind the music."""

SBR_DELAY = 481
"""Frames at the core rate by which an SBR decoder is late (ISO 14496-3, 4.6.18): told by no iTunSMPB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gapless:
    """What was trimmed and who told it.

    Attributes:
        lead: Frames before the first true one.
        tail: Frames after the last true one, or None while unknown.
        source: ``"lame" "elst" "iTunSMPB" "opus-head" "wav"…``, or ``"codec"`` for the codec's usual priming.
    """

    lead: int
    tail: int | None
    source: str
