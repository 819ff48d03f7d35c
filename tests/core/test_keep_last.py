"""A resource that keeps only its last bytes: what it gives is right or refused, and it takes no more than its ring."""

import os
import random
import tempfile

import pytest

from kithara import SyncReader
from kithara._core.resource import FileResource, MemoryResource
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
