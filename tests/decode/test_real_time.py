"""An audio callback beside busy threads and processes: no underrun, and nothing beneath it that could make one."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support import corpus
from support.tools import require

import kithara.decode as decode
from kithara._core import ring

PERIOD = 0.02
FRAMES = round(44_100 * PERIOD)


def _spin(stop) -> None:
    while not stop.is_set():
        sum(range(1000))


def play(seconds: float) -> tuple[decode.AudioStats, int, float]:
    """A callback every 20 ms beside a busy thread and a busy process: stats, calls that came short, the slowest one."""
    context = multiprocessing.get_context("spawn")
    stop_process, stop_thread = context.Event(), threading.Event()
    process = context.Process(target=_spin, args=(stop_process,), daemon=True)
    thread = threading.Thread(target=_spin, args=(stop_thread,))
    process.start()
    short, worst = 0, 0.0
    try:
        with decode.AudioStream(corpus.file("mp3-cbr", seconds=60).path, buffer=0.5) as stream:
            out = np.empty((FRAMES, 2), "float32")
            while stream.buffered < 0.4:
                threading.Event().wait(0.005)
            thread.start()
            due = time.monotonic()
            stop = due + seconds
            while due < stop:
                enough = stream.buffered > 0.1
                before = time.perf_counter()
                got = stream.readinto(out)
                worst = max(worst, time.perf_counter() - before)
                short += enough and got < FRAMES and not stream.ended
                due += PERIOD
                threading.Event().wait(max(due - time.monotonic(), 0))
            return stream.stats(), short, worst
    finally:
        stop_thread.set()
        stop_process.set()
        if thread.ident is not None:
            thread.join()
        process.join(10)


def test_a_callback_beside_a_busy_thread_and_a_busy_process_never_runs_dry():
    stats, short, _ = play(3)
    assert (0, None) == (short, stats.failed)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_minute_of_callbacks_never_runs_dry():
    stats, short, _ = play(60)
    assert (0, None) == (short, stats.failed)


def test_the_function_beneath_a_callback_calls_nothing_that_allocates_or_locks(tmp_path):
    """Compiled by itself, it refers to nothing but memory copies and the post of a semaphore."""
    require("gcc")
    require("nm")
    header = Path(ring.__file__).with_name("ring.h")
    source, made = tmp_path / "callback.c", tmp_path / "callback.o"
    source.write_text(
        f'#include "{header}"\n'
        "uint64_t callback(kt_ring *r, uint8_t *target, uint64_t n) { return kt_ring_fill(r, target, n); }\n"
    )
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wno-unused-function", "-c", source, "-o", made], check=True)
    told = subprocess.run(["nm", "--undefined-only", made], check=True, capture_output=True, text=True).stdout
    assert {"memcpy", "memset", "sem_post"} >= set(re.findall(r"U (\w+)", told)) >= {"memcpy"}


INTERPOSER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
static long count;
long counted(void) { return count; }
void *malloc(size_t n) { static void *(*real)(size_t); if (!real) real = dlsym(RTLD_NEXT, "malloc");
    count++; return real(n); }
void *realloc(void *p, size_t n) { static void *(*real)(void *, size_t); if (!real) real = dlsym(RTLD_NEXT, "realloc");
    count++; return real(p, n); }
"""

COUNTING = """
import ctypes, os, sys
import numpy as np
from kithara._core.ring import RingBuffer
counted = ctypes.CDLL(os.environ["COUNTER"]).counted
counted.restype = ctypes.c_long
ring, out = RingBuffer(1 << 16), np.empty((512, 2), "float32")
block = bytes(4096)
for _ in range(100):
    ring.write(block); ring.fill(out); counted()
worst = 0
for turn in range(2000):
    if turn % 3:
        ring.write(block)
    before = counted()
    ring.fill(out)
    worst = max(worst, counted() - before)
print(worst)
"""


def test_filling_from_the_ring_calls_malloc_never(tmp_path):
    """Counted by an interposed malloc, around the Python call and so around all beneath it."""
    require("gcc")
    source, library = tmp_path / "counter.c", tmp_path / "counter.so"
    source.write_text(INTERPOSER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
    root = Path(ring.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING],
        env={"LD_PRELOAD": str(library), "COUNTER": str(library), "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "0" == done.stdout.strip()
