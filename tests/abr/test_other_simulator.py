"""The controller in a simulator of another make: other links, request times, aborts, ladders and ends."""

import math
import random
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest

from kithara.abr import simulation_controller

LADDER = (24_000, 48_000, 96_000, 160_000, 320_000, 1_100_000)


@dataclass(frozen=True)
class Level:
    bandwidth: int
    name: str


@dataclass(frozen=True, kw_only=True)
class World:
    """What a simulator may do its own way."""

    seed: int = 1
    ladder: tuple[int, ...] = LADDER
    duration: float = 4.0
    capacity: float = 40.0
    count: int = 60
    tells_count: bool = True
    round_trip: float = 0.08
    step: float = 0.25
    aborts: bool = True
    begins: float = 0.0
    median: float = 420e3
    outage: float = 0.01


class ThroughputRule:
    """The rule to beat: nine tenths of the last rate."""

    wants_sizes = False

    def __init__(self, variants, duration, capacity):
        self.rates = [variant.bandwidth for variant in variants]
        self.rate = 0.0

    def first(self):
        return 0

    def feed(self, size, seconds, latency, *, variant, aborted, now):
        self.rate = 8 * size / (seconds + latency)

    def choose(self, buffer_seconds, *, segment_index, segment_count, last_variant, now, next_sizes):
        return max((n for n, rate in enumerate(self.rates) if rate < 0.9 * self.rate), default=0)

    def should_abandon(self, *, variant, done, total, seconds, latency, buffer_level):
        return None

    def idle(self, seconds):
        pass


class Simulator:
    """Time goes in small steps; each step has a rate of its own, and a request costs a round trip by itself."""

    def __init__(self, world, make=simulation_controller):
        self.world, self.chance = world, random.Random(world.seed)
        variants = [Level(rate, f"{rate // 1000}k") for rate in world.ladder]
        self.control = make(variants, world.duration, world.capacity)
        self.now, self.buffer, self.silence, self.aborted = world.begins, 0.0, 0.0, 0
        self.level, self.held = math.log(world.median), 0.0
        self.chosen = []
        unevenness = [self.chance.uniform(0.7, 1.3) for _ in range(world.count)]
        self.sizes = [[int(rate * world.duration / 8 * u) for rate in world.ladder] for u in unevenness]

    def tick(self):
        """Bytes that come in one step."""
        step = self.world.step
        self.now += step
        self.silence += max(0.0, step - self.buffer)
        self.buffer = max(0.0, self.buffer - step)
        if self.held > 0:
            self.held -= step
            return 0
        if self.chance.random() < self.world.outage * step:
            self.held = self.chance.uniform(2, 30)
        self.level += 0.2 * self.chance.gauss(0, 1) * math.sqrt(step) + 0.03 * step * (
            math.log(self.world.median) - self.level
        )
        return int(math.exp(self.level) * step / 8)

    def wait(self, seconds):
        for _ in range(math.ceil(seconds / self.world.step)):
            self.tick()

    def fetch(self, index, variant):
        world = self.world
        while True:
            total, done, seconds, better = self.sizes[index][variant], 0, 0.0, None
            self.wait(world.round_trip)
            while done < total and better is None:
                done = min(total, done + self.tick())
                seconds += world.step
                facts = {"variant": variant, "done": done, "total": total, "seconds": seconds}
                if done < total:
                    answer = self.control.should_abandon(**facts, latency=world.round_trip, buffer_level=self.buffer)
                    assert answer is None or 0 <= answer < variant
                    better = answer if world.aborts else None
            aborted = better is not None
            self.control.feed(done, seconds, world.round_trip, variant=variant, aborted=aborted, now=self.now)
            if better is None:
                self.buffer += world.duration
                self.chosen.append(variant)
                return
            self.aborted += 1
            variant = better

    def play(self):
        world = self.world
        self.fetch(0, self.control.first())
        for index in range(1, world.count):
            full = self.buffer + world.duration - world.capacity
            if full > 0 and self.buffer > 0:
                self.wait(min(full, self.buffer))
                self.control.idle(full)
            variant = self.control.choose(
                self.buffer,
                segment_index=index,
                segment_count=world.count if world.tells_count else None,
                last_variant=self.chosen[-1],
                now=self.now,
                next_sizes=self.sizes[index : index + 10] if self.control.wants_sizes else None,
            )
            assert isinstance(variant, int)
            assert 0 <= variant < len(world.ladder)
            self.fetch(index, variant)
        return self

    @property
    def score(self):
        """Percent of a session at the highest rung without a change or a silent second."""
        gains = [math.log(self.world.ladder[variant] / self.world.ladder[0]) for variant in self.chosen]
        top = math.log(self.world.ladder[-1] / self.world.ladder[0])
        changes = sum(abs(new - old) for old, new in pairwise(gains))
        return 100 * (sum(gains) - top * self.silence - changes) / (len(gains) * top)


