"""An HLS session in simulated time: the engine that plays, over a link of which every byte is known, in no time at all.

::

    played = simulate(presentation(cuts=(2.0, 3.7)), Link(lambda second: 20_000.0), look_ahead=10.0)
    played.silence, played.wasted, played.variants

Nothing depends on the machine: time passes only while everybody waits, work for threads is done at once, and the link
brings bytes by the clock of the simulation. A listener hears in real time what has come so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kithara.assets import AssetId
from kithara.errors import Interrupted
from kithara.hls import HlsOptions, SegmentGivenUp, parse_playlist
from kithara.hls.documents import Documents
from kithara.hls.engine import Engine
from kithara.hls.ladder import ladder
from kithara.hls.slots import Shelf
from kithara.io import wait_range
from kithara.net import HttpOptions, Representation
from kithara.net.policy import Trust, parse

HOME = "http://simulated/master.m3u8"
TRUST = Trust(origin=parse(HOME).origin, private=True, secure=False)
TICK = 0.02
"""Seconds between two pieces of a body."""
EARLY = 0.5
"""Seconds before the end of what it has from which on a decoder asks for what comes next."""


class _Patience(selectors.DefaultSelector):
    """Where there is nothing to do, the clock goes on to when there is."""

    now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError(f"at {self.now} s everybody waits for something that will not come")
            self.now += max(timeout, 0.0)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Time passes only while everybody waits; threads do their work at once."""

    def __init__(self):
        self._patience = _Patience()
        super().__init__(self._patience)

    def time(self):
        return self._patience.now

    def run_in_executor(self, executor, func, *args):
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Link:
    """A link that brings *rate(second)* bytes a second to all answers together, *latency* seconds after a question.

    Attributes:
        sent: Bytes that it brought.
        wasted: Those of answers that were not read to their end.
        asked: The paths that were asked for, in order.
    """

    rate: Callable[[float], float]
    latency: float = 0.06
    sent: int = 0
    wasted: int = 0
    asked: list[str] = field(default_factory=list)
    under_way: int = 0

    def bytes_in(self, second: float) -> int:
        return max(1, round(self.rate(second) * TICK / max(self.under_way, 1)))


class _Body:
    endless = False

    def __init__(self, link, data, start):
        self.headers = {}
        self.representation = Representation(total=len(data))
        self.start, self.stop = start, len(data)
        self._link, self._data = link, data
        self.sent = 0

    async def __aiter__(self):
        clock = asyncio.get_running_loop().time
        place = self.start
        while place < len(self._data):
            await asyncio.sleep(TICK)
            piece = self._data[place : place + self._link.bytes_in(clock())]
            place += len(piece)
            self.sent += len(piece)
            self._link.sent += len(piece)
            yield piece


class _Client:
    """As much of `HttpClient` as HLS asks of it, over *link*, with the bodies of *files*."""

    options = HttpOptions()

    def __init__(self, link, files):
        self._link, self._files = link, files

    @contextlib.asynccontextmanager
    async def stream(self, url, start=0, stop=None, **_):
        link, path = self._link, urlsplit(url).path
        link.asked.append(path)
        body = _Body(link, self._files[path][:stop], start)
        link.under_way += 1
        try:
            await asyncio.sleep(link.latency)
            yield body
        finally:
            link.under_way -= 1
            if body.sent < body.stop - body.start:
                link.wasted += body.sent

    async def get(self, url, **_):
        path = urlsplit(url).path
        self._link.asked.append(path)
        await asyncio.sleep(self._link.latency)
        return _Document(self._files[path], url)


@dataclass(frozen=True)
class _Document:
    body: bytes
    url: str
    trust: Trust = TRUST


