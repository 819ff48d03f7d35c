"""What must hold whatever a server does, checked in one place.

O1 every byte handed out equals the representation's byte at that offset; O2 an empty read comes only at the true end;
O4 memory stays bounded; O5 every wait ends within its limit and a second; O6 nothing is left behind; O7 after a restart
the asset is whole, resumable or absent, never wrong; O8 an error is a typed one of ours that says where and shows no
secret; O9 nothing outside the cache's root is touched; O10 offline means no connection. (O3, that the process lives,
needs no helper.)
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.faultserver import FaultServer
from support.leaks import Holdings, settle
from support.waiting import liveness

import kithara
from kithara import AssetStore, HttpOptions
from kithara.errors import KitharaError, NetError, OfflineMiss, redact_url

SECRET = "S3CRET"
_WORKERS = "thread asyncio_"  # of the process's one loop, made when first needed and kept
QUICK = HttpOptions(connect=2.0, headers=0.4, idle=0.4, retries=1)
"""Limits so small that no test waits for long: with one retry the longest wait is about a second."""


@dataclass(frozen=True)
class Played:
    """What came of reading a URL from its start to its end.

    Attributes:
        data: The bytes, as far as they came; already compared with what they should be.
        error: What ended it, or None at the true end.
        seconds: How long it took, closing included.
    """

    data: bytes
    error: BaseException | None
    seconds: float

    @property
    def cause(self) -> BaseException | None:
        """The error beneath `RetryExhausted` and beneath the copies that each reader gets."""
        error = self.error
        while error is not None and error.__cause__ is not None and isinstance(error.__cause__, KitharaError):
            error = error.__cause__
        return error


class Case:
    """One resource on one server, and one cache to keep it in.

    Its URL carries a secret in the query. `play` checks O1, O2, O5 and O8, `restart` O7, O1 and O10; `watched` O6 and
    O9 around everything.
    """

    def __init__(self, server: FaultServer, folder: Path, data: bytes, *, path: str = "/song") -> None:
        self.server = server
        self.path = path
        self.data = data
        self.url = server.url(f"{path}?token={SECRET}")
        self.folder = folder
        self.root = folder / "cache"

    @classmethod
    @contextlib.contextmanager
    def on_a_server(cls, folder: Path, data: bytes) -> Iterator[Case]:
        """A case on a server of its own."""
        with kithara.open(__file__) as file:  # what is made once for the process is there before leaks are counted
            file.read(1)
        with FaultServer() as server:
            yield cls(server, folder, data)

    def play(
        self,
        *,
        http: HttpOptions = QUICK,
        within: float | None = None,
        seed: int = 0,
        cache: bool = True,
        **options: Any,
    ) -> Played:
        """Open the URL and read it to its end in pieces of random sizes."""
        began = time.monotonic()
        got = bytearray()
        error: BaseException | None = None
        dice = random.Random(seed)
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(AssetStore(self.root)) if cache else False
            try:
                with kithara.open(self.url, store=store, http=http, **options) as file:
                    while piece := file.read(dice.choice((1, 7, 1000, 16384, 70000))):
                        expect_bytes(self.data, len(got), piece)
                        got += piece
                    expect_end(self.data, len(got))
            except KitharaError as exc:
                error = exc
                expect_proper(exc, self.url)
                drop_frames(exc)
        seconds = time.monotonic() - began
        bound = liveness(longest_wait(http) + 1 if within is None else within)
        assert seconds < bound, f"took {seconds:.1f} s, allowed are {bound:.1f} s"
        return Played(bytes(got), error, seconds)

    def kept(self) -> str:
        """What a restarted process finds offline: ``"whole"``, ``"part"``, ``"nothing"``; never wrong (O7, O10)."""
        before = self.server.accepted
        with AssetStore(self.root) as store:
            try:
                with kithara.open(self.url, store=store, offline=True, blocking=False) as file:
                    ranges = file.available_ranges()
                    for start, stop in ranges:
                        file.seek(start)
                        expect_bytes(self.data, start, file.read(stop - start) or b"")
                    state = "whole" if ranges == [(0, len(self.data))] else "part"
            except OfflineMiss:
                state = "nothing"
        assert self.server.accepted == before, "a connection although offline"
        return state

    def restart(self) -> None:
        """The cache is sane, and once the server is, too, the whole arrives (O7)."""
        state = self.kept()
        self.server.serve(self.path, self.data)
        before = self.server.accepted
        played = self.play()
        assert (played.error, played.data == self.data) == (None, True)
        if state == "whole":
            assert self.server.accepted == before, "fetched again although it was here"
        assert self.kept() == "whole"

    def part_files(self) -> list[str]:
        """What the cache holds on disk of resources, finished or not."""
        return [
            os.path.join(where, name)
            for where, _, names in os.walk(self.root)
            for name in names
            if os.path.getsize(os.path.join(where, name)) >= len(self.data) // 2
        ]


@contextlib.contextmanager
def watched(case: Case) -> Iterator[None]:
    """Nothing is left behind (O6) and nothing but the cache's root is touched (O9)."""
    (case.folder / "neighbour").write_text("mine")
    before, held = _outside(case), Holdings.now()
    yield
    settle(lambda: [what for what in Holdings.now().more_than(held) if _WORKERS not in what])
    assert _outside(case) == before


