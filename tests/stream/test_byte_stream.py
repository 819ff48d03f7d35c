"""ByteStream: each invariant and checkbox of the orchestration contract, one test each."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from support.sources import CONTENT, SIZE, Gate, Torn, UserSource

from kithara import FileSource
from kithara._core.memory_resource import MemoryResource
from kithara.errors import ChannelClosed, HttpStatus, InvalidSeek, SeekNotSupported
from kithara.events import EventBus
from kithara.stream import (
    ByteStream,
    Control,
    Data,
    Event,
    OpenedSource,
    SeekBytes,
    Stream,
    StreamParams,
    StreamSource,
    SyncReader,
)

SMALL = StreamParams(chunk=1000, buffer=4)


def tasks() -> set[asyncio.Task[Any]]:
    """The tasks of this loop but the test's own."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def turns(count: int = 10) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


# Stop is drop.


async def test_leaving_the_consumer_ends_the_task_before_the_block_is_left() -> None:
    source = UserSource(pause=Gate())
    async with ByteStream(source, SMALL) as stream:
        reading = asyncio.ensure_future(anext(stream))
        await turns()
        assert tasks() - {reading}
        reading.cancel()
    await asyncio.wait([reading])
    assert set() == tasks()


async def test_dropping_the_consumer_ends_the_task_within_a_few_turns_of_the_loop() -> None:
    gate = Gate()
    stream = ByteStream(UserSource(pause=gate), SMALL)
    handle = stream.handle()
    reading = asyncio.ensure_future(anext(stream))
    await gate.reached.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert tasks()
    gone = weakref.ref(stream)
    del stream, reading
    gc.collect()
    assert gone() is None, "neither its task nor a handle holds it"
    await turns()
    assert set() == tasks()
    assert 1 == gate.cancelled
    with pytest.raises(ChannelClosed):
        await handle.seek_bytes(0)


async def test_leaving_in_mid_stream_stops_asking_the_source() -> None:
    source = UserSource()
    async with ByteStream(source, SMALL) as stream:
        async for _ in stream:
            break
    asked = len(source.waited)
    await turns(50)
    assert asked == len(source.waited)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


# A handle is not needed.


async def test_bytes_flow_to_the_end_when_every_handle_is_gone() -> None:
    async with ByteStream(UserSource(), SMALL) as stream:
        handles = [stream.handle() for _ in range(3)]
        first = await anext(stream)
        del handles
        gc.collect()
        assert CONTENT == first + b"".join([chunk async for chunk in stream])


async def test_bytes_flow_to_the_end_without_any_handle() -> None:
    stream = ByteStream(UserSource(known=False), SMALL)
    assert CONTENT == b"".join([chunk async for chunk in stream])


# The end is the true one.


async def test_an_idle_source_is_not_an_end() -> None:
    gate = Gate(until=10_000)
    async with ByteStream(UserSource(pause=gate), SMALL) as stream:
        got = b""
        while len(got) < 10_000:
            got += await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await turns(100)
        assert not waiting.done()
        gate.open(SIZE)
        got += await waiting
        assert CONTENT == got + b"".join([chunk async for chunk in stream])


async def test_after_the_end_there_is_only_the_end() -> None:
    async with ByteStream(UserSource(content=b"short"), SMALL) as stream:
        assert [b"short"] == [chunk async for chunk in stream]
        for _ in range(3):
            with pytest.raises(StopAsyncIteration):
                await anext(stream)


async def test_an_empty_source_ends_at_once() -> None:
    async with ByteStream(UserSource(content=b"", known=False), SMALL) as stream:
        assert [] == [chunk async for chunk in stream]


# Back-pressure.


async def test_a_slow_consumer_slows_the_source_down() -> None:
    source = UserSource()
    async with ByteStream(source, SMALL) as stream:
        await anext(stream)
        await turns(500)
        assert source.served <= (SMALL.buffer + 1) * SMALL.chunk
        held = source.served
        for _ in range(3):
            await anext(stream)
        await turns(500)
        assert held < source.served <= held + (SMALL.buffer + 1) * SMALL.chunk


