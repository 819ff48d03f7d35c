"""What an `AudioStream` tells of itself: frozen events for its bus, and its counters."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AudioStats", "Buffering", "Ended", "Sought", "VariantSwitched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Decoding goes on at *seconds*, the exact frame when *exact*; chunks of the new *epoch* follow."""

    seconds: float
    exact: bool
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffering:
    """The buffer ran dry at *seconds* in the middle of an epoch; *underruns* times by now."""

    seconds: float
    underruns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSwitched:
    """From the frame at *seconds* on another *variant* is heard."""

    variant: int | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The last frame, at *seconds*, is in the buffer."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStats:
    """Counters of an `AudioStream` so far.

    Attributes:
        underruns: Calls that found too little in the middle of an epoch, and got silence.
        buffered: Seconds of PCM that are here.
        decoded: Frames put into the buffer.
        damaged: Packets that could not be decoded.
        epoch: Seeks.
        failed: The error that ended decoding, or None.
    """

    underruns: int
    buffered: float
    decoded: int
    damaged: int
    epoch: int
    failed: BaseException | None