def _outside(case: Case) -> dict[str, tuple[int, int]]:
    found = {}
    for where, folders, names in os.walk(case.folder):
        folders[:] = [name for name in folders if os.path.join(where, name) != str(case.root)]
        for name in names:
            state = os.stat(os.path.join(where, name))
            found[os.path.join(where, name)] = (state.st_size, state.st_mtime_ns)
    return found


def longest_wait(http: HttpOptions) -> float:
    """The longest that a server can make one read wait: every attempt to its limit, and the pauses between them."""
    attempts = http.retries + 1
    pauses = sum(min(8.0, 0.25 * 2**n) for n in range(http.retries))
    return attempts * max(http.connect, http.headers, http.idle) + pauses


def expect_bytes(data: bytes, position: int, piece: bytes) -> None:
    """O1: *piece* is what *data* has at *position*."""
    expected = data[position : position + len(piece)]
    if expected != piece:
        first = next((n for n, (a, b) in enumerate(zip(expected, piece, strict=False)) if a != b), len(expected))
        raise AssertionError(f"wrong byte at {position + first} in a piece of {len(piece)} from {position}")


def expect_end(data: bytes, position: int) -> None:
    """O2: the end is where it should be."""
    assert position == len(data), f"an empty read at {position} of {len(data)}"


def expect_proper(error: BaseException, url: str | None = None) -> None:
    """O8: *error* is typed, says where, and nothing in it or on it holds a secret."""
    assert isinstance(error, KitharaError)
    assert str(error)
    if isinstance(error, NetError):
        assert error.operation is not None, repr(error)
    if url is not None and error.url is not None:
        assert error.url.split("?")[0].startswith(redact_url(url).split("?")[0].rsplit("/", 1)[0])
    assert SECRET not in everything_said(error)


def everything_said(error: BaseException) -> str:
    """*error* in every form in which a program may show it, with all that hangs on it."""
    said: list[str] = []
    chain: list[BaseException] = [error]
    seen: set[int] = set()
    while chain:
        one = chain.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        said += [str(one), repr(one), repr(vars(one)), *traceback.format_exception(one)]
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(said)


def drop_frames(error: BaseException | None) -> None:
    """Keep *error* from keeping alive what the code that raised it had open."""
    while error is not None:
        error.__traceback__ = None
        drop_frames(error.__context__)
        error = error.__cause__


def private_memory() -> int:
    """Bytes of memory that are this process's own (O4): pages of files do not count."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty"))