# SeekBytes.


@pytest.mark.parametrize("target", [0, 1, 150_000, SIZE - 1, SIZE])
async def test_after_a_seek_the_stream_goes_on_at_the_new_place(target: int) -> None:
    async with ByteStream(UserSource(), SMALL) as stream:
        handle = stream.handle()
        await anext(stream)
        await handle.seek_bytes(target)
        assert target == stream.position
        assert CONTENT[target:] == b"".join([chunk async for chunk in stream])


async def test_a_seek_moves_a_consumer_that_waits_at_the_old_place() -> None:
    gate = Gate(until=5000)
    async with ByteStream(UserSource(pause=gate), SMALL) as stream:
        got = b""
        while len(got) < 5000:
            got += await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await gate.reached.wait()
        await stream.handle().seek_bytes(100)
        assert CONTENT[100:].startswith(await asyncio.wait_for(waiting, 5))
        assert gate.cancelled >= 1, "the call that brought bytes for the old place was cancelled"


async def test_no_stale_chunk_comes_after_a_seek_returned() -> None:
    async with ByteStream(UserSource(), SMALL) as stream:
        handle = stream.handle()
        for step in range(300):
            target = step * 7919 % (SIZE - 5000)
            await handle.seek_bytes(target)
            chunk = await anext(stream)
            assert chunk == CONTENT[target : target + len(chunk)]


async def test_a_source_that_cannot_seek_says_so() -> None:
    async with ByteStream(UserSource(supports_seek=False), SMALL) as stream:
        first = await anext(stream)
        with pytest.raises(SeekNotSupported):
            await stream.handle().seek_bytes(0)
        assert CONTENT == first + b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize("target", [-1, SIZE + 1])
async def test_a_seek_outside_is_invalid_and_changes_nothing(target: int) -> None:
    async with ByteStream(UserSource(), SMALL) as stream:
        with pytest.raises(InvalidSeek):
            await stream.handle().seek_bytes(target)
        assert CONTENT == b"".join([chunk async for chunk in stream])


async def test_a_seek_after_the_end_finds_the_channel_closed() -> None:
    async with ByteStream(UserSource(content=b"short"), SMALL) as stream:
        handle = stream.handle()
        await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(ChannelClosed):
            await handle.seek_bytes(0)


async def test_a_seek_before_the_first_byte_decides_where_it_begins() -> None:
    source = UserSource()
    async with ByteStream(source, SMALL) as stream:
        await stream.handle().seek_bytes(200_000)
        assert CONTENT[200_000:].startswith(await anext(stream))


# Errors.


async def test_the_sources_own_error_comes_out_itself_once() -> None:
    error = Torn("mine")
    async with ByteStream(UserSource(fails_at=4500, error=error), SMALL) as stream:
        assert CONTENT[:4500] == b"".join([await anext(stream) for _ in range(5)]), "what came before it comes first"
        with pytest.raises(Torn) as caught:
            await anext(stream)
        assert error is caught.value
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(ChannelClosed):
            await stream.handle().seek_bytes(0)


async def test_an_error_of_our_own_kind_comes_out_itself_too() -> None:
    error = HttpStatus(status=503, url="http://host/song?token=secret")
    async with ByteStream(UserSource(fails_at=0, error=error), SMALL) as stream:
        with pytest.raises(HttpStatus) as caught:
            await anext(stream)
        assert error is caught.value


async def test_cancelling_one_wait_does_not_end_the_stream() -> None:
    gate = Gate()
    async with ByteStream(UserSource(pause=gate), SMALL) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await gate.reached.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.open(SIZE)
        assert CONTENT == b"".join([chunk async for chunk in stream])


# Parameters, sources over stores, messages.


async def test_offline_mode_reaches_the_source() -> None:
    source = UserSource()
    ByteStream(source, StreamParams(offline_mode=True))
    assert source.offline_mode is True


