"""Scores of adaptive choice: ``python benches/abr/bench_abr.py [--traces DIR] [--all] [--optimum]``.

Plays a programme over every network with our controller and with the published algorithms, in every scenario, and
prints the mean score (see `player.Score`) with what it is made of. Of a directory of traces only every second one is
played, those that nothing was tuned on; ``--all`` plays all. Without a directory the networks are synthetic.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from baselines import BASELINES
from optimum import optimum
from player import Score, play
from traces import Ladder, Network, read_directory, synthetic_ladder, synthetic_networks

from kithara.abr import simulation_controller

SCALES = (1.0, 0.3)
BUFFERS = (30.0, 120.0)
DURATIONS = (2.0, 6.0, 10.0)
OURS = "kithara"


@dataclass(frozen=True)
class Rung:
    bandwidth: int


def make(name: str, ladder: Ladder, capacity: float):
    if name == OURS:
        return simulation_controller([Rung(rate) for rate in ladder.bitrates], ladder.duration, capacity)
    return BASELINES[name](ladder.bitrates, ladder.duration, capacity)


def line(name: str, scores: list[Score]) -> str:
    def mean(field: str) -> float:
        return statistics.fmean(getattr(score, field) for score in scores)

    return (
        f"  {name:11} {mean('qoe'):7.2f}   stall {mean('stall'):6.1f} s in {mean('stalls'):4.1f}"
        f"   start {mean('startup'):5.2f} s   switches {mean('switches'):5.1f}"
        f"   {mean('bitrate') / 1000:4.0f} kbit/s   waste {100 * mean('waste'):4.1f} %"
    )


def decision_cost(ladder: Ladder, network: Network) -> tuple[float, float]:
    """Median and longest milliseconds of a decision in one session."""
    spent: list[float] = []
    controller = make(OURS, ladder, 30.0)
    choose = controller.choose

    def timed(*args, **kwargs):
        before = time.perf_counter()
        choice = choose(*args, **kwargs)
        spent.append(1000 * (time.perf_counter() - before))
        return choice

    controller.choose = timed
    play(controller, network, ladder, 30.0)
    return statistics.median(spent), max(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, help="directory of JSON traces, and maybe a ladder")
    parser.add_argument("--all", action="store_true", help="every trace, also those that were tuned on")
    parser.add_argument("--optimum", action="store_true", help="the offline optimum too (slow)")
    arguments = parser.parse_args()
    ladder = None
    if arguments.traces is None:
        networks = synthetic_networks(12)
    else:
        networks, ladder = read_directory(arguments.traces)
        if not arguments.all:
            networks = dict(list(networks.items())[1::2])
    ladder = ladder or synthetic_ladder()
    names = [OURS, *BASELINES]
    totals: dict[str, list[float]] = {name: [] for name in names}
    ceilings: list[float] = []
    margins: list[float] = []
    for scale, capacity, duration, lossy in itertools.product(SCALES, BUFFERS, DURATIONS, (False, True)):
        cut = ladder.cut(duration)
        cut = cut.without_top() if lossy else cut
        print(
            f"× {scale}, buffer {capacity:.0f} s, segments {duration:.0f} s, {'lossy' if lossy else 'lossless'} ladder"
        )
        means = {}
        for name in names:
            scores = [play(make(name, cut, capacity), net.scaled(scale), cut, capacity) for net in networks.values()]
            means[name] = statistics.fmean(score.qoe for score in scores)
            totals[name].append(means[name])
            print(line(name, scores), flush=True)
        if arguments.optimum:
            ceilings.append(statistics.fmean(optimum(net.scaled(scale), cut, capacity) for net in networks.values()))
            print(f"  {'optimum':11} {ceilings[-1]:7.2f}", flush=True)
        margins.append(means[OURS] - max(value for name, value in means.items() if name != OURS))
        print(f"  {OURS} against the best of them: {margins[-1]:+.2f}")
    print(f"\nmean over {len(margins)} scenarios, {len(networks)} networks")
    for name in names:
        print(f"  {name:11} {statistics.fmean(totals[name]):7.2f}")
    if ceilings:
        print(f"  {'optimum':11} {statistics.fmean(ceilings):7.2f}")
    print(f"least margin {min(margins):+.2f}")
    median, longest = decision_cost(ladder, next(iter(networks.values())))
    print(f"a decision takes {median:.2f} ms, at most {longest:.2f} ms")


if __name__ == "__main__":
    main()
