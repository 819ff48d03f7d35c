"""Which variant comes next: the listener's wish, what can be had, and the controller's advice. Pure; no clock."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Literal

from ..abr import AbrOptions, Controller
from .ladder import HlsVariant

Mode = int | Literal["auto"]

STALLED = 4.0
"""Seconds after which a first download, of which nothing can be forecast yet, is given up if as much is to come."""

PENALTY = 60.0
"""Seconds for which a variant that failed is not chosen."""


LEAST = 0.1
"""Seconds to hear that a segment is taken to bring at least."""


def weight(gain: float, duration: float) -> float:
    """How much larger a download that brings *gain* seconds to hear is reckoned, among such that bring *duration*.

    What brings less is dearer by the second. What brings more is cheaper, but not by as much: for longer nothing else
    comes. Its whole size would keep a ladder down whose upper variants have longer segments, and its price by the
    second would empty a thin buffer (measured in simulations; the root is between the two).
    """
    share = duration / max(gain, LEAST)
    return share if share > 1 else math.sqrt(share)


@dataclass(frozen=True, slots=True)
class Rung:
    """A variant as the controller sees it."""

    bandwidth: int


class Choice:
    """The state of choosing among *variants*. Indexes are the variants' own, in the playlist's order.

    Attributes:
        mode: ``"auto"``, or the index that the listener wants.
        controller: What decides in ``"auto"``; fed by whoever fetches.
        duration: Seconds of a segment as the controller sees it.
    """

    def __init__(
        self, variants: Sequence[HlsVariant], mode: Mode, *, duration: float, capacity: float, options: AbrOptions
    ) -> None:
        # what does not say its bandwidth ranks last
        self._order = sorted(range(len(variants)), key=lambda index: (variants[index].rate <= 0, variants[index].rate))
        self._rank = {index: rank for rank, index in enumerate(self._order)}
        self._rates = [variant.rate for variant in variants]
        rates = [self._rates[index] for index in self._order]
        most = max(rates)
        rungs = [Rung(rate if rate > 0 else most) for rate in rates]
        self.duration: float = max(duration, 0.1)
        self.controller: Controller = Controller(rungs, self.duration, capacity, options)
        cap = options.max_bandwidth
        self._capped = {
            index for index, rung in zip(self._order, rungs, strict=True) if cap is None or rung.bandwidth <= cap
        } or {self._order[0]}
        self.mode: Mode = mode
        self._blocked: dict[int, float] = {}

    def block(self, variant: int, now: float) -> None:
        """*variant* failed: leave it alone for a while."""
        self._blocked[variant] = now + PENALTY

    def available(self, now: float, excluded: Container[int] = ()) -> list[int]:
        """What may be chosen now, from the least to the most bandwidth; the wish alone where there is one."""
        if self.mode != "auto":
            return [] if self.mode in excluded else [self.mode]
        return [index for index in self._order if index not in excluded and self._blocked.get(index, -1.0) <= now]

    def order(self) -> list[int]:
        """What to try to begin with, the best first: the wish alone, else the controller's, then from the least on."""
        if self.mode != "auto":
            return [self.mode]
        start = self._order[self.controller.first()]
        return [start, *(index for index in self._order if index != start)]

    def instead_of(self, failed: int, now: float, tried: Container[int]) -> list[int]:
        """What may be had for *failed*: the same bandwidth from elsewhere first, then less and less, then more."""
        rank = self._rank[failed]
        return sorted(
            self.available(now, tried),
            key=lambda index: (
                self._rates[index] != self._rates[failed],
                self._rank[index] > rank,
                abs(self._rank[index] - rank),
            ),
        )

    def first(self, now: float) -> int:
        """Where to start."""
        available = self.available(now)
        start = self._order[self.controller.first()]
        return start if start in available or not available else available[0]

    def best_held(self, held: Collection[int]) -> int | None:
        """The best of *held*, those that cost nothing because the cache has them; None where none may be chosen."""
        return max((index for index in held if index in self._capped), key=self._rank.__getitem__, default=None)

    def best(
        self,
        buffer_seconds: float,
        *,
        last: int,
        index: int,
        count: int | None,
        allowed: Sequence[int],
        next_sizes: Sequence[Sequence[int]] | None = None,
    ) -> int:
        """The best of *allowed* for segment *index* after one of *last*.

        Args:
            next_sizes: Bytes of each coming segment, by variant, or None where nobody has told any.
        """
        if len(allowed) == 1:
            return allowed[0]
        if self._knows_only_the_prior and (start := self._order[self.controller.first()]) in allowed:
            return start
        rank = self.controller.choose(
            buffer_seconds,
            segment_index=index,
            segment_count=count,
            last_variant=self._rank[last],
            next_sizes=next_sizes and [[row[variant] for variant in self._order] for row in next_sizes],
            allowed={self._rank[variant] for variant in allowed},
        )
        return self._order[rank]

    @property
    def _knows_only_the_prior(self) -> bool:
        """Nothing was learned of the network yet, but what it was like lately, or that there is none."""
        controller = self.controller
        return controller.options.prior_rate is not None and not controller.estimator.count

    def seconds_for(self, size: float) -> float | None:
        """Seconds that *size* bytes are likely to take, or None before anything is known of the network."""
        estimator = self.controller.estimator
        return estimator.latency + 8 * size / math.exp(estimator.forecast) if estimator.count else None

    def feed(self, size: int, seconds: float, latency: float, *, variant: int, aborted: bool) -> None:
        """Learn from a transfer over the network."""
        self.controller.feed(size, seconds, latency, variant=self._rank[variant], aborted=aborted)

    def better(
        self,
        variant: int,
        *,
        done: int,
        total: int,
        seconds: float,
        latency: float,
        buffer_seconds: float,
        allowed: Sequence[int],
        share: float = 1.0,
    ) -> int | None:
        """The one of *allowed* to fetch instead of a download of *variant* that goes badly, or None.

        Args:
            share: Its `weight`.
        """
        if self.mode != "auto":
            return None
        if not self.controller.estimator.count:
            lower = [index for index in allowed if self._rank[index] < self._rank[variant]]
            rate = max(done, 1) / seconds if seconds > 0 else math.inf
            doomed = seconds > STALLED and total - done > rate * STALLED
            return min(lower, key=self._rank.__getitem__, default=None) if doomed else None
        # As large, and as long under way: the rate is the same.
        rank = self.controller.should_abandon(
            variant=self._rank[variant],
            done=round(done * share),
            total=round(total * share),
            seconds=seconds * share,
            latency=latency,
            buffer_level=buffer_seconds,
            allowed={self._rank[index] for index in allowed},
        )
        return None if rank is None else self._order[rank]
