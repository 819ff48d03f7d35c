"""Ends: closing, forgetting, forking, leaving the process, and what must not be left behind."""

import asyncio
import gc
import os
import random
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import pytest
from support.faultserver import FaultServer, head, send, stall
from support.leaks import Holdings, descriptors_below, settle
from support.waiting import Background, eventually, liveness

import kithara
from kithara import FileOptions, FileSource
from kithara.cli.origin import Origin
from kithara.errors import Cancelled, Closed, ForkedHandle, KitharaError, WouldDeadlock
from kithara.portal import portal

DATA = random.Random(3).randbytes(3_000_000)


@pytest.fixture
def stalled():
    """The URL of 1000 bytes of which 10 come."""
    with FaultServer() as server:
        server.on("/a", head(200, length=1000), send(DATA[:10]), stall())
        yield server.url("/a")


def python(script, *arguments, options=("-X", "dev", "-W", "error"), timeout=30):
    """Run *script* in an interpreter of its own and give how it ended."""
    code = textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, *options, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=Path(kithara.__file__).parent.parent,
    )


def test_closing_from_another_thread_ends_a_read_at_once(stalled):
    reader = kithara.open(stalled, store=False)
    reading = Background(reader.read)
    eventually(lambda: reader.store.wanted())
    closing = Background(reader.close)
    with pytest.raises(Closed):
        reading.result()
    closing.result()
    assert liveness(0.1) > reading.ended - closing.started


def test_close_returns_within_a_second_although_the_server_stalls(stalled, store):
    reader = kithara.open(stalled, store=store)
    assert DATA[:10] == reader.read(10)
    closing = Background(reader.close)
    closing.result()
    assert liveness(1.0) > closing.seconds


@pytest.mark.parametrize("asked", [-1, 100])
def test_a_closed_reader_gives_its_descriptors_back_without_a_garbage_collection(store, asked):
    with Origin({f"{number}.bin": DATA[:100_000] for number in range(5)}) as origin:
        gc.collect()
        before = descriptors_below(store.root)
        gc.disable()
        try:
            for number in range(5):
                with kithara.open(origin.url(f"{number}.bin"), store=store) as reader:
                    reader.read(asked)
                del reader
            # Those of the last one, at most: its task may still hold what it ended with.
            settle(lambda: [name for name in descriptors_below(store.root) if name not in before][3:])
        finally:
            gc.enable()


def test_a_session_that_ends_tells_those_who_still_wait(stalled, store):
    async def run():
        async with FileSource.open(stalled, None, store) as session:
            reader = session.source()
            waiting = Background(lambda: reader.read(100))
            await asyncio.to_thread(eventually, lambda: reader.store.wanted())
        with reader, pytest.raises(Cancelled):
            await asyncio.to_thread(waiting.result)

    asyncio.run(run())


def test_opening_again_while_the_last_one_closes_is_a_new_session(store):
    options = FileOptions(complete=False)
    with Origin({"a": DATA}, delay=0.002) as origin:
        url = origin.url("a")

        def visit(seed):
            chance = random.Random(seed)
            for _ in range(15):
                with kithara.open(url, store=store, options=options) as reader:
                    position = chance.randrange(len(DATA) - 100)
                    reader.seek(position)
                    assert DATA[position : position + 100] == reader.read(100)

        for visitor in [Background(lambda seed=seed: visit(seed)) for seed in range(4)]:
            visitor.result(30)


async def test_open_works_inside_a_running_loop(store):
    with Origin({"a": DATA[:1000]}) as origin, kithara.open(origin.url("a"), store=store) as reader:
        assert DATA[:1000] == reader.read()


def test_open_on_the_portals_own_thread_would_deadlock():
    async def inside():
        return kithara.open("http://127.0.0.1:9/")

    with pytest.raises(WouldDeadlock):
        portal().run(inside())


def test_a_forgotten_reader_warns_and_leaves_nothing(stalled):
    before = Holdings.now()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        kithara.open(stalled, store=False)
        gc.collect()
        assert ["ResourceWarning"] == [warning.category.__name__ for warning in told]
        told.clear()  # a recorded warning holds its source
    settle(lambda: Holdings.now().more_than(before))


def test_an_interrupted_open_leaves_nothing(store):
    with FaultServer() as server:
        server.on("/a", stall())
        before = Holdings.now()
        with pytest.raises(KitharaError):
            kithara.open(server.url("/a"), store=store, timeout=0.1)
        settle(lambda: Holdings.now().more_than(before))
        assert [] == store.assets()


@pytest.mark.parametrize("kept", [True, False])
def test_two_hundred_opens_leave_nothing_behind(kept, store):
    with Origin({"a": DATA[:50_000]}) as origin:

        def visit():
            with kithara.open(origin.url("a"), store=store if kept else False) as reader:
                reader.seek(40_000)
                assert DATA[40_000:40_010] == reader.read(10)

        visit()
        before = Holdings.now()
        tasks = len(asyncio.all_tasks(portal().loop))
        for _ in range(200):
            visit()
        settle(lambda: Holdings.now().more_than(before))
        assert tasks >= len(asyncio.all_tasks(portal().loop))


