"""A resource that keeps only its last bytes: what it gives is right or refused, and it takes no more than its ring."""

import contextlib
import os
import random
import sys
import tempfile
import threading
from functools import partial

import numpy as np
import pytest
from support.waiting import Background

from kithara import SyncReader
from kithara._core.file_resource import FileResource
from kithara._core.memory_resource import MemoryResource
from kithara.errors import SeekNotSupported, UnknownLength, WaitTimeout
from kithara.io import SyncReaderParams

DATA = random.Random(41).randbytes(1_000_000)
RING = 200_003


def in_file():
    fd, name = tempfile.mkstemp()
    os.unlink(name)
    return FileResource(fd)


@pytest.fixture(params=[in_file, MemoryResource], ids=["file", "memory"])
def resource(request):
    with request.param() as resource:
        yield resource


def write(resource, start, stop, piece=7_001):
    for at in range(start, stop, piece):
        resource.write_at(at, DATA[at : min(stop, at + piece)])


def read(resource, start, stop):
    buffer = bytearray(stop - start)
    return bytes(buffer[: resource.read_at(start, buffer)])


def test_the_last_bytes_are_there_and_older_ones_are_refused(resource):
    write(resource, 0, 150_000)
    resource.keep_last(RING)
    write(resource, 150_000, 900_000)
    assert [(900_000 - RING, 900_000)] == resource.available_ranges()
    dice = random.Random(1)
    for _ in range(200):
        start = dice.randrange(900_000 - RING, 900_000)
        stop = min(900_000, start + dice.choice((1, 100, 70_000)))
        assert DATA[start:stop] == read(resource, start, stop)
        assert resource.contains_range(start, stop)
    for start in (0, 900_000 - RING - 1):
        with pytest.raises(SeekNotSupported):
            read(resource, start, start + 10)
        assert not resource.contains_range(start, 900_000)


def test_what_was_here_before_is_here_after(resource):
    write(resource, 0, 150_000)
    resource.keep_last(RING)
    assert DATA[:150_000] == read(resource, 0, 150_000)
    write(resource, 150_000, RING)
    assert DATA[:RING] == read(resource, 0, RING)


def test_it_takes_no_more_than_its_ring(resource):
    resource.keep_last(RING)
    write(resource, 0, 1_000_000)
    if isinstance(resource, MemoryResource):
        assert resource.held <= RING + (64 << 10)
    else:
        assert os.fstat(resource.fd).st_size == RING


def test_room_is_what_no_reader_has_yet_to_read(resource):
    resource.keep_last(RING)
    assert (resource.room, resource.slowest) == (RING, None)
    with SyncReader(resource) as slow, SyncReader(resource) as fast:
        write(resource, 0, 100_000)
        slow.read(10)
        fast.read(100_000)
        assert (resource.room, resource.slowest) == (RING - 100_000 + 10, 10)
        slow.read(90_000)
        assert (resource.room, resource.slowest) == (RING - 10_000 + 10, 90_010)


def test_a_reader_that_is_passed_by_is_told_and_counts_no_more(resource):
    resource.keep_last(RING)
    with SyncReader(resource) as slow, SyncReader(resource) as fast:
        write(resource, 0, 100_000)
        slow.read(10)
        fast.read(90_000)
        resource.pass_by(11)
        assert resource.slowest == 90_000
        with pytest.raises(SeekNotSupported):
            slow.read(10)
        assert slow.tell() == 10
        assert DATA[90_000:90_010] == fast.read(10)
        slow.seek(50_000)
        assert DATA[50_000:50_010] == slow.read(10)


def test_a_small_step_back_is_possible_and_a_large_one_refused_by_the_seek(resource):
    resource.keep_last(RING)
    with SyncReader(resource) as reader:
        for start in range(0, 900_000, 100_000):
            write(resource, start, start + 100_000)
            assert DATA[start : start + 100_000] == reader.read(100_000)
        reader.seek(-50_000, 1)
        assert DATA[850_000:850_010] == reader.read(10)
        with pytest.raises(SeekNotSupported):
            reader.seek(0)
        assert not reader.seekable()
        with pytest.raises(UnknownLength):
            reader.seek(0, 2)


