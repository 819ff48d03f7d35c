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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a session stands when it chooses: seconds buffered, the segment to come, how many there are."""

    buffer: float
    index: int
    count: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A download under way: bytes *done* of *total*, *seconds* after the first, and the seconds buffered now."""

    variant: int
    done: int
    total: int
    seconds: float
    latency: float
    buffer: float


class Rule:
    """A rule that a player asks as it asks `kithara.abr.Controller`. As it stands: always the lowest rung."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        self.bitrates = list(bitrates)
        self.duration = duration
        self.capacity = capacity
        self.utilities = [math.log(rate / bitrates[0]) for rate in bitrates]
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
    ) -> int:
        return self.best(Place(buffer=buffer_seconds, index=segment_index, count=segment_count, last=last_variant))

    def should_abandon(
        self, *, variant: int, done: int, total: int, seconds: float, latency: float, buffer_level: float
    ) -> int | None:
        if not 0 < done < total:
            return None
        facts = {"variant": variant, "done": done, "total": total, "seconds": seconds, "latency": latency}
        return self.instead(Download(**facts, buffer=buffer_level))

    def idle(self, seconds: float) -> None:
        return None

    def best(self, place: Place) -> int:
        """The rung for the segment to come."""
        return 0

    def instead(self, download: Download) -> int | None:
        """The lower rung to fetch instead of *download*, or None to let it go on."""
        return None

    def by_rate(self, rate: float) -> int:
        """The highest rung whose segments arrive as fast as they play."""
        room = self.duration - self.average.latency
        fitting = [n for n, bitrate in enumerate(self.bitrates) if bitrate * self.duration <= rate * room]
        return max(fitting, default=0)


class Throughput(Rule):
    """The rung that the measured rate allows; with the insufficient-buffer rule and abandonment of MMSys 2018."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        self._caution = SAFETY

    @property
    def rated(self) -> int:
        """The rung that the measured rate allows with a margin."""
        return self.by_rate(SAFETY * self.average.rate)

    def best(self, place: Place) -> int:
        return self.while_buffer_lasts(self.rated, place.buffer)

    def while_buffer_lasts(self, quality: int, buffer_seconds: float) -> int:
        """Insufficient-buffer rule: nothing that takes longer to fetch than half the buffer lasts."""
        safe = self._caution * (buffer_seconds - self.average.latency) * self.average.rate
        self._caution = max(0.5, self._caution * SAFETY)
        while quality > 0 and self.bitrates[quality] * self.duration > safe:
            quality -= 1
        return quality

    def instead(self, download: Download) -> int | None:
        if download.seconds + download.latency < 0.5 or download.seconds < 0.2:
            return None
        rate = 8 * download.done / download.seconds
        left = 8 * (download.total - download.done)
        if download.latency + download.seconds + left / rate <= 1.8 * self.duration:
            return None
        quality = self.by_rate(SAFETY * rate)
        return quality if quality < download.variant and self.bitrates[quality] * self.duration < left else None


