"""What happens while HLS plays, besides what every session tells (see `kithara.events`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantDecided:
    """The segments from *index* on are meant to come from *variant*. *ticket* numbers the decision.

    *reason* is ``"start"``, ``"throughput"``, ``"manual"``, ``"failover"`` or ``"abandoned"``.
    """

    ticket: int
    variant: int
    index: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantApplied:
    """The decision *ticket* took effect: the listener was given segment *index* of *variant*."""

    ticket: int
    variant: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLoaded:
    """A segment is whole: the part of the presentation from second *start* to *stop*, of *size* bytes.

    It came in *seconds*. *cached* ones say nothing about the network.
    """

    index: int
    variant: int
    start: float
    stop: float
    size: int
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentGivenUp:
    """The download of a segment was abandoned, or failed with *error*; another variant may replace it.

    *size* bytes of the part from second *start* to *stop* had come in *seconds*. An *index* of -1 is the playlist's.
    """

    index: int
    variant: int
    error: Exception | None
    start: float = 0.0
    stop: float = 0.0
    size: int = 0
    seconds: float = 0.0
