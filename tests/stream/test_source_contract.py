"""One contract for every kind of source, as read by a SyncReader, a ByteStream and a prefetch consumer."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from support.sources import IMPLEMENTATIONS, Implementation, Torn

from kithara.errors import Closed, InvalidSeek, SeekNotSupported, StreamError, UnknownLength, WouldDeadlock
from kithara.stream import (
    ByteStream,
    PrefetchWorker,
    Source,
    StreamParams,
    SyncReader,
    SyncReaderParams,
    WaitOutcome,
)

T = TypeVar("T")
SMALL = SyncReaderParams(prefetch=4, chunk=8192)

pytestmark = pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.name, marks=pytest.mark.needs(*kind.needs)) for kind in IMPLEMENTATIONS]
)


@pytest.fixture
def content(kind: Implementation) -> bytes:
    """All that the source holds."""
    return kind.content()


@pytest.fixture
def reachable(kind: Implementation, content: bytes) -> int:
    """Where the source ends or fails."""
    return len(content) if kind.traits.fails_at is None else kind.traits.fails_at


@asynccontextmanager
async def reading(kind: Implementation, path: Path) -> AsyncIterator[SyncReader]:
    async with kind.opened(path) as source:
        with SyncReader(source, SMALL) as reader:
            yield reader


async def elsewhere(action: Callable[[], T]) -> T:
    """*action* in another thread, where it may wait for this loop."""
    return await asyncio.to_thread(action)


async def test_it_is_a_source(kind: Implementation, tmp_path: Path, content: bytes) -> None:
    async with kind.opened(tmp_path) as source:
        assert isinstance(source, Source)
        assert kind.traits.seeks == source.supports_seek
        assert (len(content) if kind.traits.known else None) == source.length


async def test_wait_comes_before_read_and_tells_the_end(kind: Implementation, tmp_path: Path, content: bytes) -> None:
    async with kind.opened(tmp_path) as source:
        assert WaitOutcome.READY is await source.wait_range(0, 100)
        data = await source.read_at(0, 100)
        assert 1 <= len(data) <= 100
        assert content.startswith(data)
        if kind.traits.fails_at is None:
            assert WaitOutcome.EOF is await source.wait_range(len(content), len(content) + 1)


async def test_every_byte_comes_once_and_in_order(
    kind: Implementation, tmp_path: Path, content: bytes, reachable: int
) -> None:
    async with reading(kind, tmp_path) as reader:
        got = await elsewhere(lambda: reader.read(reachable))
        assert content[:reachable] == got


async def test_the_end_is_told_only_at_the_end(kind: Implementation, tmp_path: Path, content: bytes) -> None:
    async with reading(kind, tmp_path) as reader:

        def pieces() -> list[bytes]:
            found = []
            while piece := reader.read(7777):
                found.append(piece)
            return found

        if kind.traits.fails_at is not None:
            with pytest.raises(Torn):
                await elsewhere(pieces)
            return
        found = await elsewhere(pieces)
        assert {7777} == {len(piece) for piece in found[:-1]}
        assert content == b"".join(found)
        assert b"" == reader.read(1)


async def test_a_failure_is_the_sources_own_and_moves_nothing(
    kind: Implementation, tmp_path: Path, content: bytes, reachable: int
) -> None:
    async with reading(kind, tmp_path) as reader:
        position = reachable - 10
        await elsewhere(lambda: reader.seek(position))
        if kind.traits.fails_at is None:
            assert content[-10:] == await elsewhere(lambda: reader.read(100))
            return
        for _ in range(2):
            with pytest.raises(Torn):
                await elsewhere(lambda: reader.read(100))
            assert position == reader.tell()
        reader.seek(0)
        assert content[:100] == await elsewhere(lambda: reader.read(100))


async def test_the_seek_table(kind: Implementation, tmp_path: Path, content: bytes) -> None:
    async with reading(kind, tmp_path) as reader:
        assert 10 == reader.seek(10)
        assert 15 == reader.seek(5, io.SEEK_CUR)
        for offset, whence in ((-1, io.SEEK_SET), (-16, io.SEEK_CUR)):
            with pytest.raises(InvalidSeek):
                reader.seek(offset, whence)
        if kind.traits.known:
            assert len(content) - 1 == reader.seek(-1, io.SEEK_END)
        else:
            with pytest.raises(UnknownLength):
                reader.seek(-1, io.SEEK_END)
        assert (kind.traits.known and kind.traits.seeks) == reader.seekable()


async def test_random_seeks_give_the_bytes_of_their_place(
    kind: Implementation, tmp_path: Path, content: bytes, reachable: int
) -> None:
    chance = random.Random(8)
    async with reading(kind, tmp_path) as reader:

        def course() -> None:
            floor = 0
            for _ in range(60):
                position = chance.randrange(floor, reachable - 500)
                if not kind.traits.seeks:  # forwards, in steps
                    position = min(position, floor + 4000)
                    floor = position
                reader.seek(position)
                assert content[position : position + 500] == reader.read(500)

        await elsewhere(course)


async def test_backwards_past_the_window_is_refused_where_the_source_cannot(
    kind: Implementation, tmp_path: Path, content: bytes
) -> None:
    async with reading(kind, tmp_path) as reader:
        await elsewhere(lambda: reader.read(150_000))
        if kind.traits.seeks:
            reader.seek(0)
            assert content[:10] == await elsewhere(lambda: reader.read(10))
        else:
            with pytest.raises(SeekNotSupported):
                reader.seek(0)
            assert content[150_000:150_010] == await elsewhere(lambda: reader.read(10))


async def test_a_wait_that_is_cancelled_leaves_the_source_as_it_was(
    kind: Implementation, tmp_path: Path, content: bytes
) -> None:
    async with kind.opened(tmp_path) as source:
        for _ in range(3):
            waiting = asyncio.ensure_future(source.wait_range(0, 1000))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        assert WaitOutcome.READY is await source.wait_range(0, 1000)
        assert content.startswith(await source.read_at(0, 1000))


async def test_a_stream_whose_consumer_is_cancelled_goes_on(
    kind: Implementation, tmp_path: Path, content: bytes
) -> None:
    async with kind.opened(tmp_path) as source, ByteStream(source, StreamParams(chunk=5000, buffer=3)) as stream:
        got = b""
        while len(got) < 50_000:
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            got += b"" if waiting.cancelled() else waiting.result()
            got += await anext(stream)
        assert content.startswith(got)


async def test_closing_ends_a_read_that_waits(kind: Implementation, tmp_path: Path) -> None:
    async with reading(kind, tmp_path) as reader:
        reader.close()
        with pytest.raises(Closed):
            await elsewhere(lambda: reader.read(1))


async def test_a_stream_gives_the_same_bytes(
    kind: Implementation, tmp_path: Path, content: bytes, reachable: int
) -> None:
    got = bytearray()
    async with kind.opened(tmp_path) as source:
        async with ByteStream(source, StreamParams(chunk=5000, buffer=3)) as stream:
            try:
                async for chunk in stream:
                    assert 1 <= len(chunk) <= 5000
                    got += chunk
            except Torn:
                assert kind.traits.fails_at is not None
    assert content[:reachable] == got


async def test_a_consumer_gives_the_same_bytes(
    kind: Implementation, tmp_path: Path, content: bytes, reachable: int
) -> None:
    got = bytearray()
    async with kind.opened(tmp_path) as source:
        consumer = PrefetchWorker(source, capacity=3, chunk=5000).consumer()
        try:
            while not (item := await consumer.next()).is_eof:
                assert 0 == item.epoch
                got += item.data
        except Torn:
            assert kind.traits.fails_at is not None
        await consumer.close()
    assert content[:reachable] == got


async def test_reading_on_the_sources_own_loop_is_refused(kind: Implementation, tmp_path: Path, content: bytes) -> None:
    if kind.waits_elsewhere:
        async with reading(kind, tmp_path) as reader:
            assert content[:10] == await elsewhere(lambda: reader.read(10))
        return
    async with reading(kind, tmp_path) as reader:
        with pytest.raises(WouldDeadlock) as caught:
            reader.read(10)
        assert isinstance(caught.value, StreamError)