@pytest.mark.parametrize("options", [{"chunk": 0}, {"buffer": 0}])
def test_parameters_without_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        StreamParams(**options)  # type: ignore[arg-type]


async def test_a_source_over_a_store_is_read_from_there_without_a_task() -> None:
    store = MemoryResource(5000)
    async with ByteStream(FileSource(store, None), SMALL) as stream:
        store.write_at(0, CONTENT[:5000])
        assert CONTENT[:5000] == b"".join([chunk async for chunk in stream])
        assert set() == tasks()


async def test_with_events_it_tells_data_seeks_and_events_apart() -> None:
    bus = EventBus()
    gate = Gate(until=2000)
    opened = OpenedSource(UserSource(content=CONTENT[:3000], pause=gate), bus)
    seen: list[object] = []
    async with ByteStream(opened, SMALL, events=True) as stream:
        seen += [await anext(stream), await anext(stream)]
        bus.publish("between")
        seen.append(await anext(stream))
        waiting = asyncio.ensure_future(anext(stream))
        await gate.reached.wait()
        bus.publish("while waiting")
        seen.append(await waiting)
        await stream.handle().seek_bytes(1500)
        seen.append(await anext(stream))
        gate.open(3000)
        rest = [message async for message in stream]
    assert [
        Data(CONTENT[:1000]),
        Data(CONTENT[1000:2000]),
        Event("between"),
        Event("while waiting"),
        Control(SeekBytes(1500)),
    ] == seen
    assert CONTENT[1500:3000] == b"".join(message.data for message in rest if isinstance(message, Data))


async def test_dropping_a_consumer_that_waits_for_events_ends_that_too() -> None:
    gate = Gate()
    stream = ByteStream(OpenedSource(UserSource(pause=gate), EventBus()), SMALL, events=True)
    reading = asyncio.ensure_future(anext(stream))
    await gate.reached.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert tasks()
    del stream, reading
    gc.collect()
    await turns()
    assert set() == tasks()


async def test_a_bus_that_closes_leaves_the_bytes_flowing() -> None:
    bus = EventBus()
    gate = Gate(until=1000)
    async with ByteStream(
        OpenedSource(UserSource(content=CONTENT[:3000], pause=gate), bus), SMALL, events=True
    ) as stream:
        assert Data(CONTENT[:1000]) == await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await gate.reached.wait()
        bus.publish("last")
        bus.close()
        assert Event("last") == await waiting
        gate.open(3000)
        assert CONTENT[1000:3000] == b"".join([message.data async for message in stream if isinstance(message, Data)])


async def test_a_seek_while_waiting_is_told_before_the_bytes_of_the_new_place() -> None:
    gate = Gate(until=1000)
    async with ByteStream(UserSource(pause=gate), SMALL, events=True) as stream:
        assert Data(CONTENT[:1000]) == await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await gate.reached.wait()
        await stream.handle().seek_bytes(10)
        assert Control(SeekBytes(10)) == await waiting
        message = await anext(stream)
        assert isinstance(message, Data)
        assert CONTENT[10:].startswith(message.data)


async def test_a_stream_source_brings_its_events_along() -> None:
    bus = EventBus()
    source = StreamSource(OpenedSource(UserSource(content=b"abc"), bus))
    async with ByteStream(source, SMALL, events=True) as stream:
        bus.publish("hello")
        assert [Event("hello"), Data(b"abc")] == [message async for message in stream]


async def test_a_reader_reads_beside_a_running_stream() -> None:
    async with ByteStream(UserSource(), SMALL) as stream:
        first = await anext(stream)
        with SyncReader(stream.source) as reader:
            assert CONTENT[:50_000] == await asyncio.to_thread(lambda: reader.read(50_000))
        assert CONTENT == first + b"".join([chunk async for chunk in stream])


def test_stream_is_the_seeds_name_for_it() -> None:
    assert Stream is ByteStream
