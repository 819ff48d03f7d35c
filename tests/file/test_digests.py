"""A file that must have a digest: nobody gets to the end of one that has another."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faultserver import FaultServer
from support.oracles import QUICK, Case

import kithara
from kithara import AssetStore, FileOptions, FileSource, HttpOptions
from kithara.errors import CacheCorrupt
from kithara.file import FileSession

DATA = random.Random(1).randbytes(300_000)
FLIPPED = DATA[:200_000] + bytes([DATA[200_000] ^ 1]) + DATA[200_001:]
SHA256 = hashlib.sha256(DATA).hexdigest()
WAYS = {
    "ranges": {},
    "whole": {"ranges": False},
    "chunks": {"ranges": False, "chunked": True},
    "until close": {"ranges": False, "length": False},
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def served(request, tmp_path: Path) -> Iterator[Case]:
    with FaultServer() as server:
        server.serve("/song", FLIPPED, **request.param)
        yield Case(server, tmp_path, FLIPPED)


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no cache"])
def test_reading_on_to_the_end_of_another_file_raises(served: Case, cache: bool) -> None:  # H20, H32, H63
    played = served.play(options=FileOptions(sha256=SHA256), cache=cache)
    assert isinstance(played.error, CacheCorrupt)
    assert played.data == FLIPPED[: len(played.data)]
    assert served.kept() == "nothing"


@pytest.mark.parametrize("how", ["read", "from the end", "tail first"])
def test_no_order_of_reading_gets_around_it(served: Case, how: str) -> None:
    options = FileOptions(sha256=SHA256)
    with AssetStore(served.root) as store, kithara.open(served.url, store=store, http=QUICK, options=options) as file:
        if how == "from the end" and file.length is not None:
            for start in range(250_000, -1, -50_000):
                file.seek(start)
                assert file.read(49_999) == FLIPPED[start : start + 49_999]
        if how == "tail first" and file.length is not None:
            file.seek(-10, 2)
            with contextlib.suppress(CacheCorrupt):  # where parts are served, it is not the last that comes
                assert file.read() == FLIPPED[-10:]
        file.seek(0)
        with pytest.raises(CacheCorrupt):
            file.read()


async def test_a_stream_raises_too(served: Case) -> None:
    got = bytearray()

    async def read_all(session: FileSession) -> None:
        async for chunk in session.stream():
            got.extend(chunk)

    async with asyncio.timeout(20), FileSource.open(served.url, FileOptions(sha256=SHA256, http=QUICK)) as session:
        with pytest.raises(CacheCorrupt):
            await read_all(session)
    assert got == FLIPPED[: len(FLIPPED) - 1]


def test_the_right_one_is_read_to_its_end_and_kept(served: Case) -> None:
    served.data = FLIPPED
    options = FileOptions(sha256=hashlib.sha256(FLIPPED).hexdigest())
    played = served.play(options=options)
    assert (played.error, played.data) == (None, FLIPPED)
    assert served.kept() == "whole"


def test_a_server_that_sends_the_right_one_the_next_time_is_believed(served: Case) -> None:  # H63
    options = FileOptions(sha256=SHA256)
    assert isinstance(served.play(options=options).error, CacheCorrupt)
    served.server.serve(served.path, DATA)
    served.data = DATA
    played = served.play(options=options)
    assert (played.error, played.data) == (None, DATA)


def test_one_that_comes_later_with_a_digest_is_protected_too(tmp_path: Path) -> None:
    with FaultServer() as server, AssetStore(tmp_path / "cache") as store:
        server.serve("/song", FLIPPED)
        url, http = server.url("/song"), HttpOptions(retries=0)
        few = FileOptions(complete=False, look_ahead=1)
        with kithara.open(url, store=store, http=http, options=few) as file:
            assert file.read(10) == FLIPPED[:10]
            options = FileOptions(complete=False, look_ahead=1, sha256=SHA256)
            with kithara.open(url, store=store, http=http, options=options) as other:
                with pytest.raises(CacheCorrupt):
                    other.read()


def test_a_body_of_unknown_length_with_a_digest_is_kept_whole_beyond_64_mib(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("kithara.fetch.bounds.UNBOUNDED", 100_000)
    with FaultServer() as server:
        server.serve("/song", DATA, ranges=False, length=False)
        case = Case(server, tmp_path, DATA)
        played = case.play(options=FileOptions(sha256=SHA256))
        assert (played.error, played.data) == (None, DATA)
        assert case.kept() == "whole"