def presentation(*, rates=(64_000, 128_000, 256_000), cuts=(4.0, 4.0, 4.0), seconds=120.0, fill=1.0, ranges=False):
    """Path and body of everything in a presentation whose variants have *rates* and are cut every *cuts* seconds.

    Args:
        fill: Bytes of a segment, as a share of what its rate tells.
        ranges: Each variant is one file, of which its list names the parts.
    """
    master, files = ["#EXTM3U"], {}
    for number, (rate, cut) in enumerate(zip(rates, cuts, strict=True)):
        master += [f"#EXT-X-STREAM-INF:BANDWIDTH={rate}", f"v{number}.m3u8"]
        lines = ["#EXTM3U", "#EXT-X-VERSION:4", f"#EXT-X-TARGETDURATION:{round(cut + 0.49)}"]
        at, index, place = 0.0, 0, 0
        while at < seconds - 1e-6:
            duration = min(cut, seconds - at)
            body = (b"G" + bytes(187)) * max(1, round(rate * duration * fill / 8 / 188))
            lines += [f"#EXTINF:{duration:.3f},"]
            lines += [f"#EXT-X-BYTERANGE:{len(body)}@{place}", f"{number}.ts"] if ranges else [f"{number}-{index}.ts"]
            files[f"/{number}.ts" if ranges else f"/{number}-{index}.ts"] = b"".join(
                [files.get(f"/{number}.ts", b"") if ranges else b"", body]
            )
            at, index, place = at + duration, index + 1, place + len(body)
        files[f"/v{number}.m3u8"] = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    files["/master.m3u8"] = "\n".join([*master, ""]).encode()
    return files


@dataclass
class Played:
    """What became of a session.

    Attributes:
        silence: Seconds in which nothing could be heard, once it had begun.
        seconds: What was heard.
        variants: Variant and seconds of each piece that was heard.
        given_up: What was told of downloads that were given up.
    """

    link: Link
    silence: float = 0.0
    seconds: float = 0.0
    variants: list[tuple[int, float]] = field(default_factory=list)
    given_up: list[SegmentGivenUp] = field(default_factory=list)

    @property
    def wasted(self) -> float:
        """The share of all bytes that came for nothing."""
        return self.link.wasted / max(self.link.sent, 1)


def simulate(files, link, **options):
    """Play *files* over *link* to the end. *options* as of `HlsOptions`."""
    with contextlib.closing(SimulatedLoop()) as loop:
        return loop.run_until_complete(_simulated(files, link, HlsOptions(**options)))


async def _simulated(files, link, options):
    played, client = Played(link), _Client(link, files)
    master = parse_playlist(files["/master.m3u8"], HOME)

    def publish(event):
        if isinstance(event, SegmentGivenUp):
            played.given_up.append(event)

    asset = AssetId.named(HOME)
    documents = Documents(
        client, None, asset, home=HOME, headers=None, offline=False, key_processor=None, store_keys=False
    )
    engine = Engine(
        ladder(master), documents, client, Shelf(None, asset), options, publish,
        headers=None, offline=False, master=master, trust=TRUST,
    )  # fmt: skip
    await engine.start(None)
    try:
        await _listen(engine, played)
    finally:
        await engine.close()
    return played


async def _listen(engine, played):
    """Hear everything in real time, as much of each segment as has come."""
    clock = asyncio.get_running_loop().time
    silent_from = None  # when what was heard so far ends
    slot = engine.at(0.0)
    while slot is not None:
        try:
            while played.seconds < slot.stop - 1e-6:
                upto = min(played.seconds + EARLY, slot.stop)
                await wait_range(slot.store, 0, 1)
                share = (upto - slot.start) / slot.segment.duration
                await wait_range(slot.store, 0, max(1, int(share * slot.store.length)))
                if silent_from is not None and clock() > silent_from:
                    played.silence += clock() - silent_from
                    silent_from = clock()
                silent_from = (clock() if silent_from is None else silent_from) + upto - played.seconds
                played.variants.append((slot.variant, upto - played.seconds))
                played.seconds = upto
                await asyncio.sleep(max(0.0, silent_from - EARLY - clock()))
        except Interrupted:
            slot = engine.again(*slot.place)
            continue
        slot = engine.following(slot.variant, slot.index, slot.stop)
