"""Many threads and processes do everything to one cache at once, some are killed: no byte is ever wrong."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import faults

import kithara
from kithara.assets import AssetStore

DRIVER = Path(faults.__file__).with_name("cachestress.py")


def start(root, seed, seconds):
    environment = {**os.environ, "PYTHONPATH": str(Path(kithara.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(root), str(seed), str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip


def finish(process):
    output, _ = process.communicate(timeout=100)
    assert 0 == process.returncode, output


@pytest.mark.timeout(120)
def test_four_threads_on_two_stores_never_see_a_wrong_byte(tmp_path):
    finish(start(tmp_path / "cache", 1, 3))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_processes_that_are_killed_at_random_never_see_a_wrong_byte(tmp_path):
    root = tmp_path / "cache"
    chance = random.Random(5)
    end = time.monotonic() + 40
    processes = [start(root, 100 * number, 40) for number in range(3)]
    kills = 0
    while time.monotonic() < end:
        victim = chance.randrange(3)
        try:
            output, _ = processes[victim].communicate(timeout=chance.uniform(0.5, 2))
            assert 0 == processes[victim].returncode, output
        except subprocess.TimeoutExpired:
            processes[victim].kill()
            kills += 1
            output, _ = processes[victim].communicate()
            assert "" == output
        processes[victim] = start(root, 1000 + kills, max(1.0, end - time.monotonic()))
    for process in processes:
        finish(process)
    assert kills > 5
    with AssetStore(root) as store:
        store.verify()
        assert [] == store.verify()
