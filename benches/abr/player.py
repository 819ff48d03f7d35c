"""A player that downloads one segment after the other over a simulated network, and the score of what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from baselines import Rule
from traces import Ladder, Network

from kithara.abr import Controller

CHECK = 0.1
"""Seconds between two looks at a download that might better be abandoned."""
LOOK_AHEAD = 10


@dataclass(frozen=True, slots=True)
class Score:
    """One session. *qoe* in percent of a perfect one, not below −100; *waste* is the share of bits thrown away."""

    qoe: float
    stall: float
    startup: float
    stalls: float
    switches: float
    bitrate: float
    waste: float

    @classmethod
    def mean(cls, scores: Sequence[Score]) -> Score:
        """What they come to on average."""
        return cls(*(fmean(getattr(score, name) for score in scores) for name in cls.__slots__))


def play(controller: Controller | Rule, network: Network, ladder: Ladder, capacity: float) -> Score:
    """Play the whole *ladder* with a buffer of *capacity* seconds."""
    session = _Session(controller, network, ladder)
    count = len(ladder.sizes)
    session.fetch(0, controller.first(), abandonable=False)
    startup, session.stalled, session.stalls = session.now, 0.0, 0
    for index in range(1, count):
        session.wait(max(0.0, session.buffer + ladder.duration - capacity))
        variant = controller.choose(
            session.buffer,
            segment_index=index,
            segment_count=count,
            last_variant=session.variants[-1],
            now=session.now,
            next_sizes=[[size // 8 for size in row] for row in ladder.sizes[index : index + LOOK_AHEAD]],
        )
        session.fetch(index, variant, abandonable=True)
    return _score(session, ladder, startup)


class _Session:
    def __init__(self, controller: Controller | Rule, network: Network, ladder: Ladder) -> None:
        self.controller = controller
        self.network = network
        self.ladder = ladder
        self.now = 0.0
        self.buffer = 0.0
        self.stalled = 0.0
        self.stalls = 0
        self.wasted = 0.0
        self.used = 0.0
        self.variants: list[int] = []

    def wait(self, seconds: float) -> None:
        if seconds > 0:
            self._pass(seconds)
            self.controller.idle(seconds)

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        missing = seconds - self.buffer
        if missing > 0:
            self.stalled += missing
            self.stalls += self.buffer > 0
        self.buffer = max(0.0, -missing)

    def fetch(self, index: int, variant: int, *, abandonable: bool) -> None:
        while True:
            size = self.ladder.sizes[index][variant]
            latency = self.network.latency(self.now)
            begin = self.now + latency
            before = self.network.sent(begin)
            finish = self.network.when(before + size)
            better = None
            if abandonable and variant > 0:
                time = begin + CHECK
                while time < finish:
                    done = self.network.sent(time) - before
                    better = self.controller.should_abandon(
                        variant=variant,
                        done=int(done / 8),
                        total=size // 8,
                        seconds=time - begin,
                        latency=latency,
                        buffer_level=max(0.0, self.buffer - (time - self.now)),
                    )
                    if better is not None:
                        break
                    time += CHECK
            if better is None:
                self._pass(finish - self.now)
                self.used += size
                self.buffer += self.ladder.duration
                self.variants.append(variant)
                self.controller.feed(size // 8, finish - begin, latency, variant=variant, aborted=False, now=self.now)
                return
            self._pass(time - self.now)
            self.wasted += done
            self.controller.feed(int(done / 8), time - begin, latency, variant=variant, aborted=True, now=self.now)
            variant = better


def _score(session: _Session, ladder: Ladder, startup: float) -> Score:
    utilities = ladder.utilities
    chosen = [utilities[variant] for variant in session.variants]
    changes = [abs(new - old) for old, new in pairwise(chosen)]
    top = utilities[-1]
    total = sum(chosen) - top * (session.stalled + startup) - sum(changes)
    return Score(
        qoe=max(-100.0, 100 * total / (len(chosen) * top)),
        stall=session.stalled,
        startup=startup,
        stalls=session.stalls,
        switches=sum(change > 0 for change in changes),
        bitrate=sum(ladder.bitrates[variant] for variant in session.variants) / len(chosen),
        waste=session.wasted / (session.wasted + session.used),
    )
