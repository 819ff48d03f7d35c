"""Benches: ours beside a peer or a physical limit, alternating in one run, told as a ratio.

Nothing here asserts on time. ``--report FILE`` writes the table, with the machine and the versions, as a page of docs;
``--rounds 1`` only shows that everything runs.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import importlib.util
import math
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kithara.assets import AssetStore
from kithara.storage import Validators

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LOAD = os.getloadavg()[0]
"""Of the machine when the benches began, before they made their own."""
ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()

Timed = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    bench: str
    peer: str
    ours: float
    theirs: float
    unit: str
    reach: str
    ratio: float
    met: bool | None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", type=Path, help="write the table of ratios to this file")
    parser.addoption("--rounds", type=int, help="so many rounds of each at most: to see that the benches run")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def probe() -> ModuleType:
    """The limits in C, compiled once against the core's declarations."""
    source, out = HERE / "support" / "probe.pyx", ROOT / "build" / "benches"
    out.mkdir(parents=True, exist_ok=True)
    core = ROOT / "kithara" / "_core"
    target = out / f"probe{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    newest = max(path.stat().st_mtime for path in (source, *core.glob("*.pxd"), *core.glob("*.so")))
    if not target.exists() or target.stat().st_mtime < newest:
        script = (
            "from setuptools import setup, Extension; from Cython.Build import cythonize; "
            f"setup(script_args=['-q', 'build_ext', '-b', {str(out)!r}, '-t', {str(out / 'temp')!r}], "
            f"ext_modules=cythonize([Extension('probe', [{str(source)!r}], extra_compile_args=['-O2'], "
            f"include_dirs=[{str(core)!r}])], "
            f"include_path=[{str(ROOT)!r}], build_dir={str(out)!r}, quiet=True))"
        )
        subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    spec = importlib.util.spec_from_file_location("probe", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Versus:
    """Times ours and theirs in turns and keeps the ratio of the medians."""

    def __init__(self, rows: list[Row], benchmark: Any, most: int | None) -> None:
        self._rows = rows
        self._most = most
        self._benchmark = benchmark
        self._timed = False

    def __call__(
        self,
        name: str,
        ours: Timed,
        peer: str,
        theirs: Timed,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        unit: str = "ns",
        rounds: int = 21,
        speed: bool = False,
    ) -> float:
        """Both callables answer one measurement; *speed*: more is better. The ratio is ours / theirs."""
        self._timed = True
        rounds = rounds if self._most is None else min(rounds, self._most)
        ours(), theirs()
        mine: list[float] = []
        other: list[float] = []
        gc.collect()
        gc.disable()
        try:
            for number in range(rounds):
                if number % 2:
                    mine.append(ours())
                    other.append(theirs())
                else:
                    other.append(theirs())
                    mine.append(ours())
        finally:
            gc.enable()
        a, b = statistics.median(mine), statistics.median(other)
        ratio = a / b
        met = None
        reach = "—"
        if at_most is not None:
            met, reach = ratio <= at_most, f"≤ {at_most:.3g} ×"
        elif at_least is not None:
            met, reach = ratio >= at_least, f"≥ {at_least:.3g} ×"
        self._rows.append(Row(name, peer, a, b, unit, reach, ratio, met))
        self._benchmark.extra_info.update(peer=peer, ratio=ratio, reach=reach)
        self._benchmark.pedantic(ours, rounds=1)
        return ratio

    def _not_timed(self) -> None:
        if not self._timed:  # pytest-benchmark warns of a fixture that nobody used
            self._timed = True
            self._benchmark.pedantic(int, rounds=1)

    def fact(self, name: str, value: float, *, at_most: float, unit: str) -> None:
        """A figure taken on the way, beside a fixed one."""
        self._not_timed()
        ratio = value / at_most if at_most else value
        self._rows.append(Row(name, "fixed", value, at_most, unit, "≤ 1 ×", ratio, value <= at_most))

    def noted(self, name: str, value: float, *, unit: str) -> None:
        """A figure that is shown and not judged."""
        self._not_timed()
        self._rows.append(Row(name, "", value, 0.0, unit, "—", 0.0, None))

    def growth(self, name: str, costs: Mapping[int, float], *, unit: str) -> None:
        """What each of so many costs, beside what it would if all together grew by n log n from the count before."""
        before = None
        for count, cost in costs.items():
            if before is None or before == 1:
                self.noted(name.format(count), cost, unit=unit)
            else:
                most = costs[before] * math.log(count) / math.log(before)
                peer = f"n log n from {before:,}"
                self._rows.append(Row(name.format(count), peer, cost, most, unit, "≤ 1 ×", cost / most, cost <= most))
            before = count

    def limit(self, name: str, ours: Timed, *, at_most: float, unit: str = "ns", rounds: int = 21) -> float:
        """A measurement beside a fixed figure."""
        return self(name, ours, "fixed", lambda: at_most, at_most=1.0, unit=unit, rounds=rounds)


@pytest.fixture
def versus(request: pytest.FixtureRequest, benchmark: Any) -> Versus:
    return Versus(request.config.stash[ROWS], benchmark, request.config.getoption("--rounds"))


def crowd(root: Path, count: int) -> None:
    """Make a cache at *root* whose index knows *count* assets."""
    AssetStore(root).close()
    names = [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(count)]
    facts = Validators(total=8000, etag='"0123456789abcdef"', content_type="audio/mpeg").to_json()
    with sqlite3.connect(root / "_index" / "index.db") as db:
        rows = ((name, used, f"https://example.org/album/{used}/song.mp3") for used, name in enumerate(names))
        db.executemany("INSERT INTO assets (name, used, label) VALUES (?, ?, ?)", rows)
        db.executemany("INSERT INTO resources VALUES (?, 'file/body', 8192, 1, ?)", ((name, facts) for name in names))
    db.close()


def per_call(call: Callable[[], object], count: int) -> Timed:
    """Mean ns of *call* over *count* calls in a loop."""

    def run() -> float:
        steps = range(count)
        began = time.perf_counter_ns()
        for _ in steps:
            call()
        return (time.perf_counter_ns() - began) / count

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section("ratios: ours / theirs, medians of one run")
    width = max(len(row.bench) for row in rows)
    for row in rows:
        mark = {True: "ok", False: "MISSED", None: ""}[row.met]
        beside = (
            f" {figure(row.theirs):>12}  {row.ratio:7.2f} ×  {row.reach:10} {mark:7} {row.peer}" if row.peer else ""
        )
        terminalreporter.write_line(f"{row.bench:{width}}  {figure(row.ours):>12} {row.unit:5}{beside}")
    reached = [row.met for row in rows if row.met is not None]
    terminalreporter.write_line(f"{sum(reached)} of {len(reached)} reach what they should")
    target = config.getoption("--report")
    if target is not None:
        target.write_text(_page(rows), encoding="utf-8")


def figure(value: float) -> str:
    """*value* with three digits that mean something, and no more after the point than that."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def _page(rows: list[Row]) -> str:
    packages = ("cython", "aiohttp", "av", "numpy", "fsspec", "smart_open", "sortedcontainers")
    versions = ", ".join(f"{name} {version}" for name in packages if (version := _version(name)))
    reached = [row.met for row in rows if row.met is not None]
    lines = [
        "# Performance",
        "",
        "Ours beside a peer or a physical limit, alternating in one run; medians. Repeat: `make bench REPORT=1`;",
        "`benches/instructions.json` has the instructions of the hottest calls. What misses its reach is marked.",
        "",
        f"{platform.system()} {platform.release().partition('-')[0]}, {os.cpu_count()} cores, {_processor()}; "
        f"Python {platform.python_version()}, {versions}. "
        f"Load when it began: {LOAD:.1f}.",
        "",
        f"Of {len(reached)} rows with something to reach, {sum(reached)} reach it.",
        "",
        "| bench | ours | peer or limit | | ratio | reach | |",
        "| --- | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        if not row.peer:
            lines.append(f"| {row.bench} | {figure(row.ours)} {row.unit} | | | | | |")
            continue
        mark = {True: "", False: "**missed**", None: ""}[row.met]
        lines.append(
            f"| {row.bench} | {figure(row.ours)} {row.unit} | {row.peer} | {figure(row.theirs)} {row.unit} | "
            f"{row.ratio:.2f} × | {row.reach} | {mark} |"
        )
    return "\n".join(lines) + "\n"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()
