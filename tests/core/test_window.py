"""A window: one epoch at a time, back-pressure by demand, errors where they happened, no byte of another place."""

from __future__ import annotations

import random
import threading

import pytest
from support.waiting import Background, eventually, liveness

from kithara._core.reader import SyncReader
from kithara._core.window import Window
from kithara.errors import Busy, Cancelled, SeekNotSupported, StreamError, WaitTimeout, WriterGone
from kithara.source import WaitOutcome

CONTENT = random.Random(2).randbytes(20_000)


class Producer(threading.Thread):
    """Feeds a window from CONTENT, wherever it claims to be, in pieces of random sizes."""

    def __init__(self, window: Window, *, seed: int = 0, look_ahead: int = 1 << 20) -> None:
        super().__init__(name="test-producer", daemon=True)
        self.window = window
        self.chance = random.Random(seed)
        self.told = threading.Event()
        self.over = False
        self.most = 0
        self.puts: list[tuple[int, int]] = []
        window.produce(self.told.set, look_ahead=look_ahead)
        self.start()

    def run(self) -> None:
        while not self.over:
            epoch, offset, room = self.window.claim()
            if offset >= len(CONTENT) and room:
                self.window.finish(epoch)
                room = 0
            if not room:
                self.told.wait()
                self.told.clear()
                continue
            size = self.chance.randrange(1, 700)
            self.window.put(epoch, offset, CONTENT[offset : offset + size])
            self.puts.append((epoch, offset))

    def stop(self) -> None:
        self.over = True
        self.told.set()
        self.join(liveness(5))
        assert not self.is_alive()


def put(window: Window, offset: int, data: bytes) -> int:
    return window.put(window.epoch, offset, data)


def test_it_takes_as_much_as_there_is_room_for() -> None:
    window = Window(100)
    assert (0, 0, 100) == window.claim()
    assert 60 == put(window, 0, CONTENT[:60])
    assert 40 == put(window, 60, CONTENT[60:160])
    assert 0 == put(window, 100, CONTENT[100:160])
    assert (0, 100, 0) == window.claim()
    assert [(0, 100)] == window.available_ranges()


def test_bytes_for_another_place_or_epoch_are_not_taken() -> None:
    window = Window(100)
    assert 0 == window.put(0, 5, b"x")
    assert 0 == window.put(1, 0, b"x")
    assert 0 == window.put(-1, 0, b"x")
    assert [] == window.available_ranges()
    assert not window.finish(1)
    assert not window.fail(KeyError(), 1)
    assert "active" == window.status


def test_reading_makes_room_and_tells_the_producer() -> None:
    window = Window(1000)
    told = threading.Event()
    window.produce(told.set, look_ahead=1000)
    with SyncReader(window) as reader:
        assert 1000 == put(window, 0, CONTENT[:1000])
        window.claim()
        assert CONTENT[:400] == reader.read(400)
        assert not told.is_set(), "more than half of what should be ahead is here"
        assert CONTENT[400:900] == reader.read(500)
        assert told.is_set()
        epoch, offset, room = window.claim()
        assert (0, 1000, 650) == (epoch, offset, room)  # a quarter, 250 bytes, stays behind the reader at 900
        assert 650 == put(window, 1000, CONTENT[1000:2000])
        assert [(650, 1650)] == window.available_ranges()


def test_a_step_back_within_the_window_needs_nobody() -> None:
    window = Window(1000)
    with SyncReader(window) as reader:
        put(window, 0, CONTENT[:1000])
        reader.read(800)
        put(window, 1000, CONTENT[1000:1500])
        reader.seek(700)
        assert CONTENT[700:1500] == reader.read(800)
        assert 0 == window.epoch


def test_a_seek_opens_a_new_epoch_only_when_somebody_reads_there() -> None:
    window = Window(1000)
    told = threading.Event()
    window.produce(told.set, look_ahead=1000)
    with SyncReader(window) as reader:
        put(window, 0, CONTENT[:1000])
        reader.seek(15_000)
        assert 0 == window.epoch
        background = Background(lambda: reader.read(10))
        assert told.wait(10)
        epoch, offset, room = window.claim()
        assert (1, 15_000, 1000) == (epoch, offset, room)
        assert [] == window.available_ranges()
        window.put(1, 15_000, CONTENT[15_000:15_100])
        assert CONTENT[15_000:15_010] == background.result()


