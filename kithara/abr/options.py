"""How a variant is chosen: the knobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AbrOptions:
    """Options of adaptive choice.

    Args:
        safety: The share of the estimated rate that is counted on. Below 1 plays safer.
        hysteresis: What a change of variant costs, as a multiple of the change in log bit rate. Above 1 holds longer.
        stall_cost: What a second of silence costs, as a multiple of a whole segment at the highest variant.
        abandon: Whether a doomed download may be given up for a lower variant.
        max_bandwidth: Bits per second that no variant chosen may exceed, or None. The lowest is always allowed.
        prior_rate: Bits per second seen lately on this network, or None; lets playback start above the lowest.

    Raises ValueError for factors that are not positive.
    """

    safety: float = 1.0
    hysteresis: float = 1.0
    stall_cost: float = 1.0
    abandon: bool = True
    max_bandwidth: float | None = None
    prior_rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("safety", "hysteresis", "stall_cost", "max_bandwidth", "prior_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be positive and finite, not {value}")
