"""What every state of playback is worth: dynamic programming over buffer, variant and network.

The score that is maximised is the sum over segments of u = ln(bit rate / lowest), less u_max for every second of
silence, less |Δu| for every change. `Plan` computes, for each number of segments left, the best expected score from
every (buffer, last variant, level of ln rate), where each download meets a rate around the level, the level follows
what was met and drifts back to its mean, and now and then everything stops for a while. A download that turns out
badly may be left for the lowest variant: without that, the fear of bad luck makes every choice timid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .estimator import MEMORY, SPREAD

Array = NDArray[np.float64]

# Surprise of a download in units of the spread, and its probability: the heavy-tailed errors of the one-step forecast
# on recorded 3G, in eight points.
_SURPRISES = np.array([-6.5, -2.9, -1.6, -0.75, 0.0, 0.75, 1.6, 3.2])
_CHANCES = np.array([0.012, 0.038, 0.09, 0.18, 0.36, 0.18, 0.09, 0.05])
# Outages in the same recordings: their seconds, and how many begin in a second. They hit whatever is being fetched.
_OUTAGES = np.array([18.0, 45.0])
_OUTAGE_RATES = np.array([0.002, 0.002])
OUTAGE_RATE = float(_OUTAGE_RATES.sum())
"""How many outages begin in a second on a usual network."""
_MOST_OUTAGES = 0.5

_REVERSION = 50.0  # seconds in which the level goes most of the way back to its mean
_LONGEST = 20.0  # seconds; a download slower than that meets another network before it ends
_PATIENCE = 1.0  # seconds until a download is known to go badly
_SLUMP = 8.0  # seconds; likewise where nobody leaves: most slumps are over by then

_BUFFER_POINTS = 24
_LEVEL_STEP = 0.45
_HORIZON = 2.5  # buffers full of segments ahead; further away the end makes no difference
_FEWEST_STEPS = 20
_MOST_STEPS = 150


class Plan:
    """The worth of every state on a ladder of *rates* (bit/s, ascending) in segments of *duration* seconds.

    Call `sweep` until it says that the plan is complete; an incomplete one looks less far ahead.

    Args:
        rates: Bit rates of the variants, ascending.
        duration: Seconds of a segment.
        capacity: Seconds that the buffer holds.
        mean: ln(bit/s) that the network tends to.
        latency: Seconds to first byte.
        outages: How many there are, as a multiple of what is usual.
        leaving: Whether a download that turns out badly can be left for the lowest variant.
        hysteresis: Multiple of |Δu| that a change costs.
        stall_cost: Multiple of u_max that a second of silence costs.
    """

    def __init__(
        self,
        rates: Sequence[float],
        duration: float,
        capacity: float,
        *,
        mean: float,
        latency: float,
        outages: float = 1.0,
        leaving: bool = True,
        hysteresis: float = 1.0,
        stall_cost: float = 1.0,
    ) -> None:
        self.mean: float = mean
        self.outages: float = outages
        self.leaving: bool = leaving
        self._patience = _PATIENCE if leaving else _SLUMP
        self._duration = duration
        self._top = max(capacity - duration, duration / 2)  # room for one more segment must be left
        bits = np.array(rates, dtype=float)
        self.utilities: Array = np.log(bits / bits[0])
        self._stall = stall_cost * max(float(self.utilities[-1]), 1e-9)
        self._change: Array = hysteresis * np.abs(self.utilities[:, None] - self.utilities[None, :])
        self._back = 1 - math.exp(-duration / _REVERSION)
        pauses = outages * duration * _OUTAGE_RATES
        pauses *= min(1.0, _MOST_OUTAGES / pauses.sum())
        self._chances: Array = np.concatenate([_CHANCES / _CHANCES.sum() * (1 - pauses.sum()), pauses])
        self._surprises: Array = np.concatenate([_SURPRISES, np.zeros(len(_OUTAGES))])
        self._pauses: Array = np.concatenate([np.zeros(len(_SURPRISES)), _OUTAGES])
        # closer together where the buffer is low: that is where it matters
        self._buffers: Array = self._top * np.linspace(0, 1, _BUFFER_POINTS) ** 1.5
        self._lowest_level = math.log(bits[0] / 10)
        self._levels: Array = np.arange(self._lowest_level, math.log(bits[-1] * 4) + _LEVEL_STEP, _LEVEL_STEP)
        self._steps = int(min(max(_HORIZON * capacity / duration, _FEWEST_STEPS), _MOST_STEPS))
        self._worth: list[Array] = [np.zeros((_BUFFER_POINTS, len(bits), len(self._levels)))]
        self._prepare(bits * duration, latency)

    def _prepare(self, sizes: Array, latency: float) -> None:
        """Everything of a step that is the same in each: rewards, and where each outcome leads."""
        levels = self._levels[None, :]
        rates = np.exp(levels + SPREAD * self._surprises[:, None])  # [outcome, level]
        seconds = np.minimum(latency + sizes[:, None, None] / rates[None], _LONGEST) + self._pauses[None, :, None]
        after = self._level_after(levels, SPREAD)  # [outcome, level]
        self._stay = self._transition(seconds[None], after[None, None], np.arange(len(sizes))[None, :, None, None])
        leaving = self._patience + latency + seconds[:1]
        self._leave = self._transition(leaving[None], after[None, None], np.zeros((1, 1, 1, 1), dtype=int))
        buffers = self._buffers[:, None, None, None]
        silence = self._stall * np.maximum(0.0, seconds[None] - buffers)
        self._reward: Array = self.utilities[None, :, None, None] - silence
        silence = self._stall * np.maximum(0.0, leaving[None] - buffers)
        self._reward_leaving: Array = -silence - self._change[:, 0][None, :, None, None]

    def _transition(self, seconds: Array, after: Array, variant: NDArray[np.int_]) -> _Interpolation:
        buffers = self._buffer_after(self._buffers[:, None, None, None], seconds)
        return self._interpolation(buffers, after, variant)

    def _buffer_after(self, buffers: Array | float, seconds: Array) -> Array:
        return np.minimum(np.maximum(0.0, buffers - seconds) + self._duration, self._top)

    def _level_after(self, level: Array | float, spread: float) -> Array:
        """The level after each outcome, back towards the mean by a step."""
        surprise = MEMORY * spread * self._surprises
        met = level + (surprise[:, None] if isinstance(level, np.ndarray) else surprise)
        after: Array = met + self._back * (self.mean - met)
        return after

    def _interpolation(self, buffers: Array, levels: Array, variant: NDArray[np.int_]) -> _Interpolation:
        row = np.clip(np.searchsorted(self._buffers, buffers, side="right") - 1, 0, _BUFFER_POINTS - 2)
        above = (buffers - self._buffers[row]) / (self._buffers[row + 1] - self._buffers[row])
        place = np.clip((levels - self._lowest_level) / _LEVEL_STEP, 0, len(self._levels) - 1.001)
        column = place.astype(int)
        return _Interpolation(
            (row, variant, column), above, place - column, (_BUFFER_POINTS, len(self.utilities), len(self._levels))
        )

    def sweep(self, count: int) -> bool:
        """Look *count* segments further ahead; True when that is far enough."""
        for _ in range(min(count, self._steps + 1 - len(self._worth))):
            worth = self._worth[-1]
            outcome = self._reward + self._stay.of(worth)  # [buffer, variant, outcome, level]
            np.maximum(outcome, self._reward_leaving + self._leave.of(worth), out=outcome)
            score = np.einsum("j,bajm->bam", self._chances, outcome)
            self._worth.append((score[:, None] - self._change[None, :, :, None]).max(axis=2))
        return len(self._worth) > self._steps

    def scores(
        self,
        buffer_seconds: float,
        last_variant: int,
        level: float,
        spread: float,
        latency: float,
        bits: Array,
        segments_left: int,
        staying: tuple[int, float] | None = None,
        pause: float = 0.0,
    ) -> Array:
        """Expected score of fetching the next segment at each variant.

        Args:
            bits: Size of the next segment at each variant.
            segments_left: How many come after it.
            staying: A variant whose download is under way and the bits that are left of it; it needs no new request.
            pause: Seconds for which nothing will come, whatever is asked for.
        """
        worth = self._worth[min(max(segments_left, 0), len(self._worth) - 1)]
        rates = np.exp(level + spread * self._surprises)
        latencies = np.full(len(bits), latency)
        if staying is not None:
            bits = bits.copy()
            bits[staying[0]] = staying[1]
            latencies[staying[0]] = 0.0
        fetching = pause + bits[:, None] / rates[None] + self._pauses[None]
        after = self._level_after(level, spread)[None]
        variants = np.arange(len(bits))[:, None]
        outcome = self._outcome(worth, buffer_seconds, latencies[:, None] + fetching, after, variants)
        outcome += self.utilities[:, None]
        leaving = self._patience + 2 * latency + fetching[:1]
        leave = self._outcome(worth, buffer_seconds, leaving, after, np.zeros((1, 1), dtype=int))
        np.maximum(outcome, leave - self._change[:, :1], out=outcome)
        result: Array = outcome @ self._chances - self._change[last_variant]
        return result

    def _outcome(
        self, worth: Array, buffer_seconds: float, seconds: Array, after: Array, variants: NDArray[np.int_]
    ) -> Array:
        then = self._interpolation(self._buffer_after(buffer_seconds, seconds), after, variants).of(worth)
        return then - self._stall * np.maximum(0.0, np.minimum(seconds, 120.0) - buffer_seconds)


class _Interpolation:
    """Reads a table between its points, at places that are worked out once."""

    __slots__ = ("_corners", "_weights")

    def __init__(
        self,
        place: tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.int_]],
        above: Array,
        beside: Array,
        shape: tuple[int, int, int],
    ) -> None:
        row, variant, column = place
        _, variants, levels = shape
        base = (row * variants + variant) * levels + column
        below = variants * levels
        self._corners = (base, base + below, base + 1, base + below + 1)
        self._weights = (
            (1 - above) * (1 - beside),
            above * (1 - beside),
            (1 - above) * beside,
            above * beside,
        )

    def of(self, table: Array) -> Array:
        flat = table.ravel()
        total: Array = flat[self._corners[0]] * self._weights[0]
        for corner, weight in zip(self._corners[1:], self._weights[1:], strict=True):
            total += flat[corner] * weight
        return total
