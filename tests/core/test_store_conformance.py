"""The contract of a Store, held by every kind of store."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable

import pytest
from support.stores import KINDS, Feed, filled
from support.waiting import Background, eventually

from kithara._core.store import Store
from kithara.errors import Cancelled, Closed, HttpStatus, WaitTimeout
from kithara.source import WaitOutcome

CONTENT = random.Random(7).randbytes(3000)
SIZE = len(CONTENT)

pytestmark = pytest.mark.parametrize("kind", KINDS)
Liveness = Callable[[float], float]


def feed(kind: str, *, known: bool = True) -> Feed:
    return Feed(kind, SIZE if known else None, SIZE)


def read(store: Store, offset: int, size: int) -> bytes:
    into = bytearray(size)
    return bytes(into[: store.read_at(offset, into)])


def waiting(store: Store, start: int, stop: int) -> Background:
    """A thread in `wait_range`, seen to wait."""
    background = Background(lambda: store.wait_range(start, stop))
    assert not background.done
    return background


def test_a_wait_for_what_is_here_is_ready_at_once(kind: str) -> None:
    store = filled(kind, CONTENT).store
    assert WaitOutcome.READY is store.wait_range(0, SIZE, 0)
    assert WaitOutcome.READY is store.wait_range(100, 2500, 0)


def test_an_empty_range_is_ready_wherever_it_lies(kind: str) -> None:
    store = feed(kind).store
    for position in (0, 10, SIZE, SIZE + 10):
        assert WaitOutcome.READY is store.wait_range(position, position, 0)


def test_a_wait_at_or_past_a_known_length_is_the_end_before_any_byte_is_here(kind: str) -> None:
    store = feed(kind).store
    assert WaitOutcome.EOF is store.wait_range(SIZE, SIZE + 1, 0)
    assert WaitOutcome.EOF is store.wait_range(SIZE + 1000, SIZE + 2000, 0)


def test_a_wait_past_a_known_length_is_clipped_to_it(kind: str) -> None:
    store = filled(kind, CONTENT).store
    assert WaitOutcome.READY is store.wait_range(SIZE - 1, SIZE + 1000, 0)


def test_the_end_is_not_told_while_the_length_is_unknown(kind: str) -> None:
    made = feed(kind, known=False)
    made.write(CONTENT[:-1])
    assert made.store.length is None
    with pytest.raises(WaitTimeout):
        made.store.wait_range(SIZE, SIZE + 1, 0.01)
    made.write(CONTENT[-1:])
    made.end()
    assert SIZE == made.store.length
    assert WaitOutcome.EOF is made.store.wait_range(SIZE, SIZE + 1, 0)


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (5, 4), (-5, -1)])
def test_what_is_no_range_is_refused(kind: str, start: int, stop: int) -> None:
    store = feed(kind).store
    for method in (store.wait_range, store.contains_range, store.next_gap):
        with pytest.raises(ValueError, match="not a range"):
            method(start, stop)


def test_a_wait_that_takes_too_long_raises_a_timeout(kind: str) -> None:
    store = feed(kind).store
    with pytest.raises(WaitTimeout) as caught:
        store.wait_range(0, 1, 0.01)
    assert isinstance(caught.value, TimeoutError)
    assert (0, 1) == caught.value.range


def test_a_wait_ends_when_its_last_byte_comes(kind: str) -> None:
    made = feed(kind)
    background = waiting(made.store, 10, 2000)
    made.write(CONTENT[:1999])
    with pytest.raises(WaitTimeout):
        made.store.wait_range(10, 2000, 0.02)
    assert not background.done
    made.write(CONTENT[1999:2000])
    assert WaitOutcome.READY is background.result()


def test_bytes_read_are_bytes_written(kind: str) -> None:
    store = filled(kind, CONTENT).store
    chance = random.Random(1)
    for _ in range(200):
        offset, size = chance.randrange(SIZE), chance.randrange(1, 400)
        assert CONTENT[offset : offset + size] == read(store, offset, size)


def test_a_read_of_what_is_partly_here_gives_that_part(kind: str) -> None:
    made = feed(kind)
    made.write(CONTENT[:700])
    assert CONTENT[600:700] == read(made.store, 600, 500)
    assert b"" == read(made.store, 700, 500)
    assert b"" == read(made.store, SIZE + 5, 500)


def test_a_read_into_nothing_is_nothing(kind: str) -> None:
    assert 0 == filled(kind, CONTENT).store.read_at(0, bytearray())


@pytest.mark.parametrize("offset", [-1, 2**63 - 1])
def test_a_read_where_no_file_reaches_is_refused(kind: str, offset: int) -> None:
    with pytest.raises(ValueError, match="not an offset"):
        feed(kind).store.read_at(offset, bytearray(10))


def test_what_is_here_is_told_as_ranges_and_gaps(kind: str) -> None:
    made = feed(kind)
    assert not made.store.contains_range(0, 1)
    assert (0, 100) == made.store.next_gap(0, 100)
    made.write(CONTENT[:1500])
    made.store.wait_range(0, 1500, 5)
    assert made.store.contains_range(0, 1500)
    assert not made.store.contains_range(0, 1501)
    assert 1500 == made.store.covered_until(3)
    assert [(0, 1500)] == made.store.available_ranges()  # type: ignore[attr-defined]
    assert made.store.next_gap(0, 1500) is None


def test_a_failure_reaches_every_waiter_and_leaves_what_is_here(kind: str) -> None:
    made = feed(kind)
    made.write(CONTENT[:100])
    waiters = [waiting(made.store, 100, 101) for _ in range(3)]
    made.fail(HttpStatus(status=404, url="http://host/a?token=1"))
    causes = []
    for waiter in waiters:
        with pytest.raises(HttpStatus) as caught:
            waiter.result()
        causes.append(caught.value)
    own = 1 if kind == "window" else 3  # a window has one reader, so the error itself will do
    assert own == len({id(cause) for cause in causes}), "each waiter gets an exception of its own"
    assert "failed" == made.store.status
    assert CONTENT[:100] == read(made.store, 0, 200)


def test_a_foreign_failure_is_raised_itself(kind: str) -> None:
    made = feed(kind)
    error = KeyError("mine")
    background = waiting(made.store, 0, 1)
    made.fail(error)
    with pytest.raises(KeyError) as caught:
        background.result()
    assert error is caught.value


def test_a_cancellation_reaches_every_waiter(kind: str, liveness: Liveness) -> None:
    made = feed(kind)
    background = waiting(made.store, 0, 1)
    made.cancel()
    with pytest.raises(Cancelled):
        background.result()
    assert background.seconds < liveness(5)
    assert "cancelled" == made.store.status


def test_closing_ends_waits_and_every_later_use(kind: str) -> None:
    made = feed(kind)
    background = waiting(made.store, 0, 1)
    made.close()
    with pytest.raises(Closed):
        background.result()
    with pytest.raises(Closed):
        made.store.wait_range(0, 1)
    with pytest.raises(Closed):
        made.store.read_at(0, bytearray(1))
    assert made.store.closed


def test_a_wait_tells_the_producer_what_is_wanted(kind: str) -> None:
    made = feed(kind)
    told = threading.Event()
    first, *_ = made.producers
    first.produce(told.set, look_ahead=100)
    background = waiting(made.store, 0, 50)
    assert told.wait(10)
    start, stop, need = first.wanted()[0]
    assert (0, 0) == (start, need)
    assert stop >= 50
    made.write(CONTENT[:50])
    assert WaitOutcome.READY is background.result()
    assert [] == [want for want in first.wanted() if want[2] == 0 and want[0] < 50]


def test_a_callback_comes_once_when_its_range_is_here(kind: str) -> None:
    made = feed(kind)
    calls: list[str] = []
    made.store.when(0, 2500, lambda: calls.append("all"))
    forgotten = made.store.when(0, 2500, lambda: calls.append("forgotten"))
    made.store.forget(forgotten)
    for start in range(0, SIZE, 500):
        assert [] == calls or start >= 2500
        made.write(CONTENT[start : start + 500])
    assert ["all"] == calls


def test_a_callback_comes_at_once_when_its_range_is_here_already(kind: str) -> None:
    calls: list[int] = []
    filled(kind, CONTENT).store.when(0, SIZE, lambda: calls.append(1))
    assert [1] == calls


def test_a_callback_that_raises_harms_neither_the_writer_nor_the_others(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = feed(kind)
    shown: list[object] = []
    calls: list[int] = []

    def broken() -> None:
        raise LookupError

    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: shown.append(unraisable.exc_type))
    made.store.when(0, 10, broken)
    made.store.when(0, 10, lambda: calls.append(1))
    made.write(CONTENT[:10])
    assert [1] == calls
    assert [LookupError] == shown


@pytest.mark.parametrize("end", ["fail", "cancel", "close"])
def test_a_callback_comes_when_its_range_cannot_come(kind: str, end: str) -> None:
    made = feed(kind)
    calls: list[int] = []
    made.store.when(0, 1, lambda: calls.append(1))
    assert [] == calls
    if end == "fail":
        made.fail(KeyError())
    else:
        getattr(made, end)()
    assert [1] == calls


def test_status_and_length_tell_the_course_of_things(kind: str) -> None:
    made = feed(kind)
    assert ("active", SIZE) == (made.store.status, made.store.length)
    made.store.wait_range(0, 0)
    made.write(CONTENT)
    made.end()
    made.store.wait_range(0, SIZE, 5)
    assert ("committed", SIZE) == (made.store.status, made.store.length)


def test_a_hundred_waits_for_random_ranges_end(kind: str) -> None:
    made = feed(kind)
    chance = random.Random(3)
    waits: list[Background] = []
    for _ in range(100):
        start, stop = sorted(chance.randrange(SIZE) for _ in range(2))
        waits.append(Background(lambda start=start, stop=stop: made.store.wait_range(start, stop)))
    for start in range(0, SIZE, 61):
        made.write(CONTENT[start : start + 61])
    assert {WaitOutcome.READY} == {wait.result() for wait in waits}
    eventually(lambda: all(wait.done for wait in waits))
