"""Where the bytes of what plays come from, as a watch sees it: a presentation's segments, or a file's ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

from .._core.ranges import RangeSet
from .._core.reader import SyncReader
from ..errors import Closed
from ..events import Failed, Lagged, Retrying, Seeked, Stalled, Subscription
from ..hls import HlsSession, SegmentGivenUp, SegmentLoaded
from .model import Fetched, Kind, Moment

JOINT = 0.001
"""Seconds by which segments may miss each other, for their durations are rounded."""


class Place(Protocol):
    """What came, and what it means for a listener at some second."""

    unit: Literal["seconds", "bytes"]
    bitrates: tuple[int, ...]
    fetched: list[Fetched]
    received: int

    def look(self, time: float) -> None:
        """Note what has come by *time*."""

    def extent(self) -> float | None:
        """How much there is of it, in `unit`."""

    def ahead(self, position: float) -> float | None:
        """Seconds that are here from second *position* on."""

    def variant(self, position: float) -> int | None:
        """The variant that sounds at second *position*."""


class Log:
    """The moments that a bus tells of.

    Attributes:
        moments: What happened.
        missed: Events that came too fast.
    """

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.missed: int = 0

    def note(self, time: float, kind: Kind, note: str) -> None:
        self.moments.append(Moment(time=time, kind=kind, note=note))

    def hear(self, time: float, event: object) -> None:
        """Note *event* if it is one of those that every session tells."""
        if isinstance(event, Lagged):
            self.missed += event.missed
        elif isinstance(event, Seeked):
            self.note(time, "seek", f"to {event.position}")
        elif isinstance(event, Stalled):
            self.note(time, "silence", f"nothing for {event.seconds:.1f} s")
        elif isinstance(event, Retrying):
            self.note(time, "retry", f"{event.error}, again in {event.delay:.1f} s")
        elif isinstance(event, Failed):
            self.note(time, "failed", str(event.error))


class Presentation:
    """The segments of an HLS session."""

    unit: Literal["seconds", "bytes"] = "seconds"

    def __init__(self, session: HlsSession, log: Log) -> None:
        self._session = session
        self._log = log
        self._told: Subscription = session.events()
        self.bitrates: tuple[int, ...] = tuple(variant.rate for variant in session.variants)
        self.fetched: list[Fetched] = [
            Fetched(begun=0.0, ended=0.0, start=start, stop=stop, size=0, variant=session.variant, cached=True)
            for start, stop in session.available_ranges()
        ]
        self.received: int = 0

    def look(self, time: float) -> None:
        while (event := self._told.get_nowait()) is not None:
            self._log.hear(time, event)
            if isinstance(event, SegmentLoaded):
                self._came(time, event, given_up=False)
            elif isinstance(event, SegmentGivenUp) and event.index >= 0:
                self._came(time, event, given_up=True)

    def _came(self, time: float, event: SegmentLoaded | SegmentGivenUp, *, given_up: bool) -> None:
        cached = isinstance(event, SegmentLoaded) and event.cached
        if not cached:
            self.received += event.size
        self.fetched.append(
            Fetched(
                begun=max(0.0, time - event.seconds),
                ended=time,
                start=event.start,
                stop=event.stop,
                size=event.size,
                variant=event.variant,
                cached=cached,
                given_up=given_up,
            )
        )

    def extent(self) -> float | None:
        return self._session.duration

    def ahead(self, position: float) -> float | None:
        here = position
        for start, stop in self._session.available_ranges():
            if start <= here + JOINT:
                here = max(here, stop)
        return here - position

    def variant(self, position: float) -> int | None:
        for part in reversed(self.fetched):
            if not part.given_up and part.start <= position < part.stop:
                return part.variant
        return self._session.variant


class File:
    """The ranges of a file. Its bytes are taken to sound equally long, once *duration* is known."""

    unit: Literal["seconds", "bytes"] = "bytes"
    bitrates: tuple[int, ...] = ()

    def __init__(self, file: SyncReader) -> None:
        self._file = file
        self._here = RangeSet(file.available_ranges())
        self._length = file.length
        self._looked = 0.0
        self.duration: float | None = None
        self.fetched: list[Fetched] = [
            Fetched(begun=0.0, ended=0.0, start=start, stop=stop, size=stop - start, cached=True)
            for start, stop in self._here
        ]
        self.received: int = 0

    def look(self, time: float) -> None:
        try:
            spans, self._length = self._file.available_ranges(), self._file.length
        except Closed:
            return
        for first, stop in spans:
            while (gap := self._here.next_gap(first, stop)) is not None:
                self._here.add(*gap)
                self.received += gap[1] - gap[0]
                self.fetched.append(
                    Fetched(begun=self._looked, ended=time, start=gap[0], stop=gap[1], size=gap[1] - gap[0])
                )
        self._looked = time

    def thin(self) -> None:
        """Make one part of two that follow each other, in time as in the file."""
        kept: list[Fetched] = []
        held: Fetched | None = None
        for part in self.fetched:
            if held is not None and not held.cached and (held.ended, held.stop) == (part.begun, part.start):
                kept.append(replace(held, ended=part.ended, stop=part.stop, size=held.size + part.size))
                held = None
            else:
                kept += [] if held is None else [held]
                held = part
        self.fetched = kept + ([] if held is None else [held])

    def extent(self) -> float | None:
        return self._length

    def ahead(self, position: float) -> float | None:
        if not self._length or not self.duration:
            return None
        place = min(self._length, int(position / self.duration * self._length))
        return (self._here.covered_until(place) - place) / self._length * self.duration

    def variant(self, position: float) -> int | None:
        return None
