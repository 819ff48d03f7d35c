"""Scores of adaptive choice: ``python benches/abr/bench_abr.py [--traces DIR] [--half tuning] [--optimum]``.

Plays a programme over every network with our controller and with the published algorithms, in every scenario, and
prints the mean score (see `player.Score`) with what it is made of. Of a directory of traces every second one is for
tuning and the others report. Without a directory the networks are synthetic.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from baselines import BASELINES, Rule
from optimum import optimum
from player import Score, play
from traces import Ladder, Network, read_directory, synthetic_ladder, synthetic_networks

from kithara.abr import Controller, simulation_controller

SCALES = (1.0, 0.3)
BUFFERS = (30.0, 120.0)
DURATIONS = (2.0, 6.0, 10.0)
HALVES = {"reporting": slice(1, None, 2), "tuning": slice(0, None, 2), "all": slice(None)}
OURS = "kithara"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


@dataclass(frozen=True)
class Rung:
    bandwidth: int


@dataclass(frozen=True)
class Scenario:
    """Rates × *scale*, seconds of buffer and of a segment, and whether the ladder goes without its lossless top."""

    scale: float
    buffer: float
    duration: float
    lossy: bool

    def __str__(self) -> str:
        ladder = "lossy" if self.lossy else "lossless"
        return f"× {self.scale}, buffer {self.buffer:.0f} s, segments {self.duration:.0f} s, {ladder} ladder"


@dataclass
class Results:
    """Mean score of each policy in each scenario."""

    means: dict[Scenario, dict[str, Score]] = field(default_factory=dict)

    def mean(self, name: str, value: str, chosen: list[Scenario] | None = None) -> float:
        return statistics.fmean(getattr(self.means[scenario][name], value) for scenario in chosen or self.means)

    def rival(self, scenario: Scenario) -> float:
        """The best score of anybody else."""
        return max(score.qoe for name, score in self.means[scenario].items() if name != OURS)

    def margin(self, scenario: Scenario) -> float:
        return self.means[scenario][OURS].qoe - self.rival(scenario)

    def table(self) -> str:
        """What the documentation shows."""
        policies = [
            "| | QoE | silence a session | in stalls | switches | kbit/s | waste |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name in (OURS, *BASELINES):
            cells = [self.mean(name, value) for value in ("qoe", "stall", "stalls", "switches", "bitrate", "waste")]
            policies.append(
                f"| {name} | {cells[0]:.1f} | {cells[1]:.0f} s | {cells[2]:.1f} | {cells[3]:.0f}"
                f" | {cells[4] / 1000:.0f} | {100 * cells[5]:.1f} % |"
            )
        rows = [
            "| scenario | kithara | best rival | margin | silence | BOLA's |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for scenario, scores in self.means.items():
            rows.append(
                f"| {scenario} | {scores[OURS].qoe:.1f} | {self.rival(scenario):.1f} | {self.margin(scenario):+.1f}"
                f" | {scores[OURS].stall:.1f} s | {scores['bola'].stall:.1f} s |"
            )
        return "\n".join([*policies, "", *rows])


def make(name: str, ladder: Ladder, capacity: float) -> Controller | Rule:
    if name == OURS:
        return simulation_controller([Rung(rate) for rate in ladder.bitrates], ladder.duration, capacity)
    return BASELINES[name](ladder.bitrates, ladder.duration, capacity)


def line(name: str, score: Score) -> str:
    return (
        f"  {name:11} {score.qoe:7.2f}   stall {score.stall:6.1f} s in {score.stalls:4.1f}"
        f"   start {score.startup:5.2f} s   switches {score.switches:5.1f}"
        f"   {score.bitrate / 1000:4.0f} kbit/s   waste {100 * score.waste:4.1f} %"
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


def write_report(path: Path, results: Results, networks: int) -> None:
    """Put the tables of this run between the marks in the page at *path*."""
    before, rest = path.read_text().split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\nOver {networks} networks:\n\n{results.table()}\n\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, help="directory of JSON traces, and maybe a ladder")
    parser.add_argument("--half", choices=HALVES, default="reporting", help="which of the traces")
    parser.add_argument("--optimum", action="store_true", help="the offline optimum too (slow)")
    parser.add_argument("--report", type=Path, help="page to write the tables of this run into")
    arguments = parser.parse_args()
    ladder = None
    if arguments.traces is None:
        networks = synthetic_networks(12)
    else:
        networks, ladder = read_directory(arguments.traces)
        networks = dict(list(networks.items())[HALVES[arguments.half]])
    ladder = ladder or synthetic_ladder()
    results = Results()
    ceilings: list[float] = []
    for values in itertools.product(SCALES, BUFFERS, DURATIONS, (False, True)):
        scenario = Scenario(*values)
        cut = ladder.cut(scenario.duration)
        cut = cut.without_top() if scenario.lossy else cut
        links = [network.scaled(scenario.scale) for network in networks.values()]
        print(scenario)
        means = results.means[scenario] = {}
        for name in (OURS, *BASELINES):
            means[name] = Score.mean(
                [play(make(name, cut, scenario.buffer), link, cut, scenario.buffer) for link in links]
            )
            print(line(name, means[name]), flush=True)
        if arguments.optimum:
            ceilings.append(statistics.fmean(optimum(link, cut, scenario.buffer) for link in links))
            print(f"  {'optimum':11} {ceilings[-1]:7.2f}", flush=True)
        silence = means[OURS].stall - means["bola"].stall
        print(
            f"  {OURS} against the best of them: {results.margin(scenario):+.2f}, silence against BOLA: {silence:+.1f}"
        )
    print(f"\nmean over {len(results.means)} scenarios, {len(networks)} networks")
    for name in (OURS, *BASELINES):
        print(f"  {name:11} {results.mean(name, 'qoe'):7.2f}   stall {results.mean(name, 'stall'):6.1f} s")
    if ceilings:
        print(f"  {'optimum':11} {statistics.fmean(ceilings):7.2f}")
    print(f"least margin {min(map(results.margin, results.means)):+.2f}")
    louder = sum(means[OURS].stall > means["bola"].stall for means in results.means.values())
    print(f"more silence than BOLA in {louder} scenarios")
    median, longest = decision_cost(ladder, next(iter(networks.values())))
    print(f"a decision takes {median:.2f} ms, at most {longest:.2f} ms")
    if arguments.report is not None:
        write_report(arguments.report, results, len(networks))


if __name__ == "__main__":
    main()
