"""A chain: parts open when a demand reaches them, close behind the readers, and each producer hears its own demands."""

from __future__ import annotations

import gc
import io
import itertools
import random
import threading
import weakref

import pytest
from support.waiting import Background, eventually

from kithara._core.chain import Chain
from kithara._core.memory_resource import MemoryResource
from kithara._core.parts import Part
from kithara._core.reader import SyncReader
from kithara._core.store import Store
from kithara._core.window import Window
from kithara.errors import Busy, Closed, HttpStatus, StreamError, UnknownLength, WaitTimeout, WouldDeadlock
from kithara.source import WaitOutcome

CONTENT = random.Random(4).randbytes(10_000)


def whole(start: int, stop: int) -> MemoryResource:
    """A committed store of CONTENT[start:stop]."""
    store = MemoryResource(stop - start)
    store.write_at(0, CONTENT[start:stop])
    store.commit()
    return store


class Shelf:
    """Promises of parts of CONTENT, and what became of them."""

    def __init__(self, *edges: int, known: bool = True, filled: bool = True) -> None:
        self.spans = list(itertools.pairwise(edges))
        self.known = known
        self.filled = filled
        self.opened: list[int] = []
        self.closed: list[int] = []
        self.stores: dict[int, weakref.ref[MemoryResource]] = {}
        self.keep: dict[int, MemoryResource] = {}

    def chain(self) -> Chain:
        return Chain(
            [self._part(number, start, stop) for number, (start, stop) in enumerate(self.spans)], look_ahead=100
        )

    def _part(self, number: int, start: int, stop: int) -> Part:
        def promise() -> MemoryResource:
            self.opened.append(number)
            store = whole(start, stop) if self.filled else self.keep.setdefault(number, MemoryResource())
            self.stores[number] = weakref.ref(store)
            return store

        return Part(promise, stop - start if self.known else None, close=lambda store: self.closed.append(number))

    @property
    def alive(self) -> list[int]:
        gc.collect()
        return [number for number, store in self.stores.items() if store() is not None]


def test_parts_read_as_one_file() -> None:
    shelf = Shelf(0, 1, 1, 500, 5000, 5003, 10_000)  # one of them is empty
    file = io.BytesIO(CONTENT)
    chance = random.Random(1)
    with shelf.chain() as chain, SyncReader(chain) as reader:
        assert 10_000 == reader.length
        for _ in range(300):
            position, size = chance.randrange(10_100), chance.randrange(6000)
            file.seek(position)
            reader.seek(position)
            assert file.read(size) == reader.read(size)


def test_nothing_opens_before_a_demand_reaches_it() -> None:
    shelf = Shelf(0, 1000, 2000, 3000)
    with shelf.chain() as chain, SyncReader(chain) as reader:
        reader.seek(2500)
        assert [] == shelf.opened
        assert CONTENT[2500:2510] == reader.read(10)
        assert [2] == shelf.opened


def test_the_next_part_opens_before_the_reader_is_there_and_the_last_closes_behind_it() -> None:
    shelf = Shelf(0, 1000, 2000, 3000, 4000)
    with shelf.chain() as chain, SyncReader(chain) as reader:
        reader.read(900)
        assert [0] == chain.opened
        reader.read(60)  # within half the look-ahead of the end
        assert [0, 1] == chain.opened
        reader.read(1000)
        assert [0, 1, 2] == shelf.opened
        assert [0] == shelf.closed
        assert [1, 2] == chain.opened == shelf.alive
        reader.read()
        assert [0, 1, 2, 3] == shelf.opened
    assert [0, 1, 2, 3] == sorted(shelf.closed)
    assert [] == shelf.alive


def test_a_part_that_was_left_opens_again() -> None:
    shelf = Shelf(0, 1000, 2000, 3000)
    with shelf.chain() as chain, SyncReader(chain) as reader:
        reader.read()
        assert 0 in shelf.closed
        reader.seek(10)
        assert CONTENT[10:20] == reader.read(10)
        assert 2 == shelf.opened.count(0)


def test_what_one_reader_is_in_stays_open_for_it() -> None:
    shelf = Shelf(0, 1000, 2000, 3000, 4000)
    with shelf.chain() as chain, SyncReader(chain) as slow, SyncReader(chain) as fast:
        slow.read(10)
        fast.read()
        assert 0 in chain.opened
        slow.close()
        assert 0 not in chain.opened


def test_unknown_lengths_ahead_leave_the_length_unknown_until_they_are_met() -> None:
    shelf = Shelf(0, 1000, 2000, 3000, known=False)
    with shelf.chain() as chain, SyncReader(chain) as reader:
        assert reader.length is None
        assert not reader.seekable()
        with pytest.raises(UnknownLength):
            reader.seek(0, io.SEEK_END)
        assert CONTENT[:3000] == reader.read()
        assert 3000 == reader.length
        assert 2990 == reader.seek(-10, io.SEEK_END)
        assert CONTENT[2990:3000] == reader.read()


