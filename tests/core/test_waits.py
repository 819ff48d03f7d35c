"""Every wait can be ended, by everything that may end it, soon; and waiting costs nobody anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from support.children import python, says
from support.waiting import Background, eventually

from kithara._core.memory_resource import MemoryResource
from kithara._core.reader import SyncReader
from kithara._core.store import Store
from kithara.errors import (
    Cancelled,
    Closed,
    Interrupted,
    KitharaError,
    WaitTimeout,
    WouldDeadlock,
    WriterGone,
)
from kithara.source import WaitOutcome

Liveness = Callable[[float], float]


def store_of(length: int = 1000) -> MemoryResource:
    return MemoryResource(length)


def until_waiting(store: Store, count: int = 1) -> None:
    """Until *count* waits are seen in *store*."""
    eventually(lambda: sum(want[2] == 0 for want in store.wanted()) >= count)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("close the reader", Closed),
        ("close the store", Closed),
        ("cancel", Cancelled),
        ("fail", WriterGone),
        ("interrupt", Interrupted),
    ],
)
def test_a_blocked_read_ends_within_100_ms(end: str, expected: type[KitharaError], liveness: Liveness) -> None:
    store = store_of()
    with SyncReader(store) as reader:
        background = Background(lambda: reader.read(10))
        until_waiting(store)
        ended = time.monotonic()
        match end:
            case "close the reader":
                reader.close()
            case "close the store":
                store.close()
            case "cancel":
                store.cancel()
            case "fail":
                store.fail(WriterGone("gone"))
            case "interrupt":
                reader.interrupt()
        with pytest.raises(expected):
            background.result()
        assert background.ended is not None
        assert background.ended - ended < liveness(0.1)


def test_bytes_wake_a_read_within_100_ms(liveness: Liveness) -> None:
    store = store_of()
    with SyncReader(store) as reader:
        background = Background(lambda: reader.read(10))
        until_waiting(store)
        written = time.monotonic()
        store.write_at(0, b"0123456789")
        assert b"0123456789" == background.result()
        assert background.ended is not None
        assert background.ended - written < liveness(0.1)


def test_a_seek_from_another_thread_moves_a_blocked_read_within_100_ms(liveness: Liveness) -> None:
    store = store_of()
    store.write_at(500, b"there")
    with SyncReader(store) as reader:
        background = Background(lambda: reader.read(5))
        until_waiting(store)
        sought = time.monotonic()
        reader.seek(500)
        assert b"there" == background.result()
        assert background.ended is not None
        assert background.ended - sought < liveness(0.1)


def test_a_seek_makes_a_wait_for_a_range_stale(liveness: Liveness) -> None:
    store = store_of()
    with SyncReader(store) as reader:
        background = Background(lambda: reader.wait_range(0, 10))
        until_waiting(store)
        sought = time.monotonic()
        reader.seek(500)
        assert WaitOutcome.INTERRUPTED is background.result()
        assert background.ended is not None
        assert background.ended - sought < liveness(0.1)


def test_interrupting_one_reader_leaves_the_others_waiting() -> None:
    store = store_of()
    with SyncReader(store) as first, SyncReader(store) as second:
        stopped, going = Background(lambda: first.read(1)), Background(lambda: second.read(1))
        until_waiting(store, 2)
        first.interrupt()
        with pytest.raises(Interrupted):
            stopped.result()
        assert not going.done
        store.write_at(0, b"x")
        assert b"x" == going.result()


def test_seek_interrupt_and_close_never_wait_for_a_read(liveness: Liveness) -> None:
    store = store_of()
    with SyncReader(store) as reader:
        background = Background(lambda: reader.read(1))
        until_waiting(store)
        begun = time.monotonic()
        for position in range(100):
            reader.seek(position)
        reader.interrupt()
        reader.close()
        assert time.monotonic() - begun < liveness(0.1)
        with pytest.raises((Interrupted, Closed)):
            background.result()


@pytest.mark.parametrize("timeout", [0, 0.05, 0.2])
def test_a_timed_wait_takes_its_time_and_no_more(timeout: float, liveness: Liveness) -> None:
    store = store_of()
    begun = time.monotonic()
    with pytest.raises(WaitTimeout):
        store.wait_range(0, 1, timeout)
    assert timeout <= time.monotonic() - begun + 0.001 < timeout + liveness(0.1)


@pytest.mark.parametrize("timeout", [float("nan"), "1"])
def test_a_timeout_is_a_number(timeout: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        store_of().wait_range(0, 1, timeout)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, -5.0])
def test_a_timeout_may_be_any_number(timeout: float) -> None:
    store = store_of()
    background = Background(lambda: store.wait_range(0, 1, timeout))
    if timeout < 0:
        with pytest.raises(WaitTimeout):
            background.result()
    else:
        until_waiting(store)
        store.write_at(0, b"x")
        assert WaitOutcome.READY is background.result()


def test_waiting_in_the_thread_that_brings_the_bytes_is_refused() -> None:
    store = store_of()
    store.produce(lambda: None, look_ahead=100, thread=threading.get_ident())
    with SyncReader(store) as reader:
        with pytest.raises(WouldDeadlock):
            reader.read(1)
        store.write_at(0, b"x")
        assert b"x" == reader.read(1), "what is here may be read by anybody"


def test_a_producer_whose_loop_is_closed_fails_the_store() -> None:
    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    store = store_of()
    store.produce(closed, look_ahead=100)
    with SyncReader(store) as reader, pytest.raises(WriterGone) as caught:
        reader.read(1)
    assert "failed" == store.status
    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, RuntimeError)


def test_a_thousand_waiters_each_get_their_byte(liveness: Liveness) -> None:
    store = store_of(1000)
    waits = [Background(lambda start=start: store.wait_range(start, start + 1)) for start in range(1000)]
    eventually(lambda: len(store.wanted()) == 64)  # as many as are told at once
    begun = time.monotonic()
    for start in range(0, 1000, 100):
        store.write_at(start, b"x" * 100)
    assert {WaitOutcome.READY} == {wait.result() for wait in waits}
    assert time.monotonic() - begun < liveness(5)


def test_many_rounds_lose_no_wake_up() -> None:
    """A lost one would cost its waiter seconds: two thousand rounds would not end."""
    rounds = 2000
    there, back = store_of(rounds), store_of(rounds)

    def answer() -> None:
        for step in range(rounds):
            there.wait_range(step, step + 1)
            back.write_at(step, b"b")

    background = Background(answer)
    for step in range(rounds):
        there.write_at(step, b"a")
        back.wait_range(step, step + 1)
    background.result(20)


def test_readers_of_many_threads_and_one_writer_agree() -> None:
    content = bytes(range(256)) * 400
    store = MemoryResource(len(content))

    def whole() -> bytes:
        with SyncReader(store) as reader:
            return reader.read()

    readers = [Background(whole) for _ in range(16)]
    for start in range(0, len(content), 997):
        store.write_at(start, content[start : start + 997])
    assert {content} == {reader.result(20) for reader in readers}


def test_ctrl_c_ends_a_blocked_read_within_100_ms(liveness: Liveness) -> None:
    ended = python(
        """
        store = MemoryResource(1000)
        sent = []

        def interrupt():
            blocked(store)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        reader = SyncReader(store)
        try:
            reader.read(10)
        except KeyboardInterrupt:
            print(time.monotonic() - sent[0], reader.tell())
        store.write_at(0, b"0123456789")
        assert reader.read(10) == b"0123456789"
        reader.close()
        """
    )
    assert 0 == ended.code, ended.err
    seconds, position = ended.out.split()
    assert float(seconds) < liveness(0.1)
    assert "0" == position


@pytest.mark.parametrize("call", ["reader.read(10)", "reader.readline()", "store.wait_range(0, 1)", "reader.readall()"])
def test_a_handler_that_raises_ends_every_kind_of_wait(call: str) -> None:
    says(
        "raised",
        f"""
        store = MemoryResource()
        reader = SyncReader(store)

        def handler(*_):
            raise LookupError

        signal.signal(signal.SIGUSR1, handler)
        def poke():
            blocked(store)
            os.kill(os.getpid(), signal.SIGUSR1)
        threading.Thread(target=poke).start()
        try:
            {call}
        except LookupError:
            print("raised")
        reader.close()
        """,
    )


def test_a_storm_of_signals_neither_ends_nor_prolongs_a_wait() -> None:
    says(
        "in time",
        """
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        begun = time.monotonic()
        try:
            MemoryResource(10).wait_range(0, 1, 0.5)
        except WaitTimeout:
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert len(seen) > 3, seen
            print("in time" if 0.49 < time.monotonic() - begun < 1.5 else time.monotonic() - begun)
        """,
    )


def test_a_signal_handler_may_read_others_and_is_told_when_it_would_wait_for_itself() -> None:
    says(
        "other WouldDeadlock woke",
        """
        store, other = MemoryResource(1000), MemoryResource(10)
        other.write_at(0, b"other")
        reader, second = SyncReader(store), SyncReader(other)
        said = []

        def handler(*_):
            said.append(second.read(5).decode())
            try:
                reader.read(1)
            except WouldDeadlock as error:
                said.append(type(error).__name__)
            store.write_at(0, b"woke")

        signal.signal(signal.SIGUSR1, handler)
        def poke():
            blocked(store)
            os.kill(os.getpid(), signal.SIGUSR1)
        threading.Thread(target=poke).start()
        said.append(reader.read(4).decode())
        print(*said)
        reader.close(), second.close()
        """,
    )


@pytest.mark.parametrize("call", ["reader.read(10)", "store.wait_range(0, 1)"])
@pytest.mark.parametrize("daemon", [False, True])
def test_the_process_exits_within_a_second_of_its_main_thread(call: str, daemon: bool, liveness: Liveness) -> None:
    ended = python(
        f"""
        store = MemoryResource(1000)
        reader = SyncReader(store)

        def wait():
            try:
                {call}
            except WriterGone:
                sys.stdout.write(" gone")
            reader.close()

        threading.Thread(target=wait, daemon={daemon}).start()
        blocked(store)
        sys.stdout.write(str(time.time()))
        sys.stdout.flush()
        """
    )
    now = time.time()
    assert 0 == ended.code, ended.err
    last, *gone = ended.out.split()
    assert now - float(last) < liveness(1)
    assert daemon or ["gone"] == gone


def test_a_forked_child_is_told_that_its_handles_are_the_parents() -> None:
    says(
        "ForkedHandle 8 0",
        """
        import tempfile
        file = tempfile.TemporaryFile()
        stores = [MemoryResource(100), FileResource(os.dup(file.fileno()), length=100)]
        readers = [SyncReader(store) for store in stores]
        threading.Thread(target=lambda: readers[0].read(1), daemon=True).start()
        blocked(stores[0])
        pid = os.fork()
        if pid == 0:
            told = []
            for reader, store in zip(readers, stores):
                for use in (lambda: reader.read(1), lambda: reader.seek(0), lambda: store.wait_range(0, 1),
                            lambda: store.write_at(0, b"x")):
                    try:
                        use()
                    except ForkedHandle as error:
                        told.append(type(error).__name__)
            for reader in readers:
                reader.close()
            fresh = MemoryResource(3)
            fresh.write_at(0, b"new")
            with SyncReader(fresh) as reader:
                assert reader.read() == b"new"
            print(*set(told), len(told), end=" ", flush=True)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        stores[0].write_at(0, b"x")
        print(status)
        for reader in readers:
            reader.close()
        """,
    )


def test_a_forked_child_that_inherits_a_locked_monitor_does_not_hang() -> None:
    """Forks while other threads lock and unlock the monitors all the time."""
    says(
        "20 children",
        """
        store = MemoryResource(1 << 20)
        reader = SyncReader(store)
        over = []

        def churn():
            while not over:
                store.covered_until(0), store.wanted()

        threads = [threading.Thread(target=churn) for _ in range(3)]
        for thread in threads:
            thread.start()
        children = 0
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                try:
                    reader.read(1)
                except ForkedHandle:
                    reader.close()
                    del reader, store
                    os._exit(0)
                os._exit(1)
            children += os.waitpid(pid, 0)[1] == 0
        over.append(1)
        for thread in threads:
            thread.join()
        print(children, "children")
        reader.close()
        """,
    )


def test_a_python_thread_keeps_its_speed_while_others_wait(liveness: Liveness) -> None:
    """Waiting takes no GIL. The bench says how much; here it must not be a matter of multiples."""
    ended = python(
        """
        def speed():
            count, until = 0, time.perf_counter() + 0.15
            while time.perf_counter() < until:
                count += 1
            return count

        store = MemoryResource(1000)
        readers = [SyncReader(store) for _ in range(50)]
        alone, beside = [], []
        for _ in range(5):
            alone.append(speed())
        threads = [threading.Thread(target=lambda reader=reader: reader.read(1)) for reader in readers]
        for thread in threads:
            thread.start()
        blocked(store, 50)
        for _ in range(5):
            beside.append(speed())
        store.write_at(0, b"x" * 1000)
        for thread, reader in zip(threads, readers):
            thread.join()
            reader.close()
        print(max(beside) / max(alone))
        """
    )
    assert 0 == ended.code, ended.err
    assert float(ended.out) > 0.5 / liveness(1)


def test_idle_waiters_cost_next_to_no_processor_time(liveness: Liveness) -> None:
    ended = python(
        """
        store = MemoryResource(1000)
        readers = [SyncReader(store) for _ in range(50)]
        threads = [threading.Thread(target=lambda reader=reader: reader.read(1)) for reader in readers]
        for thread in threads:
            thread.start()
        blocked(store, 50)
        before = time.process_time()
        threading.Event().wait(1.0)
        print(time.process_time() - before)
        store.write_at(0, b"x" * 1000)
        for thread, reader in zip(threads, readers):
            thread.join()
            reader.close()
        """
    )
    assert 0 == ended.code, ended.err
    assert float(ended.out) < liveness(0.1)
