"""A timeline as a few lines of text: one character for a piece of time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from .model import Fetched, Sample, Timeline

HEIGHTS = "▁▂▃▄▅▆▇█"
MARKS = {"seek": "↷", "silence": "·", "retry": "↻", "failed": "✗", "stall": "×"}


def lines(timeline: Timeline, width: int) -> Iterator[str]:
    """The rows of *timeline*, *width* columns wide without labels; rows of which nothing is known are left out."""
    columns = [_within(timeline.samples, *span) for span in _spans(timeline, width)]
    ahead = [_least(sample.ahead for sample in column) for column in columns]
    if any(value is not None for value in ahead):
        yield _row("buffer", ahead, "s", _most(ahead), 1)
    rates = [_rate(timeline.fetched, *span) / 1000 for span in _spans(timeline, width)]
    if any(rates):
        yield _row("network", rates, "kB/s", max(rates), 0)
    heard = [next((sample.variant for sample in column if sample.variant is not None), None) for column in columns]
    if len(timeline.bitrates) > 1:
        rungs = sorted(timeline.bitrates)
        steps = [None if variant is None else rungs.index(timeline.bitrates[variant]) + 1 for variant in heard]
        scale = f"{rungs[0] / 1000:.0f} to {rungs[-1] / 1000:.0f} kbit/s"
        yield f"{'variant':>8} {''.join(_cell(step, len(rungs)) for step in steps)} {scale}"
    marks = "".join(_mark(timeline, *span) for span in _spans(timeline, width))
    if marks.strip():
        yield f"{'':>8} {marks}".rstrip()


def _spans(timeline: Timeline, width: int) -> list[tuple[float, float]]:
    edges = [timeline.seconds * column / width for column in range(width + 1)]
    return list(itertools.pairwise(edges))


def _within(samples: Sequence[Sample], start: float, stop: float) -> list[Sample]:
    """The samples of a piece of time; the last one before it where none is in it."""
    inside = [sample for sample in samples if start <= sample.time < stop]
    return inside or [sample for sample in samples if sample.time < stop][-1:]


def _rate(parts: Sequence[Fetched], start: float, stop: float) -> float:
    """Bytes a second from *start* to *stop*, what came being spread evenly over the time it took."""
    came = sum(
        part.rate * max(0.0, min(stop, part.ended) - max(start, part.begun)) for part in parts if part.rate is not None
    )
    return came / max(stop - start, 1e-9)


def _mark(timeline: Timeline, start: float, stop: float) -> str:
    if any(first < stop and last > start for first, last in timeline.stalls):
        return MARKS["stall"]
    kinds = {moment.kind for moment in timeline.moments if start <= moment.time < stop}
    return next((MARKS[kind] for kind in ("failed", "seek", "retry", "silence") if kind in kinds), " ")


def _row(label: str, values: Sequence[float | None], unit: str, most: float, digits: int) -> str:
    return f"{label:>8} {''.join(_cell(value, most) for value in values)} 0 to {most:.{digits}f} {unit}"


def _cell(value: float | None, most: float) -> str:
    if value is None:
        return " "
    return HEIGHTS[min(len(HEIGHTS) - 1, int(value / most * len(HEIGHTS)))] if most else HEIGHTS[0]


def _least(values: Iterator[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _most(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)
