"""A small read keeps the GIL where its pages are in memory, and gives it up where the disk would be waited for."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.waiting import eventually

from kithara import SyncReader
from kithara._core.chain import Chain
from kithara._core.file_resource import FileResource
from kithara._core.memory_resource import MemoryResource

SIZE = 16 << 20  # more than any system reads ahead of one place
DATA = random.Random(17).randbytes(SIZE)
MIDDLE = SIZE // 2
NEIGHBOURS = 1 << 16

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs a way to drop pages from memory")


def pages_in_memory(fd: int, start: int, stop: int) -> int:
    """Asked of the system beside the core: how many pages of the file are in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(fd, stop - start, prot=mmap.PROT_READ, offset=start) as mapped:
        seen = np.frombuffer(mapped, dtype=np.uint8)
        here = (ctypes.c_ubyte * ((stop - start) // mmap.PAGESIZE))()
        failed = libc.mincore(ctypes.c_void_p(seen.ctypes.data), ctypes.c_size_t(stop - start), here)
        del seen
    assert 0 == failed, os.strerror(ctypes.get_errno())
    return sum(page & 1 for page in here)


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[FileResource]:
    """A committed file of which nothing is in memory."""
    path = tmp_path / "cold"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if pages_in_memory(fd, 0, SIZE):
        os.close(fd)
        pytest.skip("this file system keeps every page in memory")
    with FileResource(fd, committed=True) as store:
        yield store


def read(store: FileResource | Chain, start: int, size: int) -> bytes:
    buffer = bytearray(size)
    assert size == store.read_at(start, buffer)
    return bytes(buffer)


def test_what_is_not_in_memory_is_not_near(cold: FileResource) -> None:
    assert DATA[:1] == read(cold, 0, 1), "it is mapped by now"
    assert 0 == pages_in_memory(cold.fd, MIDDLE, MIDDLE + 65536)
    assert not cold.is_near(MIDDLE, MIDDLE + 4096)
    assert not cold.is_near(MIDDLE + 4095, MIDDLE + 4097)


def in_memory(fd: int) -> list[bool]:
    """Of each 64 KiB of the file, whether the system has all of it in memory."""
    whole = NEIGHBOURS // mmap.PAGESIZE
    return [whole == pages_in_memory(fd, at, at + NEIGHBOURS) for at in range(0, SIZE, NEIGHBOURS)]


def test_what_was_read_is_near(cold: FileResource) -> None:
    assert DATA[MIDDLE : MIDDLE + 65536] == read(cold, MIDDLE, 65536)
    assert cold.is_near(MIDDLE, MIDDLE + 65536)
    assert cold.is_near(MIDDLE + 100, MIDDLE + 4196)


def test_what_is_near_is_what_the_system_has_in_memory(cold: FileResource) -> None:
    assert DATA[MIDDLE : MIDDLE + 10] == read(cold, MIDDLE, 10)
    before = in_memory(cold.fd)
    near = [cold.is_near(at, at + NEIGHBOURS) for at in range(0, SIZE, NEIGHBOURS)]
    after = in_memory(cold.fd)  # the system may be reading ahead all the while
    assert [] == [at for at, (here, said) in enumerate(zip(before, near, strict=True)) if here and not said]
    assert [] == [at for at, (said, here) in enumerate(zip(near, after, strict=True)) if said and not here]
    if all(before):
        pytest.skip("this system reads 16 MiB ahead")
    assert False in near


def test_the_end_is_near_as_what_lies_before_it_is(cold: FileResource) -> None:
    assert not cold.is_near(SIZE - 10, SIZE + 4096)
    assert DATA[-4096:] == read(cold, SIZE - 4096, 4096)
    assert cold.is_near(SIZE - 10, SIZE + 4096)


def test_a_page_in_memory_is_near_beside_one_that_is_not(cold: FileResource) -> None:
    os.posix_fadvise(cold.fd, 0, 0, os.POSIX_FADV_RANDOM)  # or the system would read the neighbours, too
    assert DATA[:1] == read(cold, 0, 1)
    os.pread(cold.fd, 1, MIDDLE + 8192)
    page = mmap.PAGESIZE
    at = (MIDDLE + 8192) // page * page
    if page != pages_in_memory(cold.fd, at, at + page) * page or pages_in_memory(cold.fd, at + page, at + 2 * page):
        pytest.skip("the system read more or less than was asked for")
    assert cold.is_near(at, at + page)
    assert not cold.is_near(at, at + page + 1)


def test_what_this_process_wrote_is_near() -> None:
    store = MemoryResource(10)
    assert store.is_near(0, 10)


def test_a_chain_is_as_near_as_its_parts(cold: FileResource) -> None:
    memory = MemoryResource(100)
    memory.write_at(0, DATA[:100])
    with Chain([memory, cold]) as chain:
        assert DATA[:1] == read(chain, 100, 1)
        assert chain.is_near(0, 100)
        assert not chain.is_near(90, 100 + SIZE)
        assert not chain.is_near(100 + MIDDLE, 100 + MIDDLE + 4096)
        assert DATA[MIDDLE : MIDDLE + 65536] == read(chain, 100 + MIDDLE, 65536)
        assert chain.is_near(100 + MIDDLE, 100 + MIDDLE + 4096)


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """Grows whenever another thread gets the GIL, which nobody has to give up here."""
    taken: list[int] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            taken.append(1)
            time.sleep(0)

    before = sys.getswitchinterval()
    thread = threading.Thread(target=run)
    sys.setswitchinterval(1000.0)
    try:
        thread.start()
        yield taken
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)


@pytest.mark.parametrize("cached", [True, False], ids=["a cached file", "a chain of it"])
def test_small_reads_of_what_is_near_keep_the_gil(cold: FileResource, steps: list[int], cached: bool) -> None:
    with Chain([cold]) as chain, SyncReader(cold if cached else chain) as reader:
        whole = reader.read()
        assert whole == DATA
        reader.seek(0)
        eventually(lambda: bool(steps))
        before = len(steps)
        pieces = [reader.read(4096) for _ in range(100)]
        buffer = bytearray(4096)
        size = reader.readinto(buffer)
        after = len(steps)
    assert before == after
    assert (DATA[: 100 * 4096], 4096, DATA[100 * 4096 : 101 * 4096]) == (b"".join(pieces), size, bytes(buffer))


def test_a_read_that_is_not_near_gives_the_gil_up(cold: FileResource, steps: list[int]) -> None:
    eventually(lambda: bool(steps))
    given = False
    for _ in range(500):  # whether the other thread comes for it in time is for the system to say
        os.posix_fadvise(cold.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        store = FileResource(os.dup(cold.fd), committed=True)
        with store, SyncReader(store) as reader:
            assert DATA[:1] == read(store, 0, 1), "it is mapped by now"
            reader.seek(MIDDLE)
            before = len(steps)
            if not store.is_near(MIDDLE, MIDDLE + 10):
                assert DATA[MIDDLE : MIDDLE + 10] == reader.read(10)
                given = before < len(steps)
        del store, reader  # and the mapping: mapped pages are not dropped
        if given:
            break
    assert given
