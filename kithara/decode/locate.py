"""Finding a time in a stream of bytes that has no index: interpolate, look, narrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Point", "locate"]


class Point(NamedTuple):
    """A place decoding can start at: the byte *offset* of it and the *tick* it plays."""

    offset: int
    tick: int


MAX_LOOKS = 40

Probe = Callable[[int, int], "Point | None"]
"""``probe(offset, stop)`` → the first point at or after *offset* and before *stop*, or None."""


def locate(
    low: Point,
    stop: int,
    stop_tick: int | None,
    tick: int,
    probe: Probe,
    *,
    density: float,
    slack: int,
    rounds: int = 40,
) -> Point:
    """A point at or before *tick*, at most about *slack* bytes of media before it.

    Args:
        low: A known point at or before *tick*.
        stop: Where the media ends, in bytes.
        stop_tick: The tick played there, or None while unknown.
        density: Bytes per tick, a guess; used until two points are known.
        slack: Bytes that reading forward is worth to spare another look.
    """
    first, high = low, stop
    barren = False
    step = max(slack, 1)
    high_tick = stop_tick
    for turn in range(MAX_LOOKS):
        span = (high_tick - low.tick) if high_tick is not None else 0
        rate = (high - low.offset) / span if span > 0 else density
        distance = (tick - low.tick) * rate
        if distance <= slack or high - low.offset <= 1:
            break
        guess = low.offset + int(distance - slack * 0.6)
        if barren:  # no point between there and the one that is too late: it begins a little before
            guess = high - step
            step *= 2
        elif guess >= high or (turn > 6 and turn % 2):  # the density is no help, halving is
            guess = (low.offset + high) // 2
        guess = min(max(guess, low.offset + 1), high - 1)
        point = probe(guess, high)
        barren = point is None
        if point is None:
            high = guess
        elif point.tick > tick:
            high, high_tick = guess, point.tick
        else:
            low = point
            density = (low.offset - first.offset) / max(low.tick - first.tick, 1) or density
    return low
