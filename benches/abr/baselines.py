"""The published algorithms, written from their papers, as rivals.

* Throughput: the rate that an exponential average, the lower of a fast and a slow one, allows with a margin.
* BOLA: Spiteri, Urgaonkar, Sitaraman, "BOLA: Near-Optimal Bitrate Adaptation for Online Videos", INFOCOM 2016; the
  finite version, and BOLA-U against oscillation.
* BOLA-E and DYNAMIC: Spiteri, Sitaraman, Sparacio, "From Theory to Practice: Improving Bitrate Adaptation in the
  DASH Reference Player", MMSys 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

SAFETY = 0.9
HALF_LIVES = (3.0, 8.0)
GAMMA_P = 5.0
MINIMUM_BUFFER = 10.0
MINIMUM_PER_LEVEL = 2.0


@dataclass
class _Average:
    """Exponential averages of rate and latency, weighted by the seconds a download took (MMSys 2018, section 3)."""

    values: list[float] = field(default_factory=lambda: [0.0] * len(HALF_LIVES))
    latencies: list[float] = field(default_factory=lambda: [0.0] * len(HALF_LIVES))
    weight: float = 0.0
    count: int = 0

    def feed(self, size: int, seconds: float, latency: float) -> None:
        seconds = max(seconds, 1e-3)
        for index, half_life in enumerate(HALF_LIVES):
            keep = 0.5 ** (seconds / half_life)
            self.values[index] = keep * self.values[index] + (1 - keep) * 8 * size / seconds
            keep = 0.5 ** (1 / half_life)
            self.latencies[index] = keep * self.latencies[index] + (1 - keep) * latency
        self.weight += seconds
        self.count += 1

    @property
    def rate(self) -> float:
        """Bit/s; 0 before the first sample."""
        if not self.count:
            return 0.0
        return min(v / (1 - 0.5 ** (self.weight / h)) for v, h in zip(self.values, HALF_LIVES, strict=True))

    @property
    def latency(self) -> float:
        if not self.count:
            return 0.0
        return max(v / (1 - 0.5 ** (self.count / h)) for v, h in zip(self.latencies, HALF_LIVES, strict=True))


class Lowest:
    """Always the lowest rung."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        self.bitrates = list(bitrates)
        self.duration = duration
        self.capacity = capacity
        self.average = _Average()

    def first(self) -> int:
        return 0

    def feed(self, size: int, seconds: float, latency: float, *, variant: int, aborted: bool, now: float) -> None:
        if size:
            self.average.feed(size, seconds, latency)

    def choose(
        self,
        buffer_seconds: float,
        *,
        segment_index: int,
        segment_count: int,
        last_variant: int,
        now: float,
        next_sizes: Sequence[Sequence[int]],
    ) -> int | tuple[int, float]:
        return 0

    def should_abandon(
        self, *, variant: int, done: int, total: int, seconds: float, latency: float, buffer_level: float
    ) -> int | None:
        return None

    def idle(self, seconds: float) -> None:
        return None

    def by_rate(self, rate: float) -> int:
        """The highest rung whose segments arrive as fast as they play."""
        room = self.duration - self.average.latency
        fitting = [n for n, bitrate in enumerate(self.bitrates) if bitrate * self.duration <= rate * room]
        return max(fitting, default=0)


class Throughput(Lowest):
    """The rung that the measured rate allows; with the insufficient-buffer rule and abandonment of MMSys 2018."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        self._caution = SAFETY

    def choose(
        self,
        buffer_seconds: float,
        *,
        segment_index: int,
        segment_count: int,
        last_variant: int,
        now: float,
        next_sizes: Sequence[Sequence[int]],
    ) -> int | tuple[int, float]:
        quality = self.by_rate(SAFETY * self.average.rate)
        return self.while_buffer_lasts(quality, buffer_seconds)

    def while_buffer_lasts(self, quality: int, buffer_seconds: float) -> int:
        """Insufficient-buffer rule: nothing that takes longer to fetch than half the buffer lasts."""
        safe = self._caution * (buffer_seconds - self.average.latency) * self.average.rate
        self._caution = max(0.5, self._caution * SAFETY)
        while quality > 0 and self.bitrates[quality] * self.duration > safe:
            quality -= 1
        return quality

    def should_abandon(
        self, *, variant: int, done: int, total: int, seconds: float, latency: float, buffer_level: float
    ) -> int | None:
        if seconds + latency < 0.5 or seconds < 0.2 or done == 0:
            return None
        rate = 8 * done / seconds
        if latency + seconds + 8 * (total - done) / rate <= 1.8 * self.duration:
            return None
        quality = self.by_rate(SAFETY * rate)
        if quality < variant and self.bitrates[quality] * self.duration < 8 * (total - done):
            return quality
        return None


class Bola(Lowest):
    """BOLA-FINITE with BOLA-U (INFOCOM 2016, sections 4 and 5)."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        self.utilities = [math.log(rate / bitrates[0]) for rate in bitrates]

    def choose(
        self,
        buffer_seconds: float,
        *,
        segment_index: int,
        segment_count: int,
        last_variant: int,
        now: float,
        next_sizes: Sequence[Sequence[int]],
    ) -> int | tuple[int, float]:
        horizon = max(min(segment_index, segment_count - segment_index) / 2, 3) * self.duration
        size = max(min(self.capacity, horizon), 2 * self.duration)
        control = (size - self.duration) / (self.utilities[-1] + GAMMA_P)
        quality = self.best(control, buffer_seconds)
        if quality > last_variant:
            affordable = self.by_rate(self.average.rate)
            if affordable < quality:
                quality = max(last_variant, affordable + 1 if affordable >= last_variant else last_variant)
        return quality

    def best(self, control: float, buffer_seconds: float) -> int:
        scores = [
            (control * (utility + GAMMA_P) - buffer_seconds) / rate
            for utility, rate in zip(self.utilities, self.bitrates, strict=True)
        ]
        return scores.index(max(scores))


