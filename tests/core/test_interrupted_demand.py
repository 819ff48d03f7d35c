"""A Ctrl-C that comes while a reader tells its producer what it wants: the reader raises it, the producer is told."""

from __future__ import annotations

import pytest

from kithara import SyncReader
from kithara._core.chain import Chain
from kithara._core.memory_resource import MemoryResource
from kithara._core.parts import Part


@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_in_the_middle_of_a_demand_ends_the_wait(times: int, capfd: pytest.CaptureFixture[str]) -> None:
    calls = []

    def demand() -> None:
        calls.append(len(calls))
        if len(calls) <= times:
            raise KeyboardInterrupt

    store = MemoryResource(1000)
    store.produce(demand, look_ahead=1000)
    with pytest.raises(KeyboardInterrupt):
        store.wait_range(0, 10, 20.0)
    assert (list(range(times + 1)), "") == (calls, capfd.readouterr().err)


@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_while_a_part_opens_ends_the_read_and_the_part_opens(
    times: int, capfd: pytest.CaptureFixture[str]
) -> None:
    store = MemoryResource(10)
    store.write_at(0, b"0123456789")
    calls = []

    def promise() -> MemoryResource:
        calls.append(len(calls))
        if len(calls) <= times:
            raise KeyboardInterrupt
        return store

    with Chain([Part(promise, 10)]) as chain, SyncReader(chain) as reader:
        with pytest.raises(KeyboardInterrupt):
            reader.read(4)
        at = reader.tell()
        assert b"0123456789"[at:] == reader.read()
    assert (list(range(times + 1)), "") == (calls, capfd.readouterr().err)


def test_ctrl_c_while_the_next_part_opens_is_raised_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = MemoryResource(10), MemoryResource(10)
    for store in (first, second):
        store.write_at(0, b"0123456789")
    calls = []

    def promise() -> MemoryResource:
        calls.append(len(calls))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return second

    with Chain([Part(first, 10), Part(promise, 10)]) as chain, SyncReader(chain) as reader:
        with pytest.raises(KeyboardInterrupt):
            reader.read(10)  # and what comes next is asked for
        assert ([0, 1], 10) == (calls, reader.tell())
        assert b"0123456789" == reader.read(10)
    assert "" == capfd.readouterr().err


def test_ctrl_c_while_a_part_closes_is_raised_by_the_read_that_left_it(capfd: pytest.CaptureFixture[str]) -> None:
    stores = [MemoryResource(10) for _ in range(3)]
    for store in stores:
        store.write_at(0, b"0123456789")
        store.commit()
    closed = []

    def close(store: MemoryResource) -> None:
        closed.append(stores.index(store))
        if len(closed) == 1:
            raise KeyboardInterrupt

    parts = [Part(lambda store=store: store, 10, close=close) for store in stores]
    with Chain(parts) as chain, SyncReader(chain) as reader:
        with pytest.raises(KeyboardInterrupt):
            reader.read(10)  # the second part opens, and nobody is in the first any more
        assert ([0], 10) == (closed, reader.tell())
        reader.seek(20)
        assert b"0123456789" == reader.read()
    assert ([0, 1, 2], "") == (sorted(closed), capfd.readouterr().err)
