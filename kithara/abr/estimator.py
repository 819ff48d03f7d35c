"""What the network is like, learned from the transfers that were made. Pure; no clock.

The estimate is a short-memory mean of the *logarithm* of throughput, one weight per transfer. Players that weight by
download seconds let one outage own the estimate for minutes. Time to first byte is kept apart: audio segments are
small, and it would read as a slow network. So nothing is too small to learn from.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .options import AbrOptions

MEMORY = 0.6
"""Share of its surprise that each transfer adds to the level: the best one-step forecast of ln(rate) on recorded 3G
for segments of 2, 6 and 10 s alike. What lasts takes a step of the plan for that share, however short the segments."""
SPREAD = 0.36
"""Mean absolute surprise of ln(rate) expected before anything was learned: the same recordings."""

_SPREAD_MEMORY = 0.08
_MEAN_MEMORY = 0.03
_LATENCY_MEMORY = 0.2
_LATENCY_LIMIT = (1.0, 4.0)  # seconds, and times what it was, that one sample counts at most: it may be of a retry
_SURPRISE_LIMIT = 1.5
_FULL_WEIGHT = 3.0  # seconds after which a transfer that was given up counts like a finished one
_LASTING = 0.5  # of what a transfer under way shows: the share that lasts
_OUTAGE = 6.0  # seconds lost in one transfer from which on it met an outage
_OUTAGE_LENGTH = 30.0  # seconds of a usual one: the mean on recorded 3G
_OUTAGES_MOST = 3.0  # that one transfer can tell of
_LATELY = 5.0  # seconds: about as long as a slump must last to be one
_PACKET = 1460  # bytes; "nothing came" is "less than a packet came"


class Outlook(NamedTuple):
    """What to expect: ln(bit/s) of the next transfer and of later ones, the spread around it, seconds to first byte."""

    level: float
    lasting: float
    spread: float
    latency: float


class Estimator:
    """Level, spread and mean of ln(bit/s), and the time to first byte.

    Args:
        share: Of a step of the plan that a transfer is, at least.
        step: Seconds of such a step; a transfer that takes as long is a whole one.

    Attributes:
        count: Transfers learned from.
        level: What the next transfer will see, as ln(bit/s).
        lasting: What lasts of that; short segments see the rate jump about more than it changes.
        spread: Mean absolute error of that forecast.
        mean: Where the level tends to in the long run.
        latency: Seconds to first byte.
        outages: How many outages of the usual length were met.
    """

    __slots__ = (
        "_margin", "_mean_memory", "_share", "_step",
        "count", "lasting", "latency", "level", "mean", "outages", "spread",
    )  # fmt: skip

    def __init__(self, options: AbrOptions, share: float = 1.0, step: float = math.inf) -> None:
        self._margin = math.log(options.safety)
        self._share, self._step = share, step
        self._mean_memory = memory_of(_MEAN_MEMORY, share)
        self.count: int = 0
        self.level: float = 0.0 if options.prior_rate is None else math.log(options.prior_rate)
        self.lasting: float = self.level
        self.mean: float = self.level
        self.spread: float = SPREAD
        self.latency: float = 0.1
        self.outages: float = 0.0

    @property
    def forecast(self) -> float:
        """ln(bit/s) to count on: the level less the safety margin."""
        return self.level + self._margin

    @property
    def rate(self) -> float | None:
        """Bit/s that the next transfer will see, or None before anything was learned."""
        return math.exp(self.level) if self.count else None

    def feed(self, size: int, seconds: float, latency: float, *, aborted: bool = False) -> None:
        """Learn from a transfer over the network of *size* bytes in *seconds* after its first byte came."""
        if seconds <= 0 or (size <= 0 and not aborted):
            return
        observed = log_rate(size, seconds)
        self.count += 1
        weight = min(1.0, seconds / _FULL_WEIGHT) if aborted else 1.0
        if self.count == 1 and not self.level:
            self.level = self.lasting = self.mean = observed
            self.latency = latency
            return
        surprise = observed - self.level
        lost = seconds - 8 * size / math.exp(max(self.level, self.mean - 1.0))
        if surprise < 0 and lost > _OUTAGE:
            self.outages += min(lost / _OUTAGE_LENGTH, _OUTAGES_MOST)
        self.spread += _SPREAD_MEMORY * weight * (min(abs(surprise), _SURPRISE_LIMIT) - self.spread)
        self.mean += max(self._mean_memory, 1 / self.count) * weight * (observed - self.mean)
        self.level += MEMORY * weight * surprise
        memory = memory_of(MEMORY, min(1.0, max(self._share, seconds / self._step)))
        self.lasting += memory * weight * (observed - self.lasting)
        most, times = _LATENCY_LIMIT
        self.latency += _LATENCY_MEMORY * (min(latency, most + times * self.latency) - self.latency)

    def outlook(self, level: float | None = None) -> Outlook:
        """What to expect; with *level* when that is what a transfer under way shows, as ln(bit/s)."""
        if level is None:
            level = self.forecast
        lasting = self.lasting + self._margin + _LASTING * (level - self.forecast)
        return Outlook(level, lasting, self.spread, self.latency)

    def blended(self, watch: Watch) -> float:
        """The forecast in the light of a transfer under way."""
        weight = 0.8 * min(1.0, watch.seconds / 2.0) + 0.2 * min(1.0, watch.seconds / 10.0)
        return self.forecast + weight * (watch.level - self.level)


class Watch:
    """What comes of one transfer under way, with a memory of a few seconds.

    The mean since its beginning would not do: of a download that came well and then hangs it promises for a minute
    that the rest is nearly here.

    Attributes:
        done: Bytes that came.
        seconds: Since the first byte.
        silence: Since a byte came last.
    """

    __slots__ = ("_lately", "_weight", "done", "seconds", "silence", "total", "variant")

    def __init__(self, variant: int, total: int) -> None:
        self.variant: int = variant
        self.total: int = total
        self.done: int = 0
        self.seconds: float = 0.0
        self.silence: float = 0.0
        self._lately = 0.0  # bytes, and the seconds in which they came, both fading
        self._weight = 0.0

    def look(self, done: int, seconds: float) -> None:
        """By now *done* bytes have come in *seconds*; looked at as often or as seldom as one likes."""
        passed = seconds - self.seconds
        if passed <= 0:
            return
        keep = math.exp(-passed / _LATELY)
        share = (1 - keep) * _LATELY / passed
        self._lately = keep * self._lately + share * (done - self.done)
        self._weight = keep * self._weight + share * passed
        self.silence = 0.0 if done > self.done else self.silence + passed
        self.done, self.seconds = done, seconds

    @property
    def level(self) -> float:
        """ln(bit/s) lately."""
        return log_rate(self._lately, self._weight)


def memory_of(memory: float, share: float) -> float:
    """The memory of a *share* of a step, when that of the whole step is *memory*."""
    return float(1 - (1 - memory) ** share)


def log_rate(size: float, seconds: float) -> float:
    """ln(bit/s) of *size* bytes in *seconds*; at least a packet is taken to have come."""
    return math.log(8 * max(size, _PACKET) / seconds)
