"""What is here of an earlier session, when the server cannot be reached, or may have something else by now."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faultserver import Citizen, Exchange, FaultServer, Step, finish, head, stall
from support.oracles import Case, drop_frames, expect_proper

import kithara
from kithara import AssetStore, FileOptions, HttpOptions
from kithara.errors import ConnectFailed, HttpStatus, KitharaError, NetTimeout, OfflineMiss, RetryExhausted

DATA = random.Random(6).randbytes(300_000)
QUICK = HttpOptions(connect=1.0, headers=0.3, idle=0.3, retries=1)
VALIDATORS = {"strong": '"v1"', "weak": 'W/"v1"', "none": None}


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with FaultServer() as server:
        yield Case(server, tmp_path, DATA)


def have_a_part(case: Case, etag: str | None) -> int:
    """Read the first 100 000 bytes in a session; how many are kept."""
    case.server.serve(case.path, DATA, etag=etag)
    options = FileOptions(complete=False, look_ahead=1)
    with AssetStore(case.root) as store, kithara.open(case.url, store=store, http=QUICK, options=options) as file:
        assert file.read(100_000) == DATA[:100_000]
        held = file.store.head
    case.server.forget(case.path)
    return held


def read_to_the_hole(case: Case, held: int, **options: object) -> KitharaError:
    """Everything that is held, and then the error at the hole."""
    with AssetStore(case.root) as store, kithara.open(case.url, store=store, http=QUICK, **options) as file:
        assert file.length == len(DATA)
        assert file.read(held) == DATA[:held]
        with pytest.raises(KitharaError) as caught:
            file.read(1)
        assert file.tell() == held
    expect_proper(caught.value, case.url)
    drop_frames(caught.value)
    return caught.value


@pytest.mark.parametrize("etag", VALIDATORS.values(), ids=VALIDATORS)
def test_when_the_server_is_gone_a_part_serves_what_it_has_and_raises_at_the_hole(case: Case, etag: str | None) -> None:
    held = have_a_part(case, etag)
    case.server.close()
    for _ in range(2):  # it is not given up by having been served
        error = read_to_the_hole(case, held)
        assert isinstance(error, RetryExhausted)
        assert isinstance(error.__cause__, (ConnectFailed, RetryExhausted))


@pytest.mark.parametrize("etag", VALIDATORS.values(), ids=VALIDATORS)
def test_offline_a_part_serves_what_it_has_and_asks_nobody(case: Case, etag: str | None) -> None:
    held = have_a_part(case, etag)
    before = case.server.accepted
    assert isinstance(read_to_the_hole(case, held, offline=True), OfflineMiss)
    assert case.server.accepted == before


@pytest.mark.parametrize("answer", [stall(), head(503, length=0), finish()], ids=["silence", "503", "closed"])
def test_a_part_that_nothing_vouches_for_is_not_given_up_for_nothing(case: Case, answer: Step) -> None:
    held = have_a_part(case, None)
    case.server.on(case.path, answer)
    error = read_to_the_hole(case, held)
    assert isinstance(error, (RetryExhausted, NetTimeout))
    case.server.serve(case.path, DATA[::-1], etag=None)
    case.data = DATA[::-1]
    assert case.play(http=QUICK).data == DATA[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"v1"'], ids=["none", "weak"])
def test_a_part_that_nothing_vouches_for_is_given_up_once_the_server_answers(case: Case, etag: str | None) -> None:
    have_a_part(case, etag)
    case.server.serve(case.path, DATA[::-1], etag=etag)
    case.data = DATA[::-1]
    before = case.server.sent
    assert case.play(http=QUICK).data == DATA[::-1]
    assert case.server.sent - before <= len(DATA) + 1


def test_a_server_that_breaks_once_is_asked_again_before_a_part_is_all_there_is(case: Case) -> None:
    have_a_part(case, None)
    case.server.on(case.path, finish())
    case.server.on(case.path, Citizen(DATA[::-1], etag=None))
    case.data = DATA[::-1]
    assert case.play(http=QUICK).data == DATA[::-1]


@pytest.mark.parametrize("status", [401, 403])
def test_a_part_outlives_a_refusal(case: Case, status: int) -> None:  # H40
    held = have_a_part(case, None)
    case.server.on(case.path, head(status, length=0))
    error = read_to_the_hole(case, held)
    assert isinstance(error, HttpStatus)
    assert error.status == status
    assert case.kept() == "part"


def test_what_is_gone_from_the_server_is_gone_from_the_cache(case: Case) -> None:
    have_a_part(case, None)
    case.server.on(case.path, head(404, length=0))
    played = case.play(http=QUICK)
    assert isinstance(played.cause, HttpStatus)
    assert case.kept() == "nothing"


def test_opening_without_waiting_does_not_wait_for_the_server(case: Case) -> None:
    have_a_part(case, None)
    asked: list[Exchange] = []
    case.server.on(case.path, asked.append, stall())
    with AssetStore(case.root) as store:
        with kithara.open(case.url, store=store, http=QUICK, blocking=False) as file:
            assert file.read(1) is None
            assert case.server.wait_until(lambda: bool(asked))