class BolaE(Throughput):
    """BOLA-E: BOLA with a placeholder buffer, throughput start-up and the insufficient-buffer rule (MMSys 2018)."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        self.utilities = [math.log(rate / bitrates[0]) for rate in bitrates]
        target = max(capacity, MINIMUM_BUFFER + MINIMUM_PER_LEVEL * len(bitrates))
        self.gp = self.utilities[-1] / (target / MINIMUM_BUFFER - 1)
        self.vp = MINIMUM_BUFFER / self.gp
        self._placeholder = 0.0
        self._started = False

    def best(self, level: float) -> int:
        scores = [
            (self.vp * (utility + self.gp) - level) / rate
            for utility, rate in zip(self.utilities, self.bitrates, strict=True)
        ]
        return scores.index(max(scores))

    def least_level(self, quality: int) -> float:
        """The buffer at which *quality* begins to beat every lower rung."""
        level = 0.0
        for lower in range(quality):
            rate, other = self.bitrates[quality], self.bitrates[lower]
            upper = self.utilities[quality] + self.gp
            below = self.utilities[lower] + self.gp
            level = max(level, self.vp * (rate * below - other * upper) / (rate - other))
        return level

    def ceiling(self, quality: int) -> float:
        """The buffer beyond which *quality* is not worth fetching."""
        return self.vp * (self.utilities[quality] + self.gp)

    def by_buffer(self, buffer_seconds: float, last_variant: int) -> int:
        rated = self.by_rate(SAFETY * self.average.rate)
        if not self._started and self.average.count:
            self._started = True
            self._placeholder = max(0.0, self.least_level(rated) - buffer_seconds)
        self._placeholder = max(0.0, min(self._placeholder, self.ceiling(len(self.bitrates) - 1) - buffer_seconds))
        quality = self.best(buffer_seconds + self._placeholder)
        if quality > last_variant and quality > rated:
            quality = max(rated, last_variant)
        self._placeholder = max(
            0.0, min(self._placeholder, self.ceiling(quality) - buffer_seconds)
        )  # a level that would make the player pause is no use
        return quality

    def choose(
        self,
        buffer_seconds: float,
        *,
        segment_index: int,
        segment_count: int,
        last_variant: int,
        now: float,
        next_sizes: Sequence[Sequence[int]],
    ) -> int | tuple[int, float]:
        return self.while_buffer_lasts(self.by_buffer(buffer_seconds, last_variant), buffer_seconds)

    def idle(self, seconds: float) -> None:
        self._placeholder += seconds

    def feed(self, size: int, seconds: float, latency: float, *, variant: int, aborted: bool, now: float) -> None:
        super().feed(size, seconds, latency, variant=variant, aborted=aborted, now=now)
        self._placeholder *= 0.99

    def should_abandon(
        self, *, variant: int, done: int, total: int, seconds: float, latency: float, buffer_level: float
    ) -> int | None:
        if seconds + latency < 0.5 or done == 0 or done >= total:
            return None
        left = 8 * (total - done)
        level = buffer_level + self._placeholder
        stay = (self.vp * (self.utilities[variant] + self.gp) - level) / left
        rate = 8 * done / seconds
        for quality in range(variant - 1, -1, -1):
            size = self.bitrates[quality] * self.duration
            leave = (self.vp * (self.utilities[quality] + self.gp) - level) / size
            if size < left and leave > stay and left / rate > buffer_level:
                return quality
        return None


class Dynamic(BolaE):
    """DYNAMIC: throughput while the buffer is small, BOLA once it holds enough (MMSys 2018, section 4)."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        self._buffered = False

    def choose(
        self,
        buffer_seconds: float,
        *,
        segment_index: int,
        segment_count: int,
        last_variant: int,
        now: float,
        next_sizes: Sequence[Sequence[int]],
    ) -> int | tuple[int, float]:
        rated = self.by_rate(SAFETY * self.average.rate)
        buffered = self.by_buffer(buffer_seconds, last_variant)
        if self._buffered and buffer_seconds < MINIMUM_BUFFER and buffered < rated:
            self._buffered = False
        elif not self._buffered and buffer_seconds >= MINIMUM_BUFFER and buffered >= rated:
            self._buffered = True
        return self.while_buffer_lasts(buffered if self._buffered else rated, buffer_seconds)

    def should_abandon(
        self, *, variant: int, done: int, total: int, seconds: float, latency: float, buffer_level: float
    ) -> int | None:
        judge = super().should_abandon if self._buffered else lambda **facts: Throughput.should_abandon(self, **facts)
        return judge(
            variant=variant, done=done, total=total, seconds=seconds, latency=latency, buffer_level=buffer_level
        )


BASELINES = {"lowest": Lowest, "throughput": Throughput, "bola": Bola, "bola-e": BolaE, "dynamic": Dynamic}
