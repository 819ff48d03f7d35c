"""What a test must not leave behind: file descriptors, threads, mappings of files, temporary files of the cache."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from support.waiting import liveness

# Shared mappings that libc makes by itself, once.
FOREIGN_MAPPINGS = ("gconv-modules.cache", "/dev/")
# A pool of few threads that lasts as long as the process; how many of them have been needed so far varies.
POOL = "kithara-disk"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What this process holds at one moment, each with how often."""

    descriptors: Counter[str]
    threads: Counter[str]
    mappings: Counter[str]

    @classmethod
    def now(cls) -> Holdings:
        gc.collect()
        threads = (thread.name for thread in threading.enumerate())
        return cls(Counter(_descriptors()), Counter(name for name in threads if not name.startswith(POOL)), _mappings())

    def more_than(self, before: Holdings) -> list[str]:
        """What is here now and was not *before*, in words."""
        return [
            f"{count} × {kind} {what}"
            for kind, now, then in (
                ("descriptor", self.descriptors, before.descriptors),
                ("thread", self.threads, before.threads),
                ("mapping", self.mappings, before.mappings),
            )
            for what, count in (now - then).items()
        ]


def descriptors_below(folder: str | os.PathLike[str]) -> list[str]:
    """The files in *folder* that this process has open, removed ones too: whatever else goes on, these are a test's."""
    return sorted(target for target in _descriptors() if target.startswith(f"{os.fspath(folder)}/"))


def _descriptors() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor that listed the folder
        kind, bracket, _ = target.partition("[")
        yield kind if bracket else target  # inode numbers of sockets and pipes differ each time


def _mappings() -> Counter[str]:
    """Files mapped MAP_SHARED: libraries are mapped private, so these are ours or SQLite's."""
    found: Counter[str] = Counter()
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[1].endswith("s"):
                path = fields[5].strip()
                if not any(part in path for part in FOREIGN_MAPPINGS):
                    found[path] += 1
    return found


@contextmanager
def no_leaks(timeout: float = 2.0) -> Iterator[None]:
    """Fails when the block leaves more descriptors, threads or mappings than it found.

    Threads and sockets may take up to *timeout* seconds × the liveness factor to go. Things made once for the whole
    process (the portal's loop) must be there already: run the action once before.
    """
    before = Holdings.now()
    yield
    settle(lambda: Holdings.now().more_than(before), timeout)


def settle(leaks: Callable[[], list[str]], timeout: float = 2.0) -> None:
    """Wait until *leaks* gives nothing; fails with what it still gives after *timeout* × the liveness factor."""
    pause = threading.Event()
    for _ in range(max(1, int(liveness(timeout) / 0.02))):
        if not leaks():
            return
        pause.wait(0.02)
    left = leaks()
    assert left == [], "left behind: " + ", ".join(left)