WORLDS = {
    "as the bench": World(),
    "no aborts": World(aborts=False),
    "far away": World(round_trip=0.75),
    "nothing between request and bytes": World(round_trip=0.0),
    "a clock that began long ago": World(begins=1.7e9),
    "no end in sight": World(tells_count=False),
    "short segments": World(duration=2.0),
    "long segments": World(duration=15.0, capacity=60.0, count=40),
    "minutes of buffer": World(capacity=240.0),
    "two segments of buffer": World(capacity=8.0),
    "a slow link": World(median=120e3),
    "two rungs": World(ladder=(64_000, 320_000)),
}


FAST = World(median=4e6, outage=0.002)


def mean_score(world, make):
    return fmean(Simulator(replace(world, seed=seed), make).play().score for seed in range(1, 13))


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_it_beats_the_throughput_rule(world):
    assert mean_score(world, simulation_controller) > mean_score(world, ThroughputRule)


def test_where_hardly_anything_fails_care_costs_little():
    assert mean_score(FAST, ThroughputRule) - 4 < mean_score(FAST, simulation_controller)


@pytest.mark.parametrize("world", [World(), World(median=120e3)], ids=["middling", "slow"])
def test_it_does_without_aborts_where_nobody_does_them(world):
    plain = Simulator(replace(world, aborts=False)).play()
    assert 0 == plain.aborted
    assert plain.score > -20


@pytest.mark.parametrize(
    "world",
    [
        World(ladder=(128_000,), count=40),
        World(duration=0.1, capacity=3.0, count=80, step=0.05),
        World(duration=120.0, capacity=600.0, count=8),
        World(duration=10.0, capacity=10.0, count=30),
        World(duration=10.0, capacity=3.0, count=30),
        World(median=2e3, outage=0.0, count=6),
        World(median=4e9, outage=0.0, count=40),
        World(ladder=(1, 2_000_000_000), count=10),
    ],
    ids=[
        "one variant",
        "segments of a tenth of a second",
        "segments of two minutes",
        "a buffer of one segment",
        "a buffer below one segment",
        "hardly a link",
        "no time at all",
        "a ladder of two ends",
    ],
)
def test_odd_worlds_are_played_to_their_end(world):
    assert world.count == len(Simulator(world).play().chosen)


def test_sizes_may_come_as_an_array():
    control = simulation_controller([Level(rate, "") for rate in LADDER], 4.0, 40.0)
    control.feed(60_000, 1.0, 0.1, variant=2, aborted=False, now=0.0)
    rows = [[rate // 2 for rate in LADDER]] * 10
    place = {"segment_index": 7, "segment_count": 50, "last_variant": 2}
    listed = control.choose(20.0, **place, next_sizes=rows)
    assert listed == control.choose(20.0, **place, next_sizes=np.array(rows))


def test_samples_that_say_nothing_leave_the_choice_as_it_was():
    control = simulation_controller([Level(rate, "") for rate in LADDER], 4.0, 40.0)
    control.feed(60_000, 1.0, 0.1, variant=2, aborted=False, now=5e8)
    place = {"segment_index": 7, "segment_count": None, "last_variant": 2, "now": 5e8}
    before = control.choose(20.0, **place)
    for size, seconds in ((0, 1.0), (0, 0.0), (5_000, 0.0)):
        control.feed(size, seconds, 0.0, variant=2, aborted=False, now=5e8)
    assert before == control.choose(20.0, **place)
