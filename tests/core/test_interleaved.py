"""What happens at the same moment: bytes that go between a reader's look and its copy, looks beside writes."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from support.foreign import build
from support.waiting import Background

from kithara import SyncReader
from kithara.errors import SeekNotSupported

RING = 80_000
DATA = random.Random(17).randbytes(2 * RING)

SOURCE = """
# cython: language_level=3
from libc.stdint cimport int64_t
from kithara._core.file_resource cimport FileResource
from kithara._core.memory_resource cimport MemoryResource
from kithara._core.outcome cimport READY, Outcome
from kithara._core.resource cimport Resource

def call(resource):
    meanwhile, resource.meanwhile = resource.meanwhile, None
    if meanwhile is not None:
        meanwhile()

cdef class InFile(FileResource):
    cdef public object meanwhile
    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        with gil:
            call(self)
        return FileResource.copy(self, offset, into, size)

cdef class InMemory(MemoryResource):
    cdef public object meanwhile
    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        with gil:
            call(self)
        return MemoryResource.copy(self, offset, into, size)

def write(Resource resource, int64_t count):
    # One byte in two: each is a run of its own.
    cdef int64_t written = 0
    cdef int index, failed = 0
    with nogil:
        for index in range(count):
            failed = failed or resource._write(2 * index, b"x", 1, &written)
    return failed, written

def look(Resource resource, int64_t offset, int64_t last):
    # How often the byte at *offset* came and went, until the *last* one is here. With a bound, for nothing can end it.
    cdef int64_t until = 0, came = 0, went = 0
    cdef int index
    cdef bint over, here, before = False
    with nogil:
        for index in range(30_000_000):
            over = resource.glance(last, last + 1, &until) == READY
            here = resource.glance(offset, offset + 1, &until) == READY
            came += here and not before
            went += before and not here
            before = here
            if over:
                break
    return came, went
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Stores that call `meanwhile` once, between a look and the copy; loops that write and look without the GIL."""
    return build(tmp_path_factory.mktemp("interleaved"), "interleaved", SOURCE)


@pytest.fixture(params=["file", "memory"])
def resource(request: pytest.FixtureRequest, stores: ModuleType) -> Any:
    if request.param == "memory":
        return stores.InMemory()
    fd, name = tempfile.mkstemp()
    os.unlink(name)
    return stores.InFile(fd)


def by_read(resource: Any, size: int) -> bytes:
    with SyncReader(resource) as reader:
        try:
            return reader.read(size)
        except SeekNotSupported:
            assert 0 == reader.tell(), "a read that fails leaves the position where it was"
            raise


def by_read_without_the_gil(resource: Any, size: int) -> bytes:
    with SyncReader(resource, release_gil="always") as reader:
        return reader.read(size)


def by_lines(resource: Any, size: int) -> bytes:
    with SyncReader(resource) as reader:
        return b"".join(reader.readlines(size))[:size]


def by_read_at(resource: Any, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: resource.read_at(0, buffer)])


def write(resource: Any, start: int, stop: int) -> None:
    resource.write_at(start, DATA[start:stop])


@pytest.mark.parametrize("take", [by_read, by_read_without_the_gil, by_lines, by_read_at])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_of_what_is_written_over_between_the_look_and_the_copy_nothing_is_given(
    resource: Any, when: str, take: Callable[[Any, int], bytes]
) -> None:
    def goes_round() -> None:
        if when == "meanwhile":
            resource.keep_last(RING)
        write(resource, 64_000, RING + 1)  # over the first byte, and no other

    write(resource, 0, 64_000)
    if when == "before":
        resource.keep_last(RING)
    resource.meanwhile = goes_round
    with pytest.raises(SeekNotSupported):
        take(resource, 10_000)
    assert resource.meanwhile is None, "it was read"


@pytest.mark.parametrize("take", [by_read, by_read_without_the_gil, by_lines, by_read_at])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_is_left_as_it_is_between_the_look_and_the_copy_is_given(
    resource: Any, when: str, take: Callable[[Any, int], bytes]
) -> None:
    def fills_up() -> None:
        if when == "meanwhile":
            resource.keep_last(RING)
        write(resource, 64_000, RING)

    write(resource, 0, 64_000)
    if when == "before":
        resource.keep_last(RING)
    resource.meanwhile = fills_up
    assert DATA[:10_000] == take(resource, 10_000)
    assert resource.meanwhile is None, "it was read"


def test_looks_see_bytes_come_and_never_go_while_others_are_written(resource: Any, stores: ModuleType) -> None:
    """Neither loop takes the GIL, whose own lock would put them in order for a race detector (tests/sanitize.sh)."""
    count = 8_000
    looking = Background(lambda: stores.look(resource, count, 2 * count - 2))
    assert (0, count) == stores.write(resource, count)
    assert (1, 0) == looking.result(20)
