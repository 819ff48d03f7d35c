"""Scripts in interpreters of their own: for exits, signals, forks and faults that must not touch the test run."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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


class Talker:
    """A process that runs *script* with *arguments* and is talked to line by line; killed in the end."""

    def __init__(self, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def say(self, line: str) -> None:
        """Give it *line*."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def heard(self) -> str:
        """The next line it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().removesuffix("\n")

    def kill(self) -> None:
        """End it without a chance to do anything."""
        self.process.kill()
        self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def says(expected: str, *scripts: str, arguments: Sequence[str] = ()) -> Ended:
    """Run *scripts*, which must end well and print *expected*."""
    ended = python(*scripts, arguments=arguments)
    assert (0, expected) == (ended.code, ended.out.strip()), ended.err
    return ended
