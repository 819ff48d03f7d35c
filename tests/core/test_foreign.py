"""A Cython module from outside cimports the reader and uses it from four threads without the GIL."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
from support.foreign import build
from support.waiting import Background

from kithara._core.memory_resource import MemoryResource
from kithara._core.reader import SyncReader
from kithara.errors import HttpStatus

CONTENT = random.Random(3).randbytes(400_000)

FOREIGN = """
# cython: language_level=3
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memset
from kithara._core.reader cimport SyncReader
from kithara._core.outcome cimport READY, Outcome

def total(SyncReader reader, int64_t start, int64_t stop):
    cdef char piece[1024]
    cdef int64_t got = 0, at = start
    cdef unsigned long long found = 0
    cdef Outcome outcome
    with nogil:
        outcome = reader.wait_for(start, start + 1, INT64_MAX)
        if outcome == READY:
            got = reader.seek_to(start)
        while got >= 0 and at < stop:
            memset(piece, 0, sizeof(piece))
            got = reader.read_into(piece, min(<int64_t>sizeof(piece), stop - at))
            if got <= 0:
                break
            for index in range(got):
                found += <unsigned char>piece[index]
            at += got
    reader.check_outcome(got, sizeof(piece))
    return found, at, reader.tell_now()

def now(SyncReader reader):
    cdef char piece[16]
    with nogil:
        got = reader.try_read(piece, 16)
    return got
"""

@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return build(tmp_path_factory.mktemp("foreign"), "foreign", FOREIGN)


def test_four_threads_read_seek_and_wait_without_the_gil(foreign: ModuleType) -> None:
    store = MemoryResource(len(CONTENT))
    quarter = len(CONTENT) // 4
    readers = [SyncReader(store) for _ in range(4)]
    spans = [(number * quarter, (number + 1) * quarter) for number in range(4)]
    threads = [
        Background(lambda reader=reader, span=span: foreign.total(reader, *span))
        for reader, span in zip(readers, spans, strict=True)
    ]
    starts = list(range(0, len(CONTENT), 7000))
    random.Random(1).shuffle(starts)
    for start in starts:
        store.write_at(start, CONTENT[start : start + 7000])
    for thread, (start, stop) in zip(threads, spans, strict=True):
        assert (sum(CONTENT[start:stop]), stop, stop) == thread.result(20)
    for reader in readers:
        reader.close()


def test_it_gets_outcomes_and_their_exceptions(foreign: ModuleType) -> None:
    store = MemoryResource(100)
    with SyncReader(store) as reader:
        assert foreign.now(reader) < 0, "nothing is here yet"
        store.write_at(0, b"0123456789")
        assert 10 == foreign.now(reader)
        thread = Background(lambda: foreign.total(reader, 5, 50))
        store.fail(HttpStatus(status=404))
        with pytest.raises(HttpStatus):
            thread.result()
        assert 10 == reader.tell() or 5 == reader.tell()