def test_a_forward_seek_over_unknown_lengths_fetches_what_lies_between() -> None:
    shelf = Shelf(0, 1000, 2000, 3000, known=False, filled=False)
    with shelf.chain() as chain, SyncReader(chain) as reader:
        reader.seek(1500)
        background = Background(lambda: reader.read(10))
        eventually(lambda: 0 in shelf.keep)
        first = shelf.keep[0]
        assert 0 == first.wanted()[0][0], "the part's producer hears that its first byte is wanted"
        first.write_at(0, CONTENT[:600])
        eventually(lambda: first.wanted()[0][0] == 600)
        first.write_at(600, CONTENT[600:1000])
        assert 1 not in shelf.keep, "nobody knows yet that the first part ends here"
        first.commit(1000)
        eventually(lambda: 1 in shelf.keep)
        shelf.keep[1].write_at(0, CONTENT[1000:2000])
        assert CONTENT[1500:1510] == background.result()


def test_a_length_that_a_part_learns_early_saves_fetching_it() -> None:
    shelf = Shelf(0, 1000, 2000, known=False, filled=False)
    with shelf.chain() as chain, SyncReader(chain) as reader:
        reader.seek(1500)
        background = Background(lambda: reader.read(10))
        eventually(lambda: 0 in shelf.keep)
        shelf.keep[0].set_length(1000)
        eventually(lambda: 1 in shelf.keep)
        shelf.keep[1].write_at(0, CONTENT[1000:2000])
        assert CONTENT[1500:1510] == background.result()
        assert 0 == shelf.keep[0].total


def test_waits_reach_the_producer_of_their_part() -> None:
    first, second = MemoryResource(1000), MemoryResource(1000)
    told = threading.Event()
    second.produce(told.set, look_ahead=100)
    chain = Chain([Part(first, 1000), Part(second, 1000)])
    background = Background(lambda: chain.wait_range(1100, 1200))
    assert told.wait(10)
    assert 100 == second.wanted()[0][0]
    assert [] == first.wanted()
    second.write_at(0, CONTENT[:1000])
    assert WaitOutcome.READY is background.result()


def test_a_wait_over_a_joint_waits_for_both_sides() -> None:
    first, second = MemoryResource(1000), MemoryResource(1000)
    with Chain([Part(first, 1000), Part(second, 1000)]) as chain:
        background = Background(lambda: chain.wait_range(900, 1100))
        first.write_at(0, CONTENT[:1000])
        with pytest.raises(WaitTimeout):
            chain.wait_range(900, 1100, 0.02)
        second.write_at(0, CONTENT[1000:2000])
        assert WaitOutcome.READY is background.result()


def test_a_failing_part_fails_those_who_reach_it_and_nobody_else() -> None:
    second = MemoryResource(1000)
    second.fail(HttpStatus(status=410))
    with Chain([Part(whole(0, 1000), 1000), Part(second, 1000), Part(whole(2000, 3000), 1000)]) as chain:
        with SyncReader(chain) as reader:
            assert CONTENT[:1000] == reader.read(1000)
            with pytest.raises(HttpStatus):
                reader.read(1)
            reader.seek(2000)
            assert CONTENT[2000:2100] == reader.read(100)
        assert "failed" == chain.status


def test_a_promise_that_is_not_kept_is_the_readers_error() -> None:
    error = KeyError("no such segment")

    def promise() -> Store:
        raise error

    with Chain([Part(whole(0, 10), 10), Part(promise, 10)]) as chain, SyncReader(chain) as reader:
        assert CONTENT[:10] == reader.read(10)
        with pytest.raises(KeyError) as caught:
            reader.read(1)
        assert error is caught.value


def test_a_promise_of_something_else_is_refused() -> None:
    with Chain([Part(lambda: b"bytes", 10)]) as chain, SyncReader(chain) as reader:  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError):
            reader.read(1)


def test_a_part_shorter_than_said_is_an_error() -> None:
    with Chain([Part(whole(0, 900), 1000), Part(whole(1000, 2000), 1000)]) as chain, SyncReader(chain) as reader:
        assert CONTENT[:900] == reader.read(900)
        with pytest.raises(StreamError, match="shorter than"):
            reader.read(10)


def test_a_part_longer_than_said_is_cut() -> None:
    with Chain([Part(whole(0, 1500), 1000), Part(whole(1000, 2000), 1000)]) as chain, SyncReader(chain) as reader:
        assert CONTENT[:2000] == reader.read()


