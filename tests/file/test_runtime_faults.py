"""What threads, loops and processes do to a file that is arriving: rows C of docs/http.md that need a server."""

from __future__ import annotations

import asyncio
import random
import selectors
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.children import Ended, python
from support.faultserver import Citizen, Exchange
from support.oracles import Case, expect_bytes, watched
from support.waiting import Background, eventually

import kithara
from kithara import AssetStore, FileOptions, FileSource, HttpOptions
from kithara.portal import portal

DATA = random.Random(12).randbytes(2_000_000)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with Case.on_a_server(tmp_path, DATA) as case:
        yield case


def test_ten_thousand_random_seeks_of_one_reader_give_the_bytes_of_their_places(case: Case) -> None:  # C1
    case.server.serve(case.path, DATA)
    missed = 0
    with AssetStore(case.root) as store, kithara.open(case.url, store=store) as file:
        dice = random.Random(1)
        for _ in range(10_000):
            position, size = dice.randrange(len(DATA)), dice.choice((1, 100, 5000))
            missed += not file.contains_range(position, min(len(DATA), position + size))
            file.seek(position)
            expect_bytes(DATA, position, file.read(size))
    assert case.server.sent <= 1.1 * len(DATA) + (64 << 10) * missed
    assert case.server.most_open <= 3


def test_sixty_four_readers_are_one_download_and_a_slow_one_holds_up_nobody(case: Case) -> None:  # C2
    case.server.serve(case.path, DATA, delay=0.001)
    with AssetStore(case.root) as store, ThreadPoolExecutor(63) as threads:
        slow = kithara.open(case.url, store=store)
        assert slow.read(10) == DATA[:10]

        def read_all() -> bool:
            with kithara.open(case.url, store=store) as file:
                return file.read() == DATA

        assert all(threads.map(lambda _: read_all(), range(63), timeout=40))
        assert slow.read() == DATA[10:]
        slow.close()
    assert case.server.sent <= len(DATA) + (64 << 10)


def test_five_hundred_resources_at_once_are_bounded(case: Case) -> None:  # C3
    data = DATA[:20_000]
    for number in range(500):
        case.server.serve(f"/{number}", data)

    def read_all() -> None:
        with AssetStore(case.root) as store:
            urls = [case.server.url(f"/{number}") for number in range(500)]
            files = [kithara.open(url, store=store, blocking=False, http=HttpOptions(connections=6)) for url in urls]
            threads = threading.active_count()
            for file in files:
                file.wait_range(0, len(data), 30)
                assert file.read() == data
            assert threading.active_count() <= threads + 40
            for file in files:
                file.close()

    with watched(case):
        read_all()
    assert case.server.most_open <= 6


def test_a_loop_that_stands_still_makes_no_timeout_of_what_has_come_meanwhile(case: Case) -> None:  # C7
    """The socket holds the bytes; only the loop had no time to look."""

    def in_two(exchange: Exchange) -> None:
        start, stop = exchange.request.range or (0, None)
        write, half = exchange.write, 0

        def halting(data: bytes, **how: bool) -> None:
            nonlocal half
            half += len(data)
            if half > 40_000:
                exchange.server.open_gate("half")
                exchange.server.pass_gate("rest")
            write(data, **how)

        if (stop or len(DATA)) - start > 20_000:
            exchange.write = halting  # type: ignore[method-assign]
        Citizen(DATA)(exchange)

    case.server.on(case.path, in_two)
    http = HttpOptions(idle=1.0, retries=0)
    with kithara.open(case.url, store=False, http=http) as file:
        reading = Background(lambda: file.read(300_000))
        case.server.pass_gate("half")
        stands = threading.Event()

        def stand_still() -> None:
            stands.set()
            time.sleep(1.6)  # the loop's own thread: that is the fault

        portal().loop.call_soon_threadsafe(stand_still)
        assert stands.wait(5)
        case.server.open_gate("rest")
        assert reading.result() == DATA[:300_000]


def test_a_thread_that_exits_in_the_middle_of_reading_leaves_nothing(case: Case, monkeypatch) -> None:  # C10
    monkeypatch.setattr(threading, "excepthook", lambda failed: None)  # pytest's would keep the frames
    case.server.serve(case.path, DATA)

    def exit_midway(store: AssetStore) -> None:
        with kithara.open(case.url, store=store) as file:
            file.read(1000)
            raise SystemExit

    with watched(case):
        with AssetStore(case.root) as store:
            for _ in range(8):
                thread = threading.Thread(target=exit_midway, args=(store,))
                thread.start()
                thread.join(10)
                assert not thread.is_alive()


def in_a_sub_interpreter(code: str) -> Ended:
    return python(
        f"""
        import sys
        name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
        interpreters = __import__(name)
        number = interpreters.create()
        # Before 3.13 what was raised there is raised here, from then on it is given back.
        try:
            error = interpreters.run_string(number, f"import sys; sys.path[:] = {{sys.path!r}}; {code}")
        except interpreters.RunFailedError if sys.version_info < (3, 13) else () as failed:
            error = failed
        assert error is None or "ImportError" in str(error), error
        interpreters.destroy(number)
        print("alive")
        """
    )


def test_a_sub_interpreter_is_refused_or_works_and_kills_nothing() -> None:  # C22
    if in_a_sub_interpreter("import ssl").code:
        pytest.skip("this Python dies of its own ssl in a sub-interpreter")  # 3.12.1: free(): invalid pointer
    ended = in_a_sub_interpreter("import kithara; kithara.open")
    assert (ended.code, ended.out.strip()) == (0, "alive"), ended.err


def test_a_task_that_is_cancelled_while_bytes_come_publishes_whole_pieces_only(case: Case) -> None:  # C23
    case.server.serve(case.path, DATA, rate=20e6, piece=4096)

    async def stop_midway(session: kithara.FileSession, after: int) -> None:
        got = 0
        async for chunk in session.stream():
            expect_bytes(DATA, got, chunk)
            got += len(chunk)
            if got >= after:
                return

    async def once(store: AssetStore, after: int) -> None:
        async with FileSource.open(case.url, FileOptions(complete=False), store) as session:
            task = asyncio.ensure_future(stop_midway(session, after))
            await asyncio.wait({task}, timeout=0.01 * (after % 7))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    for number in range(8):
        with AssetStore(case.root) as store:
            asyncio.run(once(store, 50_000 * (number + 1)))
        case.kept()  # compares every byte that is held


def test_another_kind_of_loop_works_too(case: Case) -> None:  # C24
    case.server.serve(case.path, DATA)

    async def read_all() -> bytes:
        async with FileSource.open(case.url) as session:
            return b"".join([chunk async for chunk in session.stream()])

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        assert runner.run(read_all()) == DATA
    assert eventually(lambda: case.server.open_now() == 0)
