"""Scripts in interpreters of their own: for exits, signals, forks and faults that must not touch the test run."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.waiting import liveness

import kithara

PREAMBLE = """
import faulthandler, os, signal, sys, threading, time
from kithara._core.reader import SyncReader
from kithara._core.file_resource import FileResource
from kithara._core.memory_resource import MemoryResource
from kithara.errors import *

def blocked(store, count=1):
    "Wait until *count* waits are seen in the store."
    while sum(want[2] == 0 for want in store.wanted()) < count:
        time.sleep(0.001)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    out: str
    err: str
    seconds: float


def python(*scripts: str, arguments: Sequence[str] = (), timeout: float = 30.0) -> Ended:
    """Run *scripts*, one behind the other, behind PREAMBLE; an exit code below 0 is the signal that killed it."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(map(textwrap.dedent, (PREAMBLE, *scripts))), *arguments],
        capture_output=True,
        text=True,
        timeout=liveness(timeout),
        cwd=Path(kithara.__file__).parent.parent,
    )
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


def says(expected: str, *scripts: str, arguments: Sequence[str] = ()) -> Ended:
    """Run *scripts*, which must end well and print *expected*."""
    ended = python(*scripts, arguments=arguments)
    assert (0, expected) == (ended.code, ended.out.strip()), ended.err
    return ended