class Bola(Rule):
    """BOLA-FINITE with BOLA-U and abandonment (INFOCOM 2016)."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        self._control = 0.0

    def best(self, place: Place) -> int:
        horizon = max(min(place.index, place.count - place.index) / 2, 3) * self.duration
        size = max(min(self.capacity, horizon), 2 * self.duration)
        self._control = (size - self.duration) / (self.utilities[-1] + GAMMA_P)
        scores = [
            self._gain(quality, place.buffer) / (rate * self.duration) for quality, rate in enumerate(self.bitrates)
        ]
        quality = scores.index(max(scores))
        if quality > place.last:
            affordable = self.by_rate(self.average.rate)
            if affordable < quality:
                quality = max(place.last, affordable + 1 if affordable >= place.last else place.last)
        return quality

    def instead(self, download: Download) -> int | None:
        left = 8 * (download.total - download.done)
        stay = self._gain(download.variant, download.buffer) / left
        if stay < 0:
            return None
        sizes = [rate * self.duration for rate in self.bitrates[: download.variant]]
        gains = {q: self._gain(q, download.buffer) / size for q, size in enumerate(sizes) if size < left}
        better = max(gains, key=lambda quality: gains[quality], default=None)
        return better if better is not None and gains[better] > stay else None

    def _gain(self, quality: int, buffer_seconds: float) -> float:
        return self._control * (self.utilities[quality] + GAMMA_P) - buffer_seconds


class BolaE(Throughput):
    """BOLA-E: BOLA with a placeholder buffer, throughput start-up and the insufficient-buffer rule (MMSys 2018)."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        target = max(capacity, MINIMUM_BUFFER + MINIMUM_PER_LEVEL * len(bitrates))
        self.gp = self.utilities[-1] / (target / MINIMUM_BUFFER - 1)
        self.vp = MINIMUM_BUFFER / self.gp
        self._placeholder = 0.0
        self._started = False

    def least_level(self, quality: int) -> float:
        """The buffer at which *quality* begins to beat every lower rung."""
        level = 0.0
        for lower in range(quality):
            rate, other = self.bitrates[quality], self.bitrates[lower]
            level = max(level, (rate * self.ceiling(lower) - other * self.ceiling(quality)) / (rate - other))
        return level

    def ceiling(self, quality: int) -> float:
        """The buffer beyond which *quality* is not worth fetching."""
        return self.vp * (self.utilities[quality] + self.gp)

    def by_buffer(self, place: Place) -> int:
        rated = self.rated
        if not self._started and self.average.count:
            self._started = True
            self._placeholder = max(0.0, self.least_level(rated) - place.buffer)
        self._hold_below(len(self.bitrates) - 1, place.buffer)
        level = place.buffer + self._placeholder
        scores = [(self.ceiling(quality) - level) / rate for quality, rate in enumerate(self.bitrates)]
        quality = scores.index(max(scores))
        if quality > place.last and quality > rated:
            quality = max(rated, place.last)
        self._hold_below(quality, place.buffer)
        return quality

    def _hold_below(self, quality: int, buffer_seconds: float) -> None:
        # a level that would make the player pause is no use
        self._placeholder = max(0.0, min(self._placeholder, self.ceiling(quality) - buffer_seconds))

    def best(self, place: Place) -> int:
        return self.while_buffer_lasts(self.by_buffer(place), place.buffer)

    def idle(self, seconds: float) -> None:
        self._placeholder += seconds

    def feed(self, size: int, seconds: float, latency: float, *, variant: int, aborted: bool, now: float) -> None:
        super().feed(size, seconds, latency, variant=variant, aborted=aborted, now=now)
        self._placeholder *= 0.99

    def instead(self, download: Download) -> int | None:
        if download.seconds + download.latency < 0.5:
            return None
        left = 8 * (download.total - download.done)
        if left * download.seconds <= download.buffer * 8 * download.done:
            return None  # it will be here in time
        level = download.buffer + self._placeholder
        stay = (self.ceiling(download.variant) - level) / left
        for quality in range(download.variant - 1, -1, -1):
            size = self.bitrates[quality] * self.duration
            if size < left and (self.ceiling(quality) - level) / size > stay:
                return quality
        return None


class Dynamic(BolaE):
    """DYNAMIC: throughput while the buffer is small, BOLA once it holds enough (MMSys 2018, section 4)."""

    def __init__(self, bitrates: Sequence[int], duration: float, capacity: float) -> None:
        super().__init__(bitrates, duration, capacity)
        self._buffered = False

    def best(self, place: Place) -> int:
        rated, buffered = self.rated, self.by_buffer(place)
        if self._buffered and place.buffer < MINIMUM_BUFFER and buffered < rated:
            self._buffered = False
        elif not self._buffered and place.buffer >= MINIMUM_BUFFER and buffered >= rated:
            self._buffered = True
        return self.while_buffer_lasts(buffered if self._buffered else rated, place.buffer)

    def instead(self, download: Download) -> int | None:
        return super().instead(download) if self._buffered else Throughput.instead(self, download)


BASELINES = {"lowest": Rule, "throughput": Throughput, "bola": Bola, "bola-e": BolaE, "dynamic": Dynamic}
