"""Writer and Reader: a body into a store, a store into chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.sources import CONTENT, Torn

from kithara._core.memory_resource import MemoryResource
from kithara.cli.origin import Origin
from kithara.errors import HttpStatus
from kithara.net import HttpClient
from kithara.stream import Reader, Writer

SIZE = 20_000


class Response:
    """A body from *start* that breaks at *breaks*."""

    def __init__(self, start: int = 0, stop: int | None = None, breaks: int | None = None) -> None:
        self.start = start
        self.stop = stop
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        end = SIZE if self.stop is None else self.stop
        for at in range(self.start, end, 3000):
            if self._breaks is not None and at >= self._breaks:
                raise Torn
            await asyncio.sleep(0)
            yield CONTENT[at : min(at + 3000, end)]


def whole(store: MemoryResource) -> bytes:
    buffer = bytearray(SIZE + 1)
    return bytes(buffer[: store.read_at(0, buffer)])


async def test_a_body_is_written_and_committed_and_progress_told() -> None:
    store = MemoryResource(SIZE)
    told: list[tuple[int, int | None]] = []
    assert SIZE == await Writer(store, Response(stop=SIZE)).run(lambda done, total: told.append((done, total)))
    assert CONTENT[:SIZE] == whole(store)
    assert "committed" == store.status
    assert [(3000 * count, SIZE) for count in range(1, 7)] + [(SIZE, SIZE)] == told


async def test_a_body_of_unknown_length_says_the_length_by_its_end() -> None:
    store = MemoryResource()
    await Writer(store, Response()).run()
    assert (SIZE, "committed") == (store.length, store.status)


async def test_what_came_before_a_break_stays_and_is_gone_on_from() -> None:
    store = MemoryResource(SIZE)
    writer = Writer(store, Response(breaks=9000))
    with pytest.raises(Torn):
        await writer.run()
    assert ("active", 9000) == (store.status, writer.missing)
    assert SIZE - 9000 == await Writer(store, Response(start=writer.missing)).run()
    assert CONTENT[:SIZE] == whole(store)
    assert "committed" == store.status


async def test_a_part_in_the_middle_commits_nothing() -> None:
    store = MemoryResource(SIZE)
    assert 1000 == await Writer(store, Response(start=5000, stop=6000)).run()
    assert [(5000, 6000)] == store.available_ranges()
    assert "active" == store.status


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (100, None), (100, 5000), (0, 0), (SIZE, None), (19_000, 99_999)]
)
async def test_a_reader_gives_the_range_as_it_arrives(start: int, stop: int | None) -> None:
    store = MemoryResource(SIZE)
    writing = asyncio.ensure_future(Writer(store, Response()).run())
    chunks = [chunk async for chunk in Reader(store, start, stop, chunk=700)]
    await writing
    assert CONTENT[:SIZE][start:stop] == b"".join(chunks)
    assert all(1 <= len(chunk) <= 700 for chunk in chunks)


async def test_a_reader_may_be_iterated_twice_at_once() -> None:
    store = MemoryResource(SIZE)
    await Writer(store, Response()).run()
    reader = Reader(store)
    first, second = aiter(reader), aiter(reader)
    assert await anext(first) == await anext(second)
    await first.aclose()  # type: ignore[attr-defined]
    await second.aclose()  # type: ignore[attr-defined]


async def test_a_reader_raises_what_the_store_failed_of() -> None:
    store = MemoryResource(SIZE)
    store.write_at(0, CONTENT[:500])
    store.fail(HttpStatus(status=410))
    chunks = aiter(Reader(store))
    assert CONTENT[:500] == await anext(chunks)
    with pytest.raises(HttpStatus):
        await anext(chunks)


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (5, 4)])
def test_what_is_no_range_is_refused(start: int, stop: int | None) -> None:
    with pytest.raises(ValueError, match="not a range"):
        Reader(MemoryResource(), start, stop)


async def test_a_real_answer_leaves_a_store_that_knows_its_end() -> None:
    store = MemoryResource()
    with Origin({"body": CONTENT[:SIZE]}) as origin:
        async with HttpClient() as client, client.stream(origin.url("body")) as answer:
            assert SIZE == await Writer(store, answer).run()
    assert ("committed", SIZE) == (store.status, store.length)
    assert CONTENT[:SIZE] == b"".join([chunk async for chunk in Reader(store)])