def test_the_end_is_the_end(resource):
    resource.keep_last(RING)
    with SyncReader(resource) as reader:
        write(resource, 0, 100_000)
        assert DATA[:100_000] == reader.read(100_000)
        write(resource, 100_000, 300_000)
        resource.set_length(300_000)
        resource.commit()
        assert DATA[100_000:300_000] == reader.read()
        assert reader.read(1) == b""
        assert (reader.length, reader.status) == (300_000, "committed")


def test_a_wait_for_more_than_there_is_room_for_is_answered_when_half_the_ring_is_here(resource):
    resource.keep_last(RING)
    write(resource, 0, RING // 2)
    resource.wait_range(0, 10 * RING, 0)
    with pytest.raises(WaitTimeout):
        resource.wait_range(1, 10 * RING, 0)


def test_a_reader_that_does_not_wait_has_nothing_until_there_is(resource):
    resource.keep_last(RING)
    with SyncReader(resource, SyncReaderParams(blocking=False)) as reader:
        assert reader.read(10) is None
        write(resource, 0, 5)
        assert DATA[:5] == reader.read(10)


def test_bytes_out_of_their_order_are_refused(resource):
    resource.keep_last(RING)
    write(resource, 0, 1000)
    with pytest.raises(ValueError, match="does not follow"):
        resource.write_at(2000, b"x")
    assert resource.write_at(0, DATA[:1500]) == 500
    assert DATA[:1500] == read(resource, 0, 1500)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda resource: resource.set_length(10),
        lambda resource: write(resource, 0, RING + 1),
        lambda resource: write(resource, 5, 10),
        lambda resource: resource.keep_last(RING),
    ],
    ids=["a length", "too much", "a hole", "twice"],
)
def test_only_what_is_whole_from_its_start_and_fits_can_become_a_ring(resource, spoil):
    spoil(resource)
    with pytest.raises(ValueError, match="cannot keep"):
        resource.keep_last(RING)


NUMBERED = np.arange(500_000, dtype=">u8").tobytes()
"""Every eight bytes tell where they are."""


def read_on(reader, size, seed, told, over):
    """Read on, with a look back or ahead now and then, until *over*; *told* is set at the first piece.

    Returns the pieces that were not right, as ``(offset, length)``.
    """
    dice = random.Random(seed)
    wrong = []
    while not over.is_set():
        try:
            piece = reader.read(size)
        except SeekNotSupported:  # passed by: go on with what is kept
            piece = None
        if piece:
            told.set()
            at = 8 * int.from_bytes(piece[:8], "big")
            if len(piece) % 8 or piece != NUMBERED[at : at + len(piece)]:
                wrong.append((at, len(piece)))
        if not piece or dice.randrange(2) == 0:  # mostly to the oldest, which are the next to go
            start, stop = reader.available_ranges()[0]
            with contextlib.suppress(SeekNotSupported):
                reader.seek(start if dice.randrange(4) else dice.randrange(start, stop) // 8 * 8)
    return wrong


@pytest.fixture
def often():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("shared", [False, True], ids=["a reader each", "one reader"])
@pytest.mark.parametrize("make", [in_file, MemoryResource], ids=["file", "memory"])
def test_whoever_reads_while_it_becomes_a_ring_gets_what_was_written(make, shared):
    for turn in range(5):
        over = threading.Event()
        told = [threading.Event() for _ in range(2)]
        with make() as resource, contextlib.ExitStack() as stack:
            resource.write_at(0, NUMBERED[:64_000])
            readers = [
                stack.enter_context(SyncReader(resource, SyncReaderParams(blocking=False), release_gil="always"))
                for _ in range(1 if shared else 2)
            ]
            stack.callback(over.set)
            threads = [
                Background(partial(read_on, readers[n % len(readers)], size, 2 * turn + n, told[n], over))
                for n, size in enumerate((32_768, 4_096))
            ]
            for event in told:  # they read what is here for good, without taking turns
                assert event.wait(20)
            resource.keep_last(80_000)
            for at in range(64_000, len(NUMBERED), 16_384):  # of this size a write gives the GIL up, too
                resource.write_at(at, NUMBERED[at : at + 16_384])
            over.set()
            assert [[], []] == [thread.result(20) for thread in threads]