def test_bytes_of_a_stale_epoch_are_dropped_even_in_mid_put() -> None:
    window = Window(1000)
    window.produce(lambda: None, look_ahead=1000)
    put(window, 0, CONTENT[:10])
    with pytest.raises(WaitTimeout):
        window.wait_range(5000, 5001, 0)
    assert 1 == window.epoch
    assert 0 == window.put(0, 10, CONTENT[10:20])
    assert 0 == window.put(0, 5000, CONTENT[10:20])
    assert [] == window.available_ranges()


def test_the_end_belongs_to_its_epoch() -> None:
    window = Window(1000)
    window.produce(lambda: None, look_ahead=1000)
    put(window, 0, CONTENT[:300])
    assert window.finish(0)
    assert ("committed", 300) == (window.status, window.length)
    assert WaitOutcome.EOF is window.wait_range(300, 301, 0)
    assert WaitOutcome.READY is window.wait_range(290, 310, 0)
    with SyncReader(window) as reader:
        reader.read(300)
        reader.seek(0)
        assert CONTENT[:10] == reader.read(10)


def test_an_error_is_raised_when_the_reader_arrives_there_and_a_seek_away_clears_it() -> None:
    window = Window(1000)
    told = threading.Event()
    window.produce(told.set, look_ahead=1000)
    error = KeyError("torn")
    with SyncReader(window) as reader:
        put(window, 0, CONTENT[:300])
        assert window.fail(error, 0)
        assert "failed" == window.status
        assert CONTENT[:200] == reader.read(200)
        with pytest.raises(KeyError) as caught:
            reader.read(200)
        assert error is caught.value
        assert 200 == reader.tell()
        assert CONTENT[200:300] == reader.read1(200)
        reader.seek(9000)
        background = Background(lambda: reader.read(5))
        eventually(lambda: window.epoch == 1)
        assert "active" == window.status
        window.put(1, 9000, CONTENT[9000:9100])
        assert CONTENT[9000:9005] == background.result()


def test_a_failure_without_an_epoch_is_for_good() -> None:
    window = Window(1000)
    window.produce(lambda: None, look_ahead=1000)
    put(window, 0, CONTENT[:300])
    assert window.fail(WriterGone("gone"))
    assert not window.fail(WriterGone("again"))
    with SyncReader(window) as reader:
        assert CONTENT[:300] == reader.read1(400)
        for position in (300, 5000):
            reader.seek(position)
            with pytest.raises(WriterGone):
                reader.read(1)


def test_cancelling_is_for_good() -> None:
    window = Window(1000)
    window.produce(lambda: None, look_ahead=1000)
    window.cancel()
    for position in (0, 5000):
        with pytest.raises(Cancelled):
            window.wait_range(position, position + 1)
    assert "cancelled" == window.status


def test_a_source_that_ends_short_of_its_length_has_failed() -> None:
    window = Window(1000, length=500)
    put(window, 0, CONTENT[:300])
    assert window.finish(0)
    with SyncReader(window) as reader, pytest.raises(StreamError, match="ended at 300, short of its length 500"):
        reader.read()


def test_bytes_beyond_a_known_length_are_never_read() -> None:
    window = Window(1000, length=500)
    put(window, 0, CONTENT[:600])
    with SyncReader(window) as reader:
        assert CONTENT[:500] == reader.read()


def test_a_wait_for_more_than_it_holds_is_clipped() -> None:
    window = Window(1000)
    producer = Producer(window)
    try:
        assert WaitOutcome.READY is window.wait_range(0, 15_000, 10)
        assert WaitOutcome.READY is window.wait_range(3000, 18_000, 10)
    finally:
        producer.stop()


def test_a_read_of_more_than_it_holds_gets_it_all() -> None:
    window = Window(512)
    producer = Producer(window)
    try:
        with SyncReader(window) as reader:
            assert CONTENT[:15_000] == reader.read(15_000)
            assert CONTENT[15_000:] == reader.read()
            assert b"" == reader.read(1)
    finally:
        producer.stop()


