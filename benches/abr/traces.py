"""Networks and ladders to play over: recorded ones from a directory, or seeded synthetic ones."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ladder:
    """Bit rates in bit/s, ascending, and the size in bits of every segment at each of them."""

    bitrates: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]
    duration: float

    @property
    def utilities(self) -> tuple[float, ...]:
        return tuple(math.log(rate / self.bitrates[0]) for rate in self.bitrates)

    def without_top(self) -> Ladder:
        return Ladder(self.bitrates[:-1], tuple(row[:-1] for row in self.sizes), self.duration)

    def cut(self, duration: float) -> Ladder:
        """The same programme in segments of *duration* seconds."""
        count = round(len(self.sizes) * self.duration / duration)
        factor = duration / self.duration
        rows = (self.sizes[min(int(n * factor), len(self.sizes) - 1)] for n in range(count))
        return Ladder(self.bitrates, tuple(tuple(round(size * factor) for size in row) for row in rows), duration)


class Network:
    """A link whose rate and latency change over time, in a loop."""

    def __init__(self, periods: Sequence[tuple[float, float, float]]) -> None:
        """*periods*: seconds, bit/s, latency in seconds."""
        self._times = [0.0]
        self._bits = [0.0]
        self._rates: list[float] = []
        self._latencies: list[float] = []
        for seconds, rate, latency in periods:
            self._times.append(self._times[-1] + seconds)
            self._bits.append(self._bits[-1] + seconds * rate)
            self._rates.append(rate)
            self._latencies.append(latency)
        self.length = self._times[-1]
        self.loop_bits = self._bits[-1]
        self.mean_rate = self.loop_bits / self.length

    def scaled(self, factor: float) -> Network:
        steps = zip(self._times, self._times[1:], self._rates, self._latencies, strict=False)
        return Network([(stop - start, rate * factor, latency) for start, stop, rate, latency in steps])

    def latency(self, time: float) -> float:
        return self._latencies[self._period(time % self.length)]

    def sent(self, time: float) -> float:
        """Bits that could have been sent since time 0."""
        loops, rest = divmod(time, self.length)
        index = self._period(rest)
        return loops * self.loop_bits + self._bits[index] + (rest - self._times[index]) * self._rates[index]

    def when(self, bits: float) -> float:
        """The time by which *bits* could have been sent since time 0."""
        loops, rest = divmod(bits, self.loop_bits)
        index = min(bisect_right(self._bits, rest), len(self._rates)) - 1
        rate = self._rates[index]
        return loops * self.length + self._times[index] + ((rest - self._bits[index]) / rate if rate else 0.0)

    def knots(self) -> tuple[list[float], list[float]]:
        """Times and bits sent by then, over one loop."""
        return self._times, self._bits

    def _period(self, rest: float) -> int:
        return min(bisect_right(self._times, rest), len(self._rates)) - 1


def read_directory(path: Path) -> tuple[dict[str, Network], Ladder | None]:
    """Every trace and, if one is there, the ladder below *path*."""
    networks: dict[str, Network] = {}
    ladder = None
    for file in sorted(path.rglob("*.json")):
        content = json.loads(file.read_text())
        if isinstance(content, dict):
            ladder = Ladder(
                tuple(1000 * rate for rate in content["bitrates_kbps"]),
                tuple(tuple(row) for row in content["segment_sizes_bits"]),
                content["segment_duration_ms"] / 1000,
            )
        else:
            networks[str(file.relative_to(path))] = Network(
                [(p["duration_ms"] / 1000, 1000 * p["bandwidth_kbps"], p["latency_ms"] / 1000) for p in content]
            )
    return networks, ladder


def synthetic_networks(count: int, seed: int = 1) -> dict[str, Network]:
    """Random walks of the log rate with heavy tails and a few outages, about as rough as a commute on 3G."""
    networks = {}
    for number in range(count):
        chance = random.Random(seed * 1000 + number)
        centre = math.log(chance.uniform(0.4e6, 2.5e6))
        level = centre
        periods = []
        for _ in range(900):
            spread = 0.9 if chance.random() < 0.08 else 0.15
            level += chance.gauss(0, spread) + 0.03 * (centre - level)
            rate = 4e3 if chance.random() < 0.004 else math.exp(min(level, centre + 1.5))
            periods.append((1.0 if rate > 4e3 else chance.uniform(2, 20), rate, 0.1))
        networks[f"synthetic-{number:02d}"] = Network(periods)
    return networks


def synthetic_ladder(count: int = 200, duration: float = 6.0, seed: int = 1) -> Ladder:
    """Seven rungs from 32 to 900 kbit/s, the last one lossless and so the most uneven."""
    rates = (32_000, 64_000, 128_000, 192_000, 256_000, 320_000, 900_000)
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        busy = chance.uniform(0.8, 1.2)
        rows.append(tuple(round(rate * duration * (busy if rate == rates[-1] else 0.5 + busy / 2)) for rate in rates))
    return Ladder(rates, tuple(rows), duration)
