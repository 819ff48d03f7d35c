"""Prefetching: the worker, its bound, its epochs, and a SyncReader over a user's source."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.leaks import no_leaks
from support.sources import CONTENT, SIZE, Gate, Torn, UserSource
from support.waiting import Background, eventually

from kithara.errors import Cancelled, Closed, InvalidSeek, SeekNotSupported, StreamError, WouldDeadlock, WriterGone
from kithara.media import MediaInfo
from kithara.portal import portal
from kithara.stream import PrefetchedItem, PrefetchWorker, SyncReader, SyncReaderParams, WaitOutcome

SMALL = SyncReaderParams(prefetch=4, chunk=1000)


def tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# Epochs.


async def test_a_seek_raises_the_epoch_and_stale_chunks_are_dropped() -> None:
    consumer = PrefetchWorker(UserSource(), capacity=4, chunk=1000).consumer()
    assert PrefetchedItem(CONTENT[:1000], 0) == await consumer.next()
    await turns(50)
    epoch = consumer.seek(100_000)
    assert 1 == epoch == consumer.epoch
    item = await consumer.next()
    assert (1, False) == (item.epoch, item.is_eof)
    assert CONTENT[100_000:].startswith(item.data)
    await consumer.close()


async def test_a_seek_moves_a_consumer_that_waits() -> None:
    gate = Gate(until=1000)
    consumer = PrefetchWorker(UserSource(pause=gate), capacity=4, chunk=1000).consumer()
    await consumer.next()
    waiting = asyncio.ensure_future(consumer.next())
    await gate.reached.wait()
    epoch = consumer.seek(10)
    item = await asyncio.wait_for(waiting, 5)
    assert epoch == item.epoch
    assert CONTENT[10:].startswith(item.data)
    await consumer.close()


async def test_the_end_is_an_empty_item_marked_so_with_its_epoch() -> None:
    consumer = PrefetchWorker(UserSource(content=b"abc"), capacity=4, chunk=1000).consumer()
    assert PrefetchedItem(b"abc", 0) == await consumer.next()
    assert PrefetchedItem(b"", 0, is_eof=True) == await consumer.next()
    assert PrefetchedItem(b"", 0, is_eof=True) == await consumer.next()
    assert 1 == consumer.seek(1)
    assert PrefetchedItem(b"bc", 1) == await consumer.next()
    assert PrefetchedItem(b"", 1, is_eof=True) == await consumer.next()
    await consumer.close()


async def test_an_error_is_the_readers_where_it_happened_and_a_seek_away_clears_it() -> None:
    error = Torn()
    consumer = PrefetchWorker(UserSource(fails_at=2500, error=error), capacity=8, chunk=1000).consumer()
    got = b""
    for _ in range(3):
        got += (await consumer.next()).data
    assert CONTENT[:2500] == got
    for _ in range(2):
        with pytest.raises(Torn) as caught:
            await consumer.next()
        assert error is caught.value
    consumer.seek(0)
    consumer.seek(100)
    assert CONTENT[100:].startswith((await consumer.next()).data)
    await consumer.close()


async def test_seeks_that_cannot_be_are_refused() -> None:
    consumer = PrefetchWorker(UserSource(supports_seek=False), capacity=4, chunk=1000).consumer()
    with pytest.raises(InvalidSeek):
        consumer.seek(-1)
    for _ in range(20):
        await consumer.next()
    with pytest.raises(SeekNotSupported):
        consumer.seek(0)
    await consumer.close()


# The bound.


async def test_memory_never_exceeds_the_bound() -> None:
    source = UserSource()
    worker = PrefetchWorker(source, capacity=4, chunk=1000)
    consumer = worker.consumer()
    taken = 0
    for _ in range(100):
        await turns(20)
        assert source.served - taken <= 4000
        assert worker.window.capacity == 4000
        taken += len((await consumer.next()).data)
    assert all(stop - start <= 1000 for start, stop in source.waited)
    await consumer.close()


async def test_the_first_bytes_after_a_seek_are_asked_in_small_pieces_that_grow() -> None:
    source = UserSource()
    consumer = PrefetchWorker(source, capacity=2, chunk=65536).consumer()
    for start in (0, 180_000):
        consumer.seek(start)
        await consumer.next()
        await turns(50)
        assert [16384, 32768, 65536] == [stop - first for first, stop in source.waited if first >= start][:3]
    await consumer.close()


def test_a_wait_for_all_that_fits_is_served_to_its_last_byte() -> None:
    with SyncReader(UserSource(), SMALL) as reader:
        assert CONTENT[:1000] == reader.read(1000)
        assert WaitOutcome.READY is reader.wait_range(1000, 4000, 5)
        assert WaitOutcome.READY is reader.wait_range(2500, 5500, 5)
        assert CONTENT[1000:6000] == reader.read(5000)


@pytest.mark.parametrize("options", [{"capacity": 0}, {"chunk": 0}, {"capacity": -1}])
def test_a_worker_without_room_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PrefetchWorker(UserSource(), **options)


# Its end.


async def test_the_worker_ends_when_its_consumer_is_dropped() -> None:
    gate = Gate()
    consumer = PrefetchWorker(UserSource(pause=gate), capacity=4, chunk=1000).consumer()
    await gate.reached.wait()
    assert tasks()
    del consumer
    gc.collect()
    await turns()
    assert set() == tasks()
    assert 1 == gate.cancelled


async def test_closing_the_consumer_waits_for_the_worker() -> None:
    consumer = PrefetchWorker(UserSource(pause=Gate()), capacity=4, chunk=1000).consumer()
    waiting = asyncio.ensure_future(consumer.next())
    await turns()
    await consumer.close()
    assert set() == tasks() - {waiting}
    with pytest.raises(Closed):
        await waiting


def test_the_end_of_the_sources_loop_ends_a_read_in_another_thread(liveness: Callable[[float], float]) -> None:
    async def main() -> tuple[SyncReader, Background]:
        reader = SyncReader(UserSource(pause=Gate()), SMALL)
        reading = Background(lambda: reader.read(10))
        await asyncio.to_thread(eventually, lambda: any(want[2] == 0 for want in reader.store.wanted()))
        return reader, reading

    reader, reading = asyncio.run(main())
    with reader, pytest.raises(WriterGone):
        reading.result(liveness(1))


def test_a_loop_that_is_closed_without_a_word_ends_a_read_too(liveness: Callable[[float], float]) -> None:
    loop = asyncio.new_event_loop()

    async def main() -> tuple[SyncReader, Background]:
        reader = SyncReader(UserSource(pause=Gate()), SMALL)
        reading = Background(lambda: reader.read(10))
        await asyncio.to_thread(eventually, lambda: any(want[2] == 0 for want in reader.store.wanted()))
        return reader, reading

    reader, reading = loop.run_until_complete(main())
    left = asyncio.all_tasks(loop)
    loop.close()
    closed = time.monotonic()
    with reader, pytest.raises(WriterGone):
        reading.result(5)
    assert reading.ended is not None
    assert reading.ended - closed < liveness(1.5)
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # this loop was closed on purpose


# What a source does wrong.


class Odd(UserSource):
    """Breaks the contract in the way named."""

    odd: Any = None

    async def wait_range(self, start: int, stop: int) -> WaitOutcome:
        if self.odd == "outcome":
            return "ready"  # type: ignore[return-value]
        if self.odd == "cancel":
            raise asyncio.CancelledError
        if self.odd == "interrupted" and len(self.waited) < 5:
            self.waited.append((start, stop))
            return WaitOutcome.INTERRUPTED
        return await super().wait_range(start, stop)

    async def read_at(self, offset: int, size: int) -> bytes:
        if self.odd == "nothing":
            return b""
        data = await super().read_at(offset, size)
        return data + b"and more than was asked" * 1000 if self.odd == "more" else data


@pytest.mark.parametrize(
    ("odd", "message"),
    [("nothing", "gave 0 bytes"), ("more", "1 to 1000 were due"), ("outcome", "no WaitOutcome")],
)
def test_a_source_that_breaks_the_contract_is_told_so(odd: str, message: str) -> None:
    source = Odd()
    source.odd = odd
    with SyncReader(source, SMALL) as reader, pytest.raises(StreamError, match=message):
        reader.read(10)


def test_a_source_that_cancels_its_own_call_is_an_error() -> None:
    source = Odd()
    source.odd = "cancel"
    with SyncReader(source, SMALL) as reader, pytest.raises(Cancelled):
        reader.read(10)


def test_an_interrupted_wait_is_asked_again() -> None:
    source = Odd()
    source.odd = "interrupted"
    with SyncReader(source, SMALL) as reader:
        assert CONTENT[:10] == reader.read(10)


def test_a_source_that_ends_before_its_length_is_an_error_not_an_end() -> None:
    class Liar(UserSource):
        @property
        def length(self) -> int:
            return SIZE + 10

    with SyncReader(Liar(), SMALL) as reader:
        reader.seek(SIZE - 5)
        with pytest.raises(StreamError, match="short of its length"):
            reader.read(10)


@pytest.mark.parametrize("wrong", [object(), 5, "text"])
def test_what_is_no_source_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="neither a store nor a source"):
        SyncReader(wrong)


# SyncReader over a user's source, without a loop of one's own.


def test_a_source_is_driven_where_no_loop_runs() -> None:
    source = UserSource(media=MediaInfo(codec="mp3"))
    with SyncReader(source, SMALL) as reader:
        assert (SIZE, "mp3") == (reader.length, reader.media and reader.media.codec)
        assert CONTENT[:5000] == reader.read(5000)
        assert SIZE - 100 == reader.seek(-100, 2)
        assert CONTENT[-100:] == reader.read()


def test_a_length_that_becomes_known_is_passed_on() -> None:
    source = UserSource(known=False)
    with SyncReader(source, SMALL) as reader:
        assert reader.length is None
        source.known = True
        assert CONTENT[:50_000] == reader.read(50_000)
        assert SIZE == reader.length
        assert reader.seekable()


def test_two_readers_of_one_source_have_windows_of_their_own() -> None:
    source = UserSource()
    with SyncReader(source, SMALL) as first:
        assert CONTENT[:10] == first.read(10)
        with first.duplicate() as second:
            assert CONTENT[:10] == second.read(10)
            assert CONTENT[10:20] == first.read(10)


def test_a_read_does_no_work_of_the_source_in_its_own_thread() -> None:
    callers: set[int] = set()

    class Watched(UserSource):
        async def wait_range(self, start: int, stop: int) -> WaitOutcome:
            callers.add(threading.get_ident())
            return await super().wait_range(start, stop)

        async def read_at(self, offset: int, size: int) -> bytes:
            callers.add(threading.get_ident())
            return await super().read_at(offset, size)

    with SyncReader(Watched(), SMALL) as reader:
        reader.read(50_000)
        reader.seek(200_000)
        reader.read(1000)
    assert 1 == len(callers)
    assert threading.get_ident() not in callers


def test_a_non_blocking_read_never_waits_even_for_a_source_that_hangs() -> None:
    hasty = SyncReaderParams(prefetch=4, chunk=1000, blocking=False)
    with SyncReader(UserSource(pause=Gate()), hasty) as reader:
        for position in (0, 5, 100_000):
            reader.seek(position)
            assert reader.read(10) is None
            assert position == reader.tell()


async def test_a_non_blocking_reader_may_be_used_on_the_sources_loop() -> None:
    with SyncReader(UserSource(), SyncReaderParams(prefetch=4, chunk=1000, blocking=False)) as reader:
        assert reader.read(10) is None
        await turns(50)
        assert CONTENT[:10] == reader.read(10)


async def test_a_blocking_reader_on_the_sources_loop_is_told_that_it_would_hang() -> None:
    with SyncReader(UserSource(), SMALL) as reader:
        with pytest.raises(WouldDeadlock):
            reader.read(10)
        assert CONTENT[:10] == await asyncio.to_thread(lambda: reader.read(10))


def test_closing_the_reader_ends_its_worker() -> None:
    source = UserSource()
    with SyncReader(source, SMALL) as reader:
        reader.read(10)
        held = reader.store
    eventually(lambda: held.status == "failed")
    asked = len(source.waited)
    threading.Event().wait(0.02)
    assert asked == len(source.waited)


def test_readers_by_the_hundred_leave_nothing_behind() -> None:
    async def running() -> int:
        return sum("PrefetchWorker" in repr(task) for task in asyncio.all_tasks())

    with SyncReader(UserSource(), SMALL) as reader:  # the portal is up from here on
        reader.read(1)
    with no_leaks():
        for _ in range(300):
            with SyncReader(UserSource(), SMALL) as reader:
                assert CONTENT[:10] == reader.read(10)
        eventually(lambda: portal().run(running()) == 0)


def test_ten_thousand_random_seeks_give_every_byte_right_in_flat_memory() -> None:
    chance = random.Random(70)
    source = UserSource()
    with SyncReader(source, SyncReaderParams(prefetch=4, chunk=4096)) as reader:
        reader.read(1)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(10_000):
            position, size = chance.randrange(SIZE), chance.randrange(200)
            reader.seek(position)
            assert CONTENT[position : position + size] == reader.read(size)
            source.waited.clear()
        gc.collect()
        assert sys.getallocatedblocks() - before < 500, "blocks that are there more than at the first read"
