"""Watching something play: a thread that looks at it now and then, and what it has seen so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from .._core.reader import SyncReader
from ..decode import AudioStream, Ended, Sought
from ..hls import HlsSegments, HlsSession
from .model import Fetched, Sample, Timeline
from .places import File, Log, Place, Presentation

LOOKS = 20_000
"""Looks kept at most."""

Watched = AudioStream | HlsSession | HlsSegments | SyncReader


class Watch:
    """Watches *what* while the `with` block lasts, from a thread of its own.

    ::

        with kithara.AudioStream(url) as stream, Watch(stream) as watch:
            ...
        watch.timeline().to_png("heard.png")

    Args:
        what: An `AudioStream`, with which what it decodes from is watched, too; or a session or a reader, of which
            nobody is seen to listen.
        interval: Seconds between two looks. After some thousand looks every other is forgotten, and the interval is
            doubled.
        link: Gives the bytes a second that the network can carry, where somebody knows.

    Leave the block before *what* is closed. `timeline` and `now` may be asked at any time, from any thread.
    """

    def __init__(self, what: Watched, *, interval: float = 0.1, link: Callable[[], float | None] | None = None) -> None:
        if not interval > 0:
            raise ValueError(f"interval {interval}: expected seconds")
        self._interval = interval
        self._link = link
        self._log = Log()
        self._stream = what if isinstance(what, AudioStream) else None
        self._told = None if self._stream is None else self._stream.events()
        self._place = _place(what if self._stream is None else self._stream.source, self._log)
        self._samples: list[Sample] = []
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kithara-watch", daemon=True)

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()
        self._look()

    def timeline(self) -> Timeline:
        """What happened so far."""
        with self._lock:
            place = self._place
            fetched = [] if place is None else place.fetched
            extent = None if place is None else place.extent()
            unit = "seconds" if place is None else place.unit
            duration = place.duration if isinstance(place, File) else None
            if extent and duration:  # a file that is listened to is told in seconds, too
                fetched = [_scaled(part, duration / extent) for part in fetched]
                extent, unit = duration, "seconds"
            return Timeline(
                samples=tuple(self._samples),
                fetched=tuple(fetched),
                moments=tuple(self._log.moments),
                bitrates=() if place is None else place.bitrates,
                unit=unit,
                extent=extent,
                missed=self._log.missed,
            )

    @property
    def now(self) -> Sample | None:
        """How things stood at the last look."""
        with self._lock:
            return self._samples[-1] if self._samples else None

    def _run(self) -> None:
        self._look()
        while not self._left.wait(self._interval):
            self._look()

    def _look(self) -> None:
        with self._lock:
            now = time.monotonic() - self._begun
            stream, place = self._stream, self._place
            self._hear(now)
            if place is not None:
                place.look(now)
            if isinstance(place, File) and stream is not None:
                place.duration = stream.duration
            position = None if stream is None else stream.position
            buffered = None if stream is None else stream.buffered
            ahead = buffered
            if position is not None and place is not None:
                ahead = max(place.ahead(position) or 0.0, buffered or 0.0)
            self._samples.append(
                Sample(
                    time=now,
                    position=position,
                    buffered=buffered,
                    ahead=ahead,
                    received=0 if place is None else place.received,
                    underruns=0 if stream is None else stream.stats().underruns,
                    variant=None if place is None or position is None else place.variant(position),
                    link=None if self._link is None else self._link(),
                )
            )
            if len(self._samples) > LOOKS:
                del self._samples[1::2]
                self._interval *= 2
                if isinstance(place, File):
                    place.thin()

    def _hear(self, now: float) -> None:
        while self._told is not None and (event := self._told.get_nowait()) is not None:
            self._log.hear(now, event)
            if isinstance(event, Sought):
                self._log.note(now, "seek", f"to {event.seconds:.1f} s")
            elif isinstance(event, Ended):
                self._log.note(now, "ended", f"at {event.seconds:.1f} s")


def _place(what: object, log: Log) -> Place | None:
    """What the bytes of *what* can be watched by; None where they cannot."""
    if isinstance(what, HlsSegments):
        what = what.session
    if isinstance(what, HlsSession):
        return Presentation(what, log)
    return File(what) if isinstance(what, SyncReader) else None


def _scaled(part: Fetched, factor: float) -> Fetched:
    return replace(part, start=part.start * factor, stop=part.stop * factor)
