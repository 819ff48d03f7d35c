"""The PCM ring: a model, two threads, epochs."""

from __future__ import annotations

import random
import threading

import pytest
from support.waiting import liveness

from kithara._core.ring import RingBuffer


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_of_nothing_is_refused(capacity):
    with pytest.raises(ValueError, match="at least one"):
        RingBuffer(capacity)


@pytest.mark.parametrize("capacity", [64, 65, 50, 1])
def test_what_goes_in_comes_out_in_order_at_any_sizes(capacity):
    chance = random.Random(1)
    ring, kept = RingBuffer(capacity), bytearray()
    assert (capacity, capacity) == (ring.capacity, ring.writable)
    for _ in range(5000):
        if chance.random() < 0.5:
            piece = chance.randbytes(chance.randrange(90))
            put = ring.write(piece)
            assert min(len(piece), capacity - len(kept)) == put
            kept += piece[:put]
        else:
            out = bytearray(chance.randrange(90))
            got = ring.read_into(out)
            assert min(len(out), len(kept)) == got
            assert bytes(kept[:got]) == bytes(out[:got])
            del kept[:got]
        assert len(kept) == ring.readable
        assert capacity - len(kept) == ring.writable


def test_a_new_epoch_drops_what_is_here():
    ring = RingBuffer(16)
    ring.write(b"old old")
    ring.reset(1)
    assert 0 == ring.readable
    out = bytearray(8)
    assert 0 == ring.read_into(out)
    ring.write(b"new", 1)
    assert 3 == ring.read_into(out)
    assert b"new" == bytes(out[:3])
    assert (1, 3) == ring.entered


def test_a_stale_writer_puts_nothing_in():
    ring = RingBuffer(16)
    ring.reset(7)
    assert -1 == ring.write(b"late", 6)
    assert 4 == ring.write(b"fine", 7)


def test_room_taken_by_stale_bytes_is_free_once_the_reader_has_looked():
    ring = RingBuffer(8)
    ring.write(b"12345678")
    ring.reset(1)
    assert 0 == ring.writable
    ring.read_into(bytearray(1))
    assert 8 == ring.writable


def test_fill_gives_silence_for_what_is_missing_and_counts_it_inside_an_epoch():
    ring = RingBuffer(16)
    out = bytearray(b"xxxx")
    assert 0 == ring.fill(out)
    assert bytes(4) == bytes(out)
    assert 0 == ring.underruns  # nothing has begun yet
    ring.write(b"ab")
    assert 2 == ring.fill(out)
    assert b"ab\0\0" == bytes(out)
    assert 1 == ring.underruns
    ring.end(0)
    assert 0 == ring.fill(out)
    assert 1 == ring.underruns  # the end is no underrun
    assert ring.ended
    ring.reset(1)
    assert not ring.ended


def test_two_threads_pass_every_byte_on():
    ring, size = RingBuffer(256), 400_000
    data = random.Random(2).randbytes(size)
    taken = bytearray()

    def produce() -> None:
        at = 0
        while at < size:
            put = ring.write(data[at : at + 97], 0)
            at += put
            if not put:
                ring.wait_room(0, 64, 1.0)
        ring.end(0)

    thread = threading.Thread(target=produce)
    thread.start()
    out = bytearray(131)
    while True:
        got = ring.read_into(out)
        taken += out[:got]
        if not got:
            if ring.ended and not ring.readable:
                break
            ring.wait_bytes(1.0)
    thread.join(liveness(10))
    assert data == bytes(taken)


def test_no_byte_of_an_older_epoch_comes_after_one_of_a_newer():
    """Each byte says its epoch; a third thread starts epochs while two pass bytes on."""
    ring, epochs = RingBuffer(512), 200
    seen = threading.Event()

    def produce() -> None:
        while ring.epoch < epochs:
            epoch = ring.epoch
            if ring.write(bytes((epoch % 251,)) * 32, epoch) == 0:
                ring.wait_room(epoch, 32, 1.0)

    def reset() -> None:
        for epoch in range(1, epochs + 1):
            seen.wait(liveness(5))
            seen.clear()
            ring.reset(epoch)

    threads = [threading.Thread(target=produce), threading.Thread(target=reset)]
    for thread in threads:
        thread.start()
    out, wrong = bytearray(48), []
    while ring.epoch < epochs:
        before = ring.epoch
        got = ring.read_into(out)
        epoch, _ = ring.entered
        if any(byte != epoch % 251 for byte in out[:got]) or epoch < before - 1:
            wrong.append((before, epoch, bytes(out[:got])))
        if got:
            seen.set()
        else:
            ring.wait_bytes(0.05)
    for thread in threads:
        thread.join(liveness(10))
    assert [] == wrong


def test_a_wait_ends_when_bytes_come():
    ring, woken = RingBuffer(16), threading.Event()

    def wait() -> None:
        while not ring.readable:
            ring.wait_bytes(30.0)
        woken.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    ring.write(b"x")
    assert woken.wait(liveness(1))
    thread.join(liveness(1))
