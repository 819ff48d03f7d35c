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
    """A segment is whole. *cached* ones say nothing about the network."""

    index: int
    variant: int
    size: int
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentGivenUp:
    """The download of a segment was abandoned, or failed with *error*; another variant may replace it."""

    index: int
    variant: int
    error: Exception | None