@pytest.mark.parametrize("blocked", ["in a read", "in an open"])
def test_the_process_ends_within_a_second_while_a_thread_waits(stalled, blocked, tmp_path):
    script = """
        import sys, threading, time, kithara
        url, root, blocked = sys.argv[1:]
        began = threading.Event()
        def read():
            try:
                with kithara.open(url, store=kithara.AssetStore(root)) as reader:
                    began.set()
                    reader.read()
            except kithara.KitharaError as error:
                print(type(error).__name__)
        thread = threading.Thread(target=read)
        thread.start()
        if blocked == "in a read":
            assert began.wait(10)
        else:
            time.sleep(0.3)
        print(time.time(), flush=True)
    """
    with FaultServer() as server:
        server.on("/never", stall())
        url = stalled if blocked == "in a read" else server.url("/never")
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), url, str(tmp_path / "cache"), blocked],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(kithara.__file__).parent.parent,
        )
        with process:
            assert process.stdout.readline()
            leaving = Background(lambda: process.wait(30))
            assert 0 == leaving.result(20)
            assert "" == process.stderr.read()
        assert liveness(1.0) + 0.3 > leaving.seconds


def test_what_was_fetched_before_the_process_ended_is_there_in_the_next(tmp_path):
    script = """
        import sys, kithara
        store = kithara.AssetStore(sys.argv[2])
        reader = kithara.open(sys.argv[1], store=store, options=kithara.FileOptions(complete=False))
        reader.seek(1_000_000)
        reader.read(100_000)
        reader.store.wait_range(1_000_000, 1_100_000)
        sys.modules["keep"] = reader  # nobody closes it
    """
    with Origin({"a": DATA}) as origin:
        ended = python(script, origin.url("a"), str(tmp_path / "cache"), options=())
        assert (0, "") == (ended.returncode, ended.stderr)
        with kithara.AssetStore(tmp_path / "cache") as store:
            with kithara.open(origin.url("a"), store=store, offline=True) as reader:
                assert reader.contains_range(1_000_000, 1_100_000)


def test_a_script_that_closes_nothing_ends_quietly(tmp_path):
    script = """
        import sys, kithara
        with kithara.open(sys.argv[1], store=kithara.AssetStore(sys.argv[2])) as reader:
            assert 3_000_000 == len(reader.read())
    """
    with Origin({"a": DATA}) as origin:
        ended = python(script, origin.url("a"), str(tmp_path / "cache"))
    assert (0, "") == (ended.returncode, ended.stderr)


def in_child(action):
    """Run *action* in a forked child; True when it returned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return pid


def test_four_forked_workers_read_one_cache(store):
    with Origin({"a": DATA}) as origin:
        with kithara.open(origin.url("a"), store=store) as reader:
            assert DATA[:10] == reader.read(10)

            def work(number):
                with kithara.open(origin.url("a"), store=store) as own:
                    for step in range(20):
                        position = (number * 700_000 + step * 35_000) % (len(DATA) - 1000)
                        own.seek(position)
                        assert DATA[position : position + 1000] == own.read(1000)

            children = [in_child(lambda number=number: work(number)) for number in range(4)]
            assert [0] * 4 == [os.waitpid(child, 0)[1] for child in children]
            assert DATA[10:20] == reader.read(10)
            reader.seek(0)
            assert DATA == reader.read()


def test_a_handle_from_before_a_fork_raises_in_the_child(store):
    with Origin({"a": DATA}) as origin, kithara.open(origin.url("a"), store=store) as reader:
        reader.read(10)

        def use():
            for call in (
                reader.read,
                lambda: reader.seek(0),
                lambda: reader.wait_range(0, 10),
                reader.available_ranges,
            ):
                with pytest.raises(ForkedHandle):
                    call()
            reader.close()

        assert 0 == os.waitpid(in_child(use), 0)[1]
        assert DATA[10:20] == reader.read(10)


def test_closing_inherited_handles_in_a_child_takes_nothing_from_the_parent(store):
    with Origin({"a": DATA}, rate=3_000_000) as origin:
        reader = kithara.open(origin.url("a"), store=store)
        reading = Background(reader.read)
        eventually(lambda: reader.contains_range(0, 100_000))

        def leave():
            reader.close()
            gc.collect()

        assert 0 == os.waitpid(in_child(leave), 0)[1]
        assert DATA == reading.result()
        reader.close()


def test_events_reach_a_callback_that_sometimes_fails(store, caplog):
    caplog.set_level("CRITICAL", "kithara")
    heard = []
    done = threading.Event()

    def listen(event):
        heard.append(type(event).__name__)
        if "Committed" in heard:
            done.set()
        raise RuntimeError("a bad listener")

    with Origin({"a": DATA}) as origin, kithara.open(origin.url("a"), store=store, on_event=listen) as reader:
        reader.read()
        assert done.wait(liveness(5))
    assert {"Response", "Committed", "PhaseChanged", "Started"} <= set(heard)
    eventually(lambda: "kithara-events" not in {thread.name for thread in threading.enumerate()})
