"""Sources as a user would write them: in memory, slow, failing midway, of unknown length, unable to seek."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import hlstrees

import kithara
from kithara._core.memory_resource import MemoryResource
from kithara.cli.origin import Origin
from kithara.media import MediaInfo
from kithara.source import Source, WaitOutcome

CONTENT = random.Random(70).randbytes(300_000)
SIZE = len(CONTENT)


class Torn(Exception):
    """A user's own error."""


@dataclass
class UserSource:
    """The contract written out by hand, over *content*, with what may go wrong.

    Attributes:
        known: Whether it says its length.
        supports_seek: Whether it can go back; it fails the test's read when asked to although it said it cannot.
        fails_at: Raises *error* from a wait for this offset or one beyond.
        pause: Called in every wait; a slow source gives an awaitable.
        most: Bytes it gives at once, at most.
    """

    content: bytes = CONTENT
    known: bool = True
    supports_seek: bool = True
    fails_at: int | None = None
    error: Exception = field(default_factory=Torn)
    pause: Callable[[int], asyncio.Future[None]] | None = None
    most: int = 1 << 30
    media: MediaInfo | None = None
    offline_mode: bool = False
    waited: list[tuple[int, int]] = field(default_factory=list)
    served: int = 0
    ready: tuple[int, int] = (0, 0)

    @property
    def length(self) -> int | None:
        return len(self.content) if self.known else None

    async def wait_range(self, start: int, stop: int) -> WaitOutcome:
        self.waited.append((start, stop))
        if self.pause is not None:
            await self.pause(start)
        else:
            await asyncio.sleep(0)
        if not self.supports_seek and start < self.served:
            raise AssertionError(f"asked for {start} again, after {self.served}")
        if self.fails_at is not None and stop > self.fails_at:
            if start >= self.fails_at:
                raise self.error
            stop = self.fails_at
        if start >= len(self.content):
            return WaitOutcome.EOF
        self.ready = start, min(stop, len(self.content))
        return WaitOutcome.READY

    async def read_at(self, offset: int, size: int) -> bytes:
        start, stop = self.ready
        assert start <= offset < stop, f"{offset} was not waited for: {self.ready}"
        data = self.content[offset : min(offset + min(size, self.most), stop)]
        self.served = offset + len(data)
        return data


class Gate:
    """Lets waits at or beyond an offset pass only once opened so far; for `UserSource.pause`."""

    def __init__(self, until: int = 0) -> None:
        self.until = until
        self.reached = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __call__(self, start: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if start < self.until:
            future.set_result(None)
        else:
            self._waiting.append((start, future))
            self.reached.set()
        return future

    def open(self, until: int) -> None:
        self.until = until
        for start, future in self._waiting:
            if start < until and not future.done():
                future.set_result(None)

    @property
    def cancelled(self) -> int:
        """How many waits were cancelled."""
        return sum(future.cancelled() for _, future in self._waiting)


@dataclass(frozen=True)
class Traits:
    """What may be expected of a source."""

    known: bool = True
    seeks: bool = True
    fails_at: int | None = None


Opened = Callable[[Path], AbstractAsyncContextManager[Source]]


@dataclass(frozen=True)
class Implementation:
    """A kind of source, how to have one, and what it holds.

    Attributes:
        waits_elsewhere: Its bytes are brought by another thread than the one that opened it.
        needs: Programs it takes.
    """

    name: str
    traits: Traits
    opened: Opened
    content: Callable[[], bytes] = lambda: CONTENT
    waits_elsewhere: bool = True
    needs: tuple[str, ...] = ()


def user(**options: object) -> Opened:
    @asynccontextmanager
    async def opened(path: Path) -> AsyncIterator[Source]:
        yield UserSource(**options)  # type: ignore[arg-type]

    return opened


@asynccontextmanager
async def memory(path: Path) -> AsyncIterator[Source]:
    """A source over a store in memory that fills while it is read."""
    store = MemoryResource(SIZE)

    async def fill() -> None:
        for start in range(0, SIZE, 9000):
            store.write_at(start, CONTENT[start : start + 9000])
            await asyncio.sleep(0)
        store.commit()

    task = asyncio.create_task(fill())
    try:
        yield kithara.FileSource(store, None)
    finally:
        await task


@asynccontextmanager
async def local_file(path: Path) -> AsyncIterator[Source]:
    """A file by its path, through the factory."""
    target = path / "content.bin"
    target.write_bytes(CONTENT)
    opened = await kithara.File.open(str(target), kithara.FileParams())
    yield opened.source


def http_file(**options: Any) -> Opened:
    @asynccontextmanager
    async def opened(path: Path) -> AsyncIterator[Source]:
        with Origin({"content.bin": CONTENT}, **options) as origin:
            found = await kithara.File.open(origin.url("content.bin"), kithara.FileParams(look_ahead=64 << 10))
            yield found.source

    return opened


@asynccontextmanager
async def hls_variant(path: Path) -> AsyncIterator[Source]:
    """The bytes of one pinned variant, through the factory."""
    tree = hlstrees.tree("ts")
    files = {str(file.relative_to(tree.folder)): file for file in tree.folder.rglob("*") if file.is_file()}
    with Origin(files) as origin:
        found = await kithara.Hls.open(origin.url("master.m3u8"), kithara.HlsParams(variant=0))
        yield found.source


async def _tick() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def slow(start: int) -> asyncio.Future[None]:
    return asyncio.ensure_future(_tick())


KNOWN, UNKNOWN, FORWARD = Traits(), Traits(known=False), Traits(seeks=False)
FORWARD_UNKNOWN, FAILING = Traits(known=False, seeks=False), Traits(fails_at=200_000)

IMPLEMENTATIONS = (
    Implementation("memory", KNOWN, memory),
    Implementation("local file", KNOWN, local_file),
    Implementation("http file", KNOWN, http_file(delay=0.001)),
    Implementation("http file, no ranges", KNOWN, http_file(ranges=False)),
    Implementation(
        "hls variant", UNKNOWN, hls_variant, lambda: hlstrees.tree("ts").variants[0].plain, needs=("ffmpeg",)
    ),
    Implementation("user", KNOWN, user(), waits_elsewhere=False),
    Implementation("user, slow", KNOWN, user(pause=slow, most=700), waits_elsewhere=False),
    Implementation("user, unknown length", UNKNOWN, user(known=False), waits_elsewhere=False),
    Implementation("user, forward only", FORWARD, user(supports_seek=False), waits_elsewhere=False),
    Implementation(
        "user, forward, unknown", FORWARD_UNKNOWN, user(known=False, supports_seek=False), waits_elsewhere=False
    ),
    Implementation("user, failing", FAILING, user(fails_at=200_000), waits_elsewhere=False),
)
"""Add a kind of source here and every suite over sources holds it to the contract."""
