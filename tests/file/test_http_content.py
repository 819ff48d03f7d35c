"""What a body is, and whether it is still that: broadcasts, digests, freshness, portals, rotating tags."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faultserver import Citizen, FaultServer, Step, flood, head, send
from support.oracles import QUICK, Case, private_memory
from support.waiting import eventually

import kithara
from kithara import AssetStore, FileOptions, HttpOptions
from kithara.errors import (
    CacheCorrupt,
    DecodeError,
    RepresentationChanged,
    SeekNotSupported,
    UnknownLength,
)
from kithara.events import Failed

DATA = random.Random(1).randbytes(300_000)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with FaultServer() as server:
        yield Case(server, tmp_path, DATA)


@pytest.mark.parametrize(
    "answer", [head(headers={"icy-name": "radio"}), head("200 OK", {"icy-br": 128}, version="ICY")]
)
def test_a_broadcast_plays_on_with_flat_memory_and_is_not_kept(case: Case, answer: Step) -> None:
    case.server.on(case.path, answer, flood(bytes(range(256)) * 256))
    with AssetStore(case.root) as store:
        with kithara.open(case.url, store=store, http=HttpOptions(idle=5)) as file:
            assert file.length is None
            assert not file.seekable()
            with pytest.raises((SeekNotSupported, UnknownLength)):
                file.seek(-1, 2)
            file.read(1 << 20)
            before = private_memory()
            for _ in range(100):
                assert file.read(1 << 20)[:4] == bytes(range(4))
            assert private_memory() - before < 32 << 20
        assert store.usage().bytes < 1 << 20
    assert case.kept() == "nothing"


def test_the_wrong_digest_is_not_kept(case: Case) -> None:  # H20, H32, H63
    flipped = bytearray(DATA)
    flipped[200_000] ^= 1
    case.server.serve(case.path, bytes(flipped))
    options = FileOptions(sha256=hashlib.sha256(DATA).hexdigest())
    failed: list[object] = []
    with AssetStore(case.root) as store:
        file = kithara.open(case.url, store=store, http=QUICK, options=options, on_event=failed.append)
        with file, contextlib.suppress(CacheCorrupt):
            file.read()
            eventually(lambda: file.status == "failed")
    [error] = eventually(lambda: [event.error for event in failed if isinstance(event, Failed)])
    assert isinstance(error, CacheCorrupt)
    assert case.kept() == "nothing"


def test_the_right_digest_is_kept(case: Case) -> None:
    case.server.serve(case.path, DATA)
    options = FileOptions(sha256=hashlib.sha256(DATA).hexdigest())
    assert case.play(options=options).data == DATA
    assert case.kept() == "whole"


def test_what_has_not_changed_is_kept_after_one_question(case: Case) -> None:
    case.server.serve(case.path, DATA)
    case.play()
    before = len(case.server.requests)
    assert case.play(revalidate="always").data == DATA
    [asked] = case.server.requests[before:]
    assert (asked.header("if-none-match"), asked.sent) == ('"v1"', 0)


def test_what_was_fetched_just_now_is_not_asked_about_though_the_server_tells_no_date(case: Case) -> None:
    case.server.serve(case.path, DATA)
    case.play()
    before = len(case.server.requests)
    assert case.play(revalidate=3600).data == DATA
    assert case.play(revalidate="always").data == DATA
    assert case.play(revalidate=3600).data == DATA
    assert 1 == len(case.server.requests) - before


def test_what_has_changed_is_fetched_anew(case: Case) -> None:
    case.server.serve(case.path, DATA)
    case.play()
    case.server.serve(case.path, DATA[::-1], etag='"v2"')
    case.data = DATA[::-1]
    assert case.play(revalidate="always").data == DATA[::-1]
    assert case.kept() == "whole"


def test_what_cannot_be_asked_about_plays_from_the_cache(case: Case) -> None:
    case.server.serve(case.path, DATA)
    case.play()
    case.server.on(case.path, head(503, length=0))
    case.server.close()
    assert case.play(revalidate="always").data == DATA


def test_a_tag_that_changes_with_every_answer_still_plays(case: Case) -> None:  # H35
    number = iter(range(1000))
    case.server.on(case.path, lambda exchange: Citizen(DATA, etag=f'"{next(number)}"')(exchange))
    failures = []
    with AssetStore(case.root) as store:
        while len(failures) < 5:
            try:
                with kithara.open(case.url, store=store, http=QUICK) as file:
                    assert file.read() == DATA
                    break
            except RepresentationChanged as error:
                failures.append(error)
    assert len(failures) <= 2
    assert len(case.server.requests) < 20


def test_a_captive_portal_is_no_audio(case: Case) -> None:  # H61
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    case.server.on(case.path, head(headers={"Content-Type": "text/html"}, length=len(page)), send(page))
    with AssetStore(case.root) as store, kithara.open(case.url, store=store, http=QUICK) as file:
        assert file.media is None
        with pytest.raises(DecodeError):
            kithara.load(file)
