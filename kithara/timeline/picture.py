"""A timeline as a picture: what the network gave and what was chosen, how much lay ahead, where in the media it was."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from .model import Fetched, Sample, Timeline

SIZE, DOTS = (10.0, 2.5), 110
"""Inches of the whole across and of one panel down; dots an inch."""

# Distinct in print and to colour-blind eyes (Okabe and Ito, 2008).
NETWORK, CAPACITY, BUFFER, PCM, STALL, SEEK, TROUBLE = (
    "#0072B2", "#D9D9D9", "#56B4E9", "#0072B2", "#D55E00", "#CC79A7", "#D55E00"
)  # fmt: skip
CACHED = "#BBBBBB"
LINE, FAINT = "#222222", "#888888"


def draw(timeline: Timeline, target: str | os.PathLike[str] | BinaryIO, title: str | None) -> None:
    """Draw *timeline* to *target* as a PNG."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError("a picture takes matplotlib: pip install 'kithara[pictures]'", name=exc.name) from exc
    panels = [
        (paint, weight)
        for paint, known, weight in (
            (_network, bool(timeline.fetched), 1.2),
            (_buffer, any(sample.ahead is not None for sample in timeline.samples), 1.0),
            (_places, bool(timeline.fetched), 1.3),
        )
        if known
    ]
    weights = [weight for _, weight in panels] or [1.0]
    figure = Figure(figsize=(SIZE[0], SIZE[1] * sum(weights)), dpi=DOTS, layout="constrained")
    rows: Any = figure.subplots(len(weights), 1, sharex=True, squeeze=False, height_ratios=weights)
    axes = [row[0] for row in rows]
    for axis in axes:
        axis.grid(visible=True, color="#EEEEEE", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    for axis, (paint, _) in zip(axes, panels, strict=False):
        paint(axis, timeline)
        _happened(axis, timeline)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=6, frameon=False, fontsize=9, borderpad=0.1)
    axes[-1].set_xlabel("time (s)")
    axes[-1].set_xlim(0, timeline.seconds or 1.0)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.savefig(target, format="png")


def _network(axis: Any, timeline: Timeline) -> None:
    """Rates: what the network could carry, what came, and, of a presentation, the bit rate that was heard."""
    samples = timeline.samples
    if any(sample.link is not None for sample in samples):
        times, links = [sample.time for sample in samples], [_kilobits(sample.link or 0.0) for sample in samples]
        axis.fill_between(times, links, step="post", color=CAPACITY, linewidth=0, label="link")
    rates = [(part, _kilobits(part.rate)) for part in timeline.fetched if part.rate]
    axis.set_ylabel("rate (kbit/s)")
    if not timeline.bitrates:
        times, heights = _received(samples)
        axis.fill_between(times, heights, step="pre", color=NETWORK, alpha=0.85, linewidth=0, label="arriving")
        axis.set_ylim(bottom=0)
        return
    _bars(axis, [(part, rate) for part, rate in rates if not part.given_up], NETWORK, "segment arriving", "solid")
    _bars(axis, [(part, rate) for part, rate in rates if part.given_up], TROUBLE, "given up", (0, (1, 0.6)))
    if min(timeline.bitrates) <= 0:
        axis.set_ylim(bottom=0)
        return
    shown = [rate / 1000 for rate in timeline.bitrates]
    # What came in no time says little, and would leave no room for the rest.
    shown += [rate for part, rate in rates if part.ended - part.begun > timeline.seconds / 200]
    axis.set_yscale("log")
    axis.set_ylim(0.6 * min(shown), 1.6 * max(shown))
    axis.set_ylabel("rate (kbit/s, log)")
    _plain(axis.yaxis, [digit * 10**power for power in range(7) for digit in (1, 2, 5)])
    _heard(axis, timeline)


def _bars(axis: Any, rates: Sequence[tuple[Fetched, float]], color: str, label: str, style: Any) -> None:
    if rates:
        heights = [rate for _, rate in rates]
        begun, ended = [part.begun for part, _ in rates], [part.ended for part, _ in rates]
        axis.hlines(heights, begun, ended, colors=color, linewidth=4, label=label, linestyle=style)


def _heard(axis: Any, timeline: Timeline) -> None:
    """The bit rate that was heard as a line; each rung of the ladder has its colour, on the axis at the right, too."""
    colors = _colors(timeline)
    heard = timeline.heard
    stops = [*(time for time, _ in heard[1:]), timeline.seconds]
    before: int | None = None
    for (start, variant), stop in zip(heard, stops, strict=False):
        rate = timeline.bitrates[variant] / 1000
        label = "variant heard" if before is None else None
        axis.hlines(rate, start, stop, colors=LINE, linewidth=6.5, label=label)
        axis.hlines(rate, start, stop, colors=colors[variant], linewidth=4)
        if before is not None:
            axis.vlines(start, *sorted((timeline.bitrates[before] / 1000, rate)), colors=LINE, linewidth=1.2)
        before = variant
    right = axis.secondary_yaxis("right")
    rungs = sorted(set(timeline.bitrates))
    _plain(right.yaxis, [rung / 1000 for rung in rungs])
    for label, rung in zip(right.get_yticklabels(), rungs, strict=True):
        label.set(color=colors[timeline.bitrates.index(rung)], fontweight="bold")
    right.set_ylabel("variants (kbit/s)")


