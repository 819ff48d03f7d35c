"""What every state of playback is worth: dynamic programming over buffer, variant and network.

The score that is maximised is the sum over segments of u = ln(bit rate / lowest), less u_max for every second of
silence, less |Δu| for every change. `Plan` computes, for each number of segments left, the best expected score from
every (buffer, last variant, level of ln rate), where each download meets a rate around the level, the level follows
what was met and drifts back to its mean, and now and then everything stops for a while, the more often the lower the
level is. A download that turns out badly may be left for the lowest variant: without that, the fear of bad luck makes
every choice timid. Short segments are planned several at a time: a plan of many tiny steps is coarse where it matters,
because each of them blurs the table that it is read from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .estimator import MEMORY, SPREAD, Outlook, memory_of

Array = NDArray[np.float64]

# Surprise of a download in units of the spread, and its probability: the heavy-tailed errors of the one-step forecast
# on recorded 3G, in eight points.
_SURPRISES = np.array([-6.5, -2.9, -1.6, -0.75, 0.0, 0.75, 1.6, 3.2])
_CHANCES = np.array([0.012, 0.038, 0.09, 0.18, 0.36, 0.18, 0.09, 0.05])
# Outages in the same recordings: their seconds and the share of each. They hit whatever is being fetched.
_OUTAGES = np.array([18.0, 45.0])
_OUTAGE_SHARES = np.array([0.5, 0.5])
OUTAGE_RATE = 0.004
"""How many outages begin in a second on a usual network."""
# They announce themselves: in the same recordings one begins in 1000 s where the level is above its mean, in 150 s at
# half of it, in 50 s at a sixth. As many a second at the mean, e-folds of them for an e-fold below it, and the limits.
_OUTAGE_RATE_AT_MEAN = 0.002
_OUTAGE_SLOPE = 1.7
_OUTAGE_LIMITS = (-1.0, 2.5)  # e-folds
_MOST_OUTAGES = 0.5

_REVERSION = 50.0  # seconds in which the level goes most of the way back to its mean
_LONGEST = 20.0  # seconds; a download slower than that meets another network before it ends
_HOPELESS = 120.0  # seconds; likewise for one that is to be decided on
_PATIENCE = 1.0  # seconds until a download is known to go badly
_SLUMP = 8.0  # seconds; likewise where nobody leaves: most slumps are over by then

_STEP = 6.0  # seconds that are planned at a time, at least; shorter segments are taken together
_STEP_SHARE = 0.2  # of the buffer, at most
_BUFFER_POINTS = 24
_LEVEL_STEP = 0.45
_HORIZON = 2.5  # buffers full of segments ahead; further away the end makes no difference
_FEWEST_STEPS = 20
_MOST_STEPS = 150


def segments_per_step(duration: float, capacity: float) -> int:
    """How many segments of *duration* seconds are planned at a time for a buffer of *capacity* seconds."""
    return max(1, round(min(_STEP, _STEP_SHARE * capacity) / duration))


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
        self._segments = segments_per_step(duration, capacity)
        step = duration * self._segments
        self._top = max(capacity - duration, duration / 2)  # room for one more segment must be left
        bits = np.array(rates, dtype=float)
        self.utilities: Array = np.log(bits / bits[0])
        self._stall = stall_cost * max(float(self.utilities[-1]), 1e-9)
        self._change: Array = hysteresis * np.abs(self.utilities[:, None] - self.utilities[None, :])
        self._surprises: Array = np.concatenate([_SURPRISES, np.zeros(len(_OUTAGES))])
        self._pauses: Array = np.concatenate([np.zeros(len(_SURPRISES)), _OUTAGES])
        # closer together where the buffer is low: that is where it matters
        self._buffers: Array = self._top * np.linspace(0, 1, _BUFFER_POINTS) ** 1.5
        self._lowest_level = math.log(bits[0] / 10)
        self._levels: Array = np.arange(self._lowest_level, math.log(bits[-1] * 4) + _LEVEL_STEP, _LEVEL_STEP)
        self._steps = int(min(max(_HORIZON * capacity / step, _FEWEST_STEPS), _MOST_STEPS))
        self._worth: list[Array] = [np.zeros((_BUFFER_POINTS, len(bits), len(self._levels)))]
        self._chances: Array = self.chances(self._levels, step)
        self._prepare(bits * step, latency * self._segments)

    def chances(self, level: Array | float, seconds: float) -> Array:
        """Probability of each outcome, by level, of what takes *seconds* to play."""
        least, most = _OUTAGE_LIMITS
        rate = _OUTAGE_RATE_AT_MEAN * np.exp(np.clip(_OUTAGE_SLOPE * (self.mean - level), least, most))
        pause = np.minimum(self.outages * seconds * rate, _MOST_OUTAGES)
        return np.concatenate(
            [np.multiply.outer(_CHANCES / _CHANCES.sum(), 1 - pause), np.multiply.outer(_OUTAGE_SHARES, pause)]
        )

    def _prepare(self, sizes: Array, latency: float) -> None:
        """Everything of a step that is the same in each: rewards, and where each outcome leads."""
        levels = self._levels[None, :]
        rates = np.exp(levels + SPREAD * self._surprises[:, None])  # [outcome, level]
        seconds = np.minimum(latency + sizes[:, None, None] / rates[None], _LONGEST) + self._pauses[None, :, None]
        after = self._level_after(levels, SPREAD * self._surprises[:, None], self._segments)  # [outcome, level]
        self._stay = self._transition(seconds[None], after[None, None], np.arange(len(sizes))[None, :, None, None])
        leaving = self._patience + latency + seconds[:1]
        self._leave = self._transition(leaving[None], after[None, None], np.zeros((1, 1, 1, 1), dtype=int))
        buffers = self._buffers[:, None, None, None]
        silence = self._stall * np.maximum(0.0, seconds[None] - buffers)
        self._reward: Array = self._segments * self.utilities[None, :, None, None] - silence
        silence = self._stall * np.maximum(0.0, leaving[None] - buffers)
        self._reward_leaving: Array = -silence - self._change[:, 0][None, :, None, None]

    def _transition(self, seconds: Array, after: Array, variant: NDArray[np.int_]) -> _Interpolation:
        buffers = self._buffer_after(self._buffers[:, None, None, None], seconds, self._segments)
        return self._interpolation(buffers, after, variant)

    def _buffer_after(self, buffers: Array | float, seconds: Array, segments: int) -> Array:
        return np.minimum(np.maximum(0.0, buffers - seconds) + segments * self._duration, self._top)

    def _level_after(self, level: Array | float, surprise: Array, segments: int) -> Array:
        """The level after *surprise* in so many segments, back towards the mean by as much."""
        met = level + memory_of(MEMORY, segments / self._segments) * surprise
        after: Array = met + (1 - math.exp(-segments * self._duration / _REVERSION)) * (self.mean - met)
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
        """Look *count* steps further ahead; True when that is far enough."""
        for _ in range(min(count, self._steps + 1 - len(self._worth))):
            worth = self._worth[-1]
            outcome = self._reward + self._stay.of(worth)  # [buffer, variant, outcome, level]
            np.maximum(outcome, self._reward_leaving + self._leave.of(worth), out=outcome)
            score = np.einsum("jm,bajm->bam", self._chances, outcome)
            self._worth.append((score[:, None] - self._change[None, :, :, None]).max(axis=2))
        return len(self._worth) > self._steps

    def scores(
        self,
        buffer_seconds: float,
        last_variant: int,
        outlook: Outlook,
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
        steps = -(-max(segments_left, 0) // self._segments)
        worth = self._worth[min(steps, len(self._worth) - 1)]
        level, lasting, spread, latency = outlook
        surprises = spread * self._surprises
        rates = np.exp(level + surprises)
        latencies = np.full(len(bits), latency)
        if staying is not None:
            bits = bits.copy()
            bits[staying[0]] = staying[1]
            latencies[staying[0]] = 0.0
        fetching = np.minimum(pause + bits[:, None] / rates[None] + self._pauses[None], _HOPELESS)
        after = self._level_after(lasting, surprises, 1)[None]
        variants = np.arange(len(bits))[:, None]
        outcome = self._outcome(worth, buffer_seconds, latencies[:, None] + fetching, after, variants)
        outcome += self.utilities[:, None]
        leaving = self._patience + 2 * latency + fetching[:1]
        leave = self._outcome(worth, buffer_seconds, leaving, after, np.zeros((1, 1), dtype=int))
        np.maximum(outcome, leave - self._change[:, :1], out=outcome)
        result: Array = outcome @ self.chances(lasting, self._duration) - self._change[last_variant]
        return result

    def _outcome(
        self, worth: Array, buffer_seconds: float, seconds: Array, after: Array, variants: NDArray[np.int_]
    ) -> Array:
        buffers = self._buffer_after(buffer_seconds, seconds, 1)
        silence = np.maximum(0.0, seconds - buffer_seconds)
        return self._interpolation(buffers, after, variants).of(worth) - self._stall * silence


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
        self._corners = np.stack((base, base + below, base + 1, base + below + 1))
        self._weights: Array = np.stack(
            ((1 - above) * (1 - beside), above * (1 - beside), (1 - above) * beside, above * beside)
        )

    def of(self, table: Array) -> Array:
        total: Array = np.einsum("c...,c...->...", table.ravel().take(self._corners), self._weights)
        return total
