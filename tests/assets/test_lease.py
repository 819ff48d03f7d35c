"""Locks between threads, stores and processes."""

import gc
import os
import signal
import subprocess
import sys
import threading

import pytest
from support.leaks import descriptors_below

from kithara.assets.lease import PIN, WRITER, LockTable
from kithara.errors import Busy, CacheCorrupt
from kithara.storage.files import Directory


@pytest.fixture
def directory(tmp_path):
    with Directory.open(tmp_path) as directory:
        yield directory


@pytest.fixture
def table(directory):
    table = LockTable(directory)
    yield table
    table.close()


@pytest.fixture
def other(directory):
    """A second store of the same process."""
    table = LockTable(directory)
    yield table
    table.close()


def test_readers_share_and_keep_an_evictor_out(table, other):
    with table.shared(PIN, "a"), table.shared(PIN, "a"), other.shared(PIN, "a"):
        assert table.try_exclusive(PIN, "a") is None
        assert other.try_exclusive(PIN, "a") is None
        assert other.try_exclusive(PIN, "b") is not None
    with table.try_exclusive(PIN, "a"):
        assert other.try_exclusive(PIN, "a") is None


def test_the_last_of_two_readers_frees_the_asset(table, other):
    first, second = table.shared(PIN, "a"), table.shared(PIN, "a")
    first.release()
    first.release()
    assert other.try_exclusive(PIN, "a") is None
    assert other.is_held(PIN, "a")
    second.release()
    assert other.try_exclusive(PIN, "a") is not None


def test_a_writer_is_alone_in_its_own_store_too(table):
    with table.try_exclusive(WRITER, "a"):
        assert table.try_exclusive(WRITER, "a") is None
        assert table.try_shared(WRITER, "a") is None
        assert table.is_held(WRITER, "a")
    assert not table.is_held(WRITER, "a")


def test_regions_do_not_touch_each_other(table):
    with table.try_exclusive(WRITER, "a"), table.try_exclusive(PIN, "a"):
        pass


def test_a_forgotten_lock_is_let_go(table, other):
    lock = table.shared(PIN, "a")
    del lock
    gc.collect()
    assert other.try_exclusive(PIN, "a") is not None


def test_a_reader_waits_out_an_eviction(table):
    lock = table.try_exclusive(PIN, "a")
    threading.Timer(0.05, lock.release).start()
    with table.shared(PIN, "a") as held:
        assert held.held


def test_waiting_for_an_eviction_that_does_not_end_is_busy(table, other):
    with other.try_exclusive(PIN, "a"), pytest.raises(Busy, match="a is being removed"):
        table.shared(PIN, "a", timeout=0.03)


def test_killed_holders_hold_nothing(table, tmp_path):
    code = (
        "import sys, time\n"
        "from kithara.assets.lease import *\n"
        "from kithara.storage.files import Directory\n"
        f"table = LockTable(Directory.open({str(tmp_path)!r}))\n"
        "lock = table.shared(PIN, 'a')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        assert table.try_exclusive(PIN, "a") is None
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        assert table.try_exclusive(PIN, "a") is not None


def test_a_forked_child_neither_holds_nor_frees_its_parents_locks(table):
    lock = table.shared(PIN, "a")
    done, tell = os.pipe()
    child = os.fork()
    if child == 0:
        lock.release()  # must not unlock the parent's range
        own = table.try_shared(PIN, "a") is not None
        refused = table.try_exclusive(PIN, "a") is None
        os.write(tell, bytes([own and refused]))
        signal.pause()
    try:
        assert os.read(done, 1) == b"\1"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(done)
        os.close(tell)
    assert lock.held
    assert table.try_exclusive(PIN, "a") is None
    lock.release()
    assert table.try_exclusive(PIN, "a") is not None


def test_a_child_that_lives_on_does_not_keep_its_parents_locks(table, tmp_path):
    code = (
        "import os, signal, sys\n"
        "from kithara.assets.lease import *\n"
        "from kithara.storage.files import Directory\n"
        f"table = LockTable(Directory.open({str(tmp_path)!r}))\n"
        "lock = table.shared(PIN, 'a')\n"
        "if os.fork() == 0:\n"
        "    print(os.getpid(), flush=True)\n"  # by the child: what it does after a fork is done by then
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        grandchild = int(parent.stdout.readline())
        parent.kill()
        parent.wait(10)
        try:
            assert table.try_exclusive(PIN, "a") is not None
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_a_link_planted_as_the_lock_file_is_refused(directory, table, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "locks").symlink_to(victim)
    with pytest.raises(CacheCorrupt, match="symbolic link"):
        table.try_shared(PIN, "a")
    assert victim.read_bytes() == b"precious"


def test_many_held_locks_cost_one_descriptor(table, tmp_path):
    table.shared(PIN, "first").release()
    before = descriptors_below(tmp_path)
    locks = [table.shared(PIN, str(number)) for number in range(2000)]
    assert before == descriptors_below(tmp_path)
    assert len({id(lock) for lock in locks}) == 2000
