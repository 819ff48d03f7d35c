"""The demo's adaptive part: a presentation plays in real time while its link falls to a tenth, and recovers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import kithara

from ..timeline import Timeline, Watch
from .console import clock, seconds_progress
from .origin import Origin
from .outputs import sounding

MASTER = "master.m3u8"
RATES = (32_000, 64_000, 128_000, 256_000)
"""Bits a second of the variants."""
SEGMENT = 1
LINK, DELAY = 80_000.0, 0.03
"""Bytes a second at the beginning and at the end, a tenth of that between; seconds before an answer."""
LOOK_AHEAD = 12.0
MORE = 12
"""Seconds that the presentation goes on beyond what is played, so that there is something to fetch until the end."""
FALL, RISE = 8 / 30, 20 / 30
"""When the link falls and when it recovers, as shares of the time it takes."""
TICK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of it.

    Attributes:
        stalls: Silences.
        lowest, last: The least bit rate that was heard after the first seconds, and the last, in bits a second.
        highest: The best there is.
    """

    stalls: int
    lowest: int
    last: int
    highest: int

    @property
    def well(self) -> bool:
        """Whether it played on without a gap, and climbed back."""
        return not self.stalls and self.last == self.highest

    def __str__(self) -> str:
        gaps = {0: "no gap", 1: "1 gap"}.get(self.stalls, f"{self.stalls} gaps")
        return f"{gaps}; {' → '.join(f'{rate / 1000:.0f}' for rate in (self.highest, self.lowest, self.last))} kbit/s"


def play(bodies: Mapping[str, bytes], seconds: float, *, quiet: bool) -> Timeline:
    """Play the presentation in *bodies* in real time into nothing, over a link that varies."""
    with Origin(bodies, rate=LINK, delay=DELAY) as origin:
        session = asyncio.run(_open(origin.url(MASTER)))
        try:
            with (
                kithara.AudioStream(session.segment_source()) as stream,
                Watch(stream, link=lambda: origin.rate) as watch,
                seconds_progress(quiet=quiet) as progress,
                sounding(stream, null=True),
            ):
                task = progress.add_task("playing", total=seconds, note="")
                looked = threading.Event()
                while not stream.ended and stream.position < seconds:
                    looked.wait(TICK)
                    now = watch.now
                    time = 0.0 if now is None else now.time
                    falls = FALL <= time / seconds < RISE
                    origin.rate = LINK / 10 if falls else LINK
                    heard = session.variants[0 if now is None else now.variant or 0].bandwidth
                    note = (
                        f"{clock(stream.position)}, {0.0 if now is None else now.ahead or 0.0:4.1f} s ahead, "
                        f"{heard / 1000:.0f} kbit/s over a link of {origin.rate * 8 / 1000:.0f}"
                    )
                    progress.update(task, completed=stream.position, note=note)
                    if (error := stream.stats().failed) is not None:
                        raise error
            return watch.timeline()
        finally:
            session.close()


def judge(timeline: Timeline) -> Verdict:
    """What came of what *timeline* tells."""
    settled = [variant for time, variant in timeline.heard if time > FALL * timeline.seconds]
    rates = [timeline.bitrates[variant] for variant in settled] or [0]
    return Verdict(
        stalls=len(timeline.stalls), lowest=min(rates), last=rates[-1], highest=max(timeline.bitrates, default=0)
    )


async def _open(url: str) -> kithara.hls.HlsSession:
    return await kithara.HlsSource.open(url, kithara.HlsOptions(look_ahead=LOOK_AHEAD))
