"""Chooses the variant of each segment. Pure: no clock, no I/O; whoever plays tells it what happened."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .estimator import Estimator, Watch
from .options import AbrOptions
from .plan import OUTAGE_RATE, Plan, segments_per_step

_DRIFT = 0.35  # of ln(rate): how far the mean may move before the plan is made anew
_ROUGHER = 0.4  # of ln(outages): likewise
_USUAL = 2.0  # outages that this network is taken to be like any other, before it has shown its own
_SWEEPS = 6  # steps of a new plan per transfer; the old one serves until it is complete
_FIRST_SWEEPS = 50  # of the first, which serves at once; looking further ahead matters little at first
_SOON = 0.2  # seconds before which a download says nothing about itself
_IN_TIME = 0.3  # of the buffer: a download that is here by then is no worry
_PATIENCE = 0.35  # of a long buffer: how long a slow download is watched before it is judged
_PATIENCE_LIMITS = (0.15, 0.8)
_LONG = 100.0  # seconds of buffer from which on it is long; less is watched over more closely
_UNWATCHED = 3.0  # seconds of a download after which somebody who leaves any would have asked
_MARGIN = 1.0  # of u: what giving up a download must gain
_LITTLE = 15.0  # seconds of buffer below which less will do, down to nothing
_HUNG = 4.0  # seconds without a byte after which a download tells nothing any more
_COLLAPSE = 1.5  # of ln(rate): slower than forecast by this is an outage with the chance below, at first
_OUTAGE = 0.4
_OUTAGE_LIMIT = 12.0  # seconds after which it is a slow link
_OUTAGE_LEFT = 8.0  # seconds that an outage goes on: the median on recorded 3G


class Rung(Protocol):
    """A variant, as far as choosing goes."""

    @property
    def bandwidth(self) -> int:
        """Bits per second."""
        ...


class Controller:
    """Adaptive choice over *variants*, ascending in bandwidth.

    One decision takes well under a millisecond; the plan behind it (see `Plan`) is made at the first transfer and,
    bit by bit, again when the network has changed.

    Args:
        variants: Anything with a ``bandwidth`` in bit/s.
        segment_duration: Seconds of a typical segment.
        buffer_capacity: Seconds that may be fetched ahead.

    Raises ValueError when there is no variant, or they do not ascend.
    """

    wants_sizes = True

    def __init__(
        self,
        variants: Sequence[Rung],
        segment_duration: float,
        buffer_capacity: float,
        options: AbrOptions | None = None,
    ) -> None:
        rates = [float(max(variant.bandwidth, 1)) for variant in variants]
        if not rates:
            raise ValueError("no variant to choose from")
        if rates != sorted(rates):
            raise ValueError("variants must ascend in bandwidth")
        if not (segment_duration > 0 and buffer_capacity > 0):
            raise ValueError("durations must be positive")
        self.options: AbrOptions = AbrOptions() if options is None else options
        together = segments_per_step(segment_duration, buffer_capacity)
        self.estimator: Estimator = Estimator(self.options, 1 / together, together * segment_duration)
        self._rates = rates
        self._duration = segment_duration
        self._capacity = buffer_capacity
        self._typical = np.array(rates) * segment_duration
        self._plan: Plan | None = None
        self._coming: Plan | None = None
        self._sizes = self._typical
        self._last = 0
        self._left = 0
        self._watch: Watch | None = None
        self._advised = False
        self._asked = True
        self._ignored = False

    def first(self) -> int:
        """Where to start: the lowest, unless a prior rate says that more comes as quickly."""
        if self.options.prior_rate is None:
            return 0
        rate = self.options.safety * self.options.prior_rate
        top = math.log(self._rates[-1] / self._rates[0])
        gains = [math.log(own / self._rates[0]) - top * own * self._duration / rate for own in self._rates]
        return max(self._allowed(None), key=lambda index: gains[index])

    def feed(
        self, size: int, seconds: float, latency: float, *, variant: int, aborted: bool = False, now: float = 0.0
    ) -> None:
        """Learn from *size* bytes that took *seconds* after *latency* seconds to the first. Never feed cache hits."""
        self.estimator.feed(size, seconds, latency, aborted=aborted)
        self._see_whether_advice_is_taken(variant, seconds, aborted)
        self._renew_plan()

    def _see_whether_advice_is_taken(self, variant: int, seconds: float, aborted: bool) -> None:
        if aborted or self._advised:
            self._ignored = not aborted
        if aborted or self._watch is not None:
            self._asked = True
        elif variant > 0 and seconds > _UNWATCHED:
            self._asked = False
        self._watch, self._advised = None, False

    @property
    def counts_on_leaving(self) -> bool:
        """Whether a bad download may be left, as far as is known: not where nobody asks, or does as advised."""
        return self.options.abandon and self._asked and not self._ignored

    def choose(
        self,
        buffer_seconds: float,
        *,
        segment_index: int,
        segment_count: int | None,
        last_variant: int | None,
        now: float = 0.0,
        next_sizes: Sequence[Sequence[int]] | None = None,
        allowed: Container[int] | None = None,
    ) -> int:
        """The variant for segment *segment_index*.

        Args:
            buffer_seconds: What is fetched and not yet played.
            segment_count: How many segments there are, or None while more are coming.
            last_variant: What the segment before has; None for as good as `first`.
            next_sizes: Bytes of the coming segments, one row per segment with one number per variant.
            allowed: The variants that can be had; None for all.
        """
        if last_variant is None:
            last_variant = self.first()
        self._last = last_variant
        self._left = 1 << 20 if segment_count is None else segment_count - segment_index - 1
        self._sizes = self._typical
        if next_sizes is not None and len(next_sizes) > 0:
            self._sizes = 8.0 * np.array(next_sizes[0], dtype=float)
        candidates = self._allowed(allowed)
        if self._plan is None or len(candidates) == 1:
            return max((index for index in candidates if index <= last_variant), default=candidates[0])
        scores = self._plan.scores(
            buffer_seconds,
            last_variant,
            self.estimator.outlook(),
            self._sizes,
            self._left,
        )
        return max(candidates, key=lambda index: float(scores[index]))

    def should_abandon(
        self,
        *,
        variant: int,
        done: int,
        total: int,
        seconds: float,
        latency: float,
        buffer_level: float,
        allowed: Container[int] | None = None,
    ) -> int | None:
        """The lower variant to fetch instead of a download that goes badly, or None to let it go on.

        Args:
            done: Bytes that came of *total*, *seconds* after the first.
            buffer_level: What is fetched and not yet played, now.
        """
        watch = self._watched(variant, done, total, seconds)
        if not self.options.abandon or self._plan is None or variant == 0 or seconds < _SOON or done >= total:
            return None
        level = self.estimator.blended(watch)
        remaining = 8.0 * (total - done)
        if remaining < _IN_TIME * buffer_level * math.exp(level) or seconds < self._patience(buffer_level):
            return None  # it will be here in time, or there is time to see
        below = [index for index in self._allowed(allowed) if index < variant]
        if below and watch.silence > max(_HUNG, self._patience(buffer_level)):
            self._advised = True  # the request hangs, or the link is out, and then less is what comes first
            return below[0]
        lower = [index for index in below if self._sizes[index] < remaining]
        if not lower:
            return None
        scores = self._scores_staying(buffer_level, level, variant, remaining)
        chance = _OUTAGE * max(0.0, 1 - seconds / _OUTAGE_LIMIT)
        if chance and level < self.estimator.forecast - _COLLAPSE:
            # perhaps an outage: then everything waits, whatever is asked for, and goes on as it was
            forecast = self.estimator.forecast
            paused = self._scores_staying(buffer_level, forecast, variant, remaining, pause=_OUTAGE_LEFT)
            scores = (1 - chance) * scores + chance * paused
        best = max(lower, key=lambda index: float(scores[index]))
        if scores[best] <= scores[variant] + _MARGIN * min(1.0, buffer_level / _LITTLE):
            return None
        self._advised = True
        return best

    def _watched(self, variant: int, done: int, total: int, seconds: float) -> Watch:
        """The download under way, looked at once more."""
        watch = self._watch
        if watch is None or (variant, total) != (watch.variant, watch.total) or done < watch.done:
            watch = self._watch = Watch(variant, total)
        watch.look(done, seconds)
        return watch

    def _scores_staying(
        self, buffer_level: float, level: float, variant: int, remaining: float, *, pause: float = 0.0
    ) -> NDArray[np.float64]:
        """Expected score of each variant when *remaining* bits of *variant* are still to come."""
        assert self._plan is not None
        return self._plan.scores(
            buffer_level,
            self._last,
            self.estimator.outlook(level),
            self._sizes,
            self._left,
            staying=(variant, remaining),
            pause=pause,
        )

    def idle(self, seconds: float) -> None:
        """Nothing was fetched for *seconds*, because the buffer was full. Nothing is learned from that."""

    def _allowed(self, allowed: Container[int] | None) -> list[int]:
        """The variants to choose among, ascending: those *allowed* under the cap, else the lowest of them."""
        indexes = [index for index in range(len(self._rates)) if allowed is None or index in allowed] or [0]
        cap = self.options.max_bandwidth
        if cap is None:
            return indexes
        return [index for index in indexes if self._rates[index] <= cap] or indexes[:1]

    @property
    def _outages(self) -> float:
        """How many outages this network has, as a multiple of what is usual: from what is usual to what was met."""
        expected = self.estimator.count * self._duration * OUTAGE_RATE
        return (_USUAL + self.estimator.outages) / (_USUAL + expected)

    def _patience(self, buffer_level: float) -> float:
        """Seconds for which a slow download is watched: most slumps are short, and giving up costs for certain."""
        least, most = _PATIENCE_LIMITS
        share = min(max(_PATIENCE / self._outages, least), most)
        return share * buffer_level * math.sqrt(min(1.0, buffer_level / _LONG))

    def _renew_plan(self) -> None:
        if not self.estimator.count or len(self._rates) == 1:
            return
        if self._plan is None:
            self._plan = self._new_plan()
            self._plan.sweep(_FIRST_SWEEPS)
        elif self._plan.sweep(_SWEEPS) and self._coming is None and self._is_outdated(self._plan):
            self._coming = self._new_plan()
        if self._coming is not None and self._coming.sweep(_SWEEPS):
            self._plan, self._coming = self._coming, None

    def _is_outdated(self, plan: Plan) -> bool:
        return (
            abs(self.estimator.mean - plan.mean) > _DRIFT
            or abs(math.log(self._outages / plan.outages)) > _ROUGHER
            or self.counts_on_leaving != plan.leaving
        )

    def _new_plan(self) -> Plan:
        return Plan(
            self._rates,
            self._duration,
            self._capacity,
            mean=self.estimator.mean,
            latency=self.estimator.latency,
            outages=self._outages,
            leaving=self.counts_on_leaving,
            hysteresis=self.options.hysteresis,
            stall_cost=self.options.stall_cost,
        )


def simulation_controller(
    variants: Sequence[Rung], segment_duration: float, buffer_capacity: float, options: AbrOptions | None = None
) -> Controller:
    """The controller that plays, for whoever wants to simulate it: `Controller` itself."""
    return Controller(variants, segment_duration, buffer_capacity, options)