def _plain(axis: Any, ticks: Sequence[float]) -> None:
    """Mark *ticks* on a logarithmic *axis*, and nothing between them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axis.set_minor_locator(NullLocator())


def _buffer(axis: Any, timeline: Timeline) -> None:
    times = [sample.time for sample in timeline.samples]
    ahead = [sample.ahead or 0.0 for sample in timeline.samples]
    decoded = [sample.buffered or 0.0 for sample in timeline.samples]
    axis.fill_between(times, ahead, color=BUFFER, alpha=0.75, linewidth=0, label="fetched ahead")
    axis.fill_between(times, decoded, color=PCM, linewidth=0, label="decoded ahead")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("buffer (s)")


def _places(axis: Any, timeline: Timeline) -> None:
    """Every part that came: when it came from left to right, where in the media it is from below to above."""
    from matplotlib.patches import Rectangle

    colors = _colors(timeline)
    factor, unit = (1.0, "s") if timeline.unit == "seconds" else (1 / (1 << 20), "MiB")
    for part in timeline.fetched:
        color = CACHED if part.cached else NETWORK if part.variant is None else colors[part.variant]
        # What was in the cache took no time, and is here from then on.
        width = timeline.seconds - part.begun if part.cached else max(part.ended - part.begun, timeline.seconds / 300)
        axis.add_patch(
            Rectangle(
                (part.begun, part.start * factor),
                width,
                (part.stop - part.start) * factor,
                facecolor="none" if part.given_up else color,
                edgecolor=TROUBLE if part.given_up else "white" if timeline.bitrates else color,
                hatch="////" if part.given_up else None,
                linewidth=0.8 if timeline.bitrates else 0.0,
                alpha=0.4 if part.cached else 1.0,
            )
        )
    label = "heard"
    for times, places in _played(timeline.samples):
        axis.plot(times, places, color=LINE, linewidth=2, label=label)
        label = ""
    top = max([part.stop for part in timeline.fetched], default=1.0)
    axis.set_ylim(0, (timeline.extent or top) * factor)
    axis.set_ylabel(f"place in the media ({unit})")


def _played(samples: Sequence[Sample]) -> Iterator[tuple[list[float], list[float]]]:
    """The places that were heard, in pieces between seeks."""
    times: list[float] = []
    places: list[float] = []
    for sample in samples:
        if sample.position is None:
            continue
        if places and not -0.01 <= sample.position - places[-1] <= 2 * (sample.time - times[-1]) + 0.5:
            yield times, places
            times, places = [], []
        times.append(sample.time)
        places.append(sample.position)
    if times:
        yield times, places


def _happened(axis: Any, timeline: Timeline) -> None:
    """Silence as bands, seeks and trouble as lines, through a panel from below to above."""
    label = "silence"
    for start, stop in timeline.stalls:
        axis.axvspan(start, stop, color=STALL, alpha=0.45, linewidth=0, label=label)
        label = ""
    seen: set[str] = set()
    for moment in timeline.moments:
        color = SEEK if moment.kind == "seek" else FAINT if moment.kind == "silence" else TROUBLE
        if moment.kind != "ended":
            label = "" if moment.kind in seen else "network silent" if moment.kind == "silence" else moment.kind
            axis.axvline(moment.time, color=color, linewidth=1.5, linestyle="--", label=label)
            seen.add(moment.kind)


def _colors(timeline: Timeline) -> dict[int, Any]:
    """A colour for each variant, the darker the lower its bit rate."""
    from matplotlib import colormaps

    rungs = sorted(set(timeline.bitrates))
    scale = colormaps["viridis"]
    return {
        variant: scale(0.1 + 0.8 * rungs.index(rate) / max(1, len(rungs) - 1))
        for variant, rate in enumerate(timeline.bitrates)
    }


def _received(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Times, and the kilobits a second that came by then since the time before."""
    times, heights = [0.0], [0.0]
    for before, after in itertools.pairwise(samples):
        times.append(after.time)
        heights.append(_kilobits((after.received - before.received) / max(after.time - before.time, 1e-9)))
    return times, heights


def _kilobits(rate: float | None) -> float:
    return (rate or 0.0) * 8 / 1000