@pytest.mark.parametrize("capacity", [1, 2, 3, 7])
def test_the_smallest_rings_carry_everything(capacity: int) -> None:
    window = Window(capacity)
    producer = Producer(window)
    try:
        with SyncReader(window) as reader:
            assert CONTENT[:500] == reader.read(500)
    finally:
        producer.stop()


def test_it_feeds_one_reader() -> None:
    window = Window(1000)
    with SyncReader(window), pytest.raises(Busy, match="feeds one reader"):
        SyncReader(window)
    SyncReader(window).close()


class TestForwardOnly:
    """A window over a source that cannot go back."""

    def test_a_seek_behind_it_is_refused_and_moves_nothing(self) -> None:
        window = Window(1000, forward_only=True)
        with SyncReader(window) as reader:
            for start in range(0, 3000, 500):
                assert 500 == put(window, start, CONTENT[start : start + 500])
                reader.read(500)
            [(tail, _)] = window.available_ranges()
            assert tail > 0
            with pytest.raises(SeekNotSupported):
                reader.seek(tail - 1)
            assert 3000 == reader.tell()
            assert tail == reader.seek(tail)
            assert CONTENT[tail:3000] == reader.read(3000 - tail)
            assert not reader.seekable()

    def test_a_forward_seek_reads_through(self) -> None:
        window = Window(1000, forward_only=True)
        producer = Producer(window)
        try:
            with SyncReader(window) as reader:
                reader.seek(9000)
                assert CONTENT[9000:9100] == reader.read(100)
                assert 0 == window.epoch
                reader.seek(19_990)
                assert CONTENT[19_990:] == reader.read()
        finally:
            producer.stop()

    def test_a_wait_behind_it_cannot_come(self) -> None:
        window = Window(100, forward_only=True)
        with SyncReader(window) as reader:
            put(window, 0, CONTENT[:100])
            reader.read(100)
            put(window, 100, CONTENT[100:150])
            with pytest.raises(SeekNotSupported):
                window.wait_range(0, 1)

    def test_a_failure_is_met_where_it_happened_by_whoever_seeks_beyond(self) -> None:
        window = Window(1000, forward_only=True)
        put(window, 0, CONTENT[:300])
        window.fail(KeyError(), 0)
        with SyncReader(window) as reader:
            reader.seek(5000)
            with pytest.raises(KeyError):
                reader.read(1)


@pytest.mark.parametrize("seed", range(6))
def test_random_seeks_and_reads_give_the_bytes_of_their_place(seed: int) -> None:
    chance = random.Random(seed)
    window = Window(chance.choice([64, 1000, 4096]))
    producer = Producer(window, seed=seed)
    try:
        with SyncReader(window) as reader:
            for _ in range(400):
                if chance.random() < 0.5:
                    reader.seek(chance.randrange(len(CONTENT) + 100))
                position, size = reader.tell(), chance.randrange(300)
                assert CONTENT[position : position + size] == reader.read(size)
    finally:
        producer.stop()
    assert window.epoch > 10


def test_seeks_of_another_thread_never_mix_places() -> None:
    window = Window(600)
    producer = Producer(window)
    chance = random.Random(9)
    numbered = {CONTENT[start : start + 8]: start for start in range(len(CONTENT) - 7)}
    stop = threading.Event()
    try:
        with SyncReader(window) as reader:

            def seek_about() -> None:
                while not stop.is_set():
                    reader.seek(chance.randrange(len(CONTENT) - 1000))

            seeker = Background(seek_about)
            for _ in range(300):
                data = reader.read(200)
                if len(data) < 8:  # read on to the end, while nobody sought
                    reader.seek(0)
                    continue
                start = numbered[data[:8]]
                assert CONTENT[start : start + 200] == data
            stop.set()
            seeker.result()
    finally:
        stop.set()
        producer.stop()


def test_what_cannot_be_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity=0"):
        Window(0)
    with pytest.raises(ValueError, match="negative length"):
        Window(10, length=-1)
    with pytest.raises(TypeError, match="fail"):
        Window(10).fail("text")  # type: ignore[arg-type]
