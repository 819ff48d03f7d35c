"""A timeline: frozen facts in the order in which they happened, and what follows from them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How things stood at one moment.

    Attributes:
        time: Seconds since the watch began.
        position: Seconds of the media that were heard; None where nobody listens.
        buffered: Seconds of PCM that were decoded ahead.
        ahead: Seconds that would still be heard if nothing more came; None while unknown. Of a file it is estimated:
            its bytes are taken to sound equally long.
        received: Bytes that have come since the watch began.
        underruns: Calls of the output so far that found too little, and got silence.
        variant: The variant that was heard; None of a file.
        link: Bytes a second that the network could carry, where somebody knows.
    """

    time: float
    position: float | None
    buffered: float | None
    ahead: float | None
    received: int
    underruns: int
    variant: int | None
    link: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A part of the media that came.

    Attributes:
        begun, ended: Seconds since the watch began; equal where it was in the cache.
        start, stop: What part it is, in the timeline's `unit`.
        size: Bytes that came.
        variant: Of which variant; None of a file.
        cached: It was here before, and says nothing about the network.
        given_up: The download was given up for another variant, or failed.
    """

    begun: float
    ended: float
    start: float
    stop: float
    size: int
    variant: int | None = None
    cached: bool = False
    given_up: bool = False

    @property
    def rate(self) -> float | None:
        """Bytes a second; None where no time passed."""
        return None if self.cached or self.ended <= self.begun else self.size / (self.ended - self.begun)


Kind = Literal["seek", "silence", "retry", "failed", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened at *time*: a *kind* of event, and a few words on it.

    ``"silence"`` is the network's, from which nothing came although something was wanted.
    """

    time: float
    kind: Kind
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What happened, from the beginning of the watch to `seconds` after.

    Attributes:
        samples: How things stood, at regular moments.
        fetched: What came, in the order in which it was whole.
        moments: Seeks and what went wrong.
        bitrates: Bits per second of each variant, () of a file.
        unit: What `Fetched.start` and `extent` count.
        extent: How much there is of the media, or None while unknown.
        missed: Events that came too fast to be noted.
    """

    samples: tuple[Sample, ...]
    fetched: tuple[Fetched, ...]
    moments: tuple[Moment, ...]
    bitrates: tuple[int, ...]
    unit: Literal["seconds", "bytes"]
    extent: float | None
    missed: int

    @property
    def seconds(self) -> float:
        """How long was watched."""
        return self.samples[-1].time if self.samples else 0.0

    @property
    def received(self) -> int:
        """Bytes that came over the network."""
        return self.samples[-1].received if self.samples else 0

    @property
    def stalls(self) -> tuple[tuple[float, float], ...]:
        """From when to when there was silence in the middle of the sound."""
        short = [
            (before.time, after.time)
            for before, after in itertools.pairwise(self.samples)
            if after.underruns > before.underruns
        ]
        return tuple(_joined(short))

    @property
    def heard(self) -> tuple[tuple[float, int], ...]:
        """From when on which variant was heard."""
        known = [(sample.time, sample.variant) for sample in self.samples if sample.variant is not None]
        return tuple(first for first, *_ in (list(group) for _, group in itertools.groupby(known, lambda at: at[1])))

    def to_png(self, target: str | os.PathLike[str] | BinaryIO, *, title: str | None = None) -> None:
        """Draw it to *target*, a path or a binary stream, by matplotlib (the extra ``kithara[pictures]``).

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            OSError: *target* cannot be written.
        """
        from .picture import draw  # the one place that needs matplotlib

        draw(self, target, title)

    def sparklines(self, width: int = 60) -> str:
        """Draw it in lines of text, *width* columns for `seconds`."""
        from .sparkline import lines

        return "\n".join(lines(self, width))

    def summary(self) -> dict[str, Any]:
        """The figures that matter, as JSON types."""
        return {
            "seconds": round(self.seconds, 3),
            "received": self.received,
            "stalls": [[round(start, 3), round(stop, 3)] for start, stop in self.stalls],
            "heard": [[round(time, 3), variant] for time, variant in self.heard],
            "seeks": sum(moment.kind == "seek" for moment in self.moments),
            "given_up": sum(part.given_up for part in self.fetched),
            "missed": self.missed,
        }


def _joined(spans: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """*spans*, which are in order, where one that begins at the end of another is one with it."""
    start: float | None = None
    stop = 0.0
    for first, last in spans:
        if start is not None and first > stop:
            yield start, stop
            start = None
        if start is None:
            start = first
        stop = last
    if start is not None:
        yield start, stop