def test_closing_it_ends_waits_in_its_parts() -> None:
    first = MemoryResource(1000)
    chain = Chain([Part(first, 1000)])
    direct = Background(lambda: chain.wait_range(0, 1))
    with SyncReader(chain) as reader:
        reading = Background(lambda: reader.read(1))
        eventually(lambda: len(first.wanted()) >= 2)
        chain.close()
        for wait in (direct, reading):
            with pytest.raises(Closed):
                wait.result()
    assert "active" == first.status, "the parts are not the chain's to end"
    assert not first.closed


def test_a_seek_moves_a_read_that_waits_in_a_part() -> None:
    first, second = MemoryResource(1000), whole(1000, 2000)
    with Chain([Part(first, 1000), Part(second, 1000)]) as chain, SyncReader(chain) as reader:
        background = Background(lambda: reader.read(10))
        eventually(lambda: [want for want in first.wanted() if want[2] == 0])
        reader.seek(1500)
        assert CONTENT[1500:1510] == background.result()


def test_the_thread_of_a_parts_producer_does_not_wait_for_it() -> None:
    first = MemoryResource(1000)
    first.produce(lambda: None, look_ahead=100, thread=threading.get_ident())
    with Chain([Part(first, 1000)]) as chain, SyncReader(chain) as reader, pytest.raises(WouldDeadlock):
        reader.read(1)


def test_a_callback_follows_its_range_from_part_to_part() -> None:
    first, second = MemoryResource(), MemoryResource()
    with Chain([first, second]) as chain:
        calls: list[int] = []
        chain.when(500, 1500, lambda: calls.append(1))
        forgotten = chain.when(500, 1500, lambda: calls.append(2))
        first.write_at(0, CONTENT[:1000])
        first.commit(1000)
        assert [] == calls
        chain.forget(forgotten)
        second.write_at(0, CONTENT[1000:1500])
        second.commit(500)
        assert [1] == calls


def test_closing_it_calls_back_who_still_waits() -> None:
    calls: list[int] = []
    chain = Chain([MemoryResource(10)])
    chain.when(0, 1, lambda: calls.append(1))
    chain.close()
    assert [1] == calls


def test_a_forgotten_chain_leaves_its_parts() -> None:
    first = MemoryResource(1000)
    chain = Chain([Part(first, 1000)])
    with pytest.raises(WaitTimeout):
        chain.wait_range(0, 1, 0)
    assert [0] == first.cursors
    del chain
    gc.collect()
    assert [] == first.cursors


def test_a_chain_may_hold_chains_and_windows() -> None:
    window = Window(2000)
    window.put(0, 0, CONTENT[1000:1500])
    window.finish(0)
    inner = Chain([Part(whole(0, 500), 500), Part(whole(500, 1000), 500)])
    with Chain([inner, window, whole(1500, 2000)]) as chain, SyncReader(chain) as reader:
        assert CONTENT[:2000] == reader.read()


def test_a_wait_for_more_than_a_window_holds_is_clipped_there_too() -> None:
    window = Window(100)
    window.put(0, 0, CONTENT[:100])
    with Chain([Part(window, 1000)]) as chain, SyncReader(chain) as reader:
        assert WaitOutcome.READY is chain.wait_range(0, 90, 0)
        assert WaitOutcome.READY is window.wait_range(0, 500, 0)
        assert CONTENT[:100] == reader.read1(500)


def test_a_window_with_a_reader_is_no_part() -> None:
    window = Window(10)
    with SyncReader(window), Chain([window]) as chain, SyncReader(chain) as reader, pytest.raises(Busy):
        reader.read(1)


def test_an_empty_chain_has_ended() -> None:
    with Chain([]) as chain, SyncReader(chain) as reader:
        assert 0 == reader.length
        assert b"" == reader.read()
        assert WaitOutcome.EOF is chain.wait_range(0, 1)


@pytest.mark.parametrize("wrong", [b"bytes", 5])
def test_what_is_no_part_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError):
        Chain([wrong])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="negative length"):
        Part(MemoryResource(), -1)


@pytest.mark.parametrize("known", [True, False])
def test_readers_of_many_threads_in_parts_that_come_and_go_agree(known: bool) -> None:
    shelf = Shelf(*range(0, 10_001, 400), known=known)

    def course(seed: int) -> None:
        chance = random.Random(seed)
        with SyncReader(chain) as reader:
            for _ in range(150):
                position, size = chance.randrange(10_000), chance.randrange(900)
                reader.seek(position)
                assert CONTENT[position : position + size] == reader.read(size)

    with shelf.chain() as chain:
        threads = [Background(lambda seed=seed: course(seed)) for seed in range(6)]
        for thread in threads:
            thread.result(30)
        assert [] == chain.opened, "the last reader that closes leaves none open"
    assert sorted(shelf.opened) == sorted(shelf.closed)
