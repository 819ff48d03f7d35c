"""How the command line words sizes, times and errors."""

from __future__ import annotations

import errno

import pytest

from kithara import errors
from kithara.cli.console import clock, error_record, size, sparse_bar
from kithara.cli.hints import HINTS, hint


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "unknown size"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.00 GiB"),
    ],
)
def test_sizes_read_as_people_write_them(count: int | None, words: str) -> None:
    assert words == size(count)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "unknown"), (0, "0:00.0"), (59.96, "1:00.0"), (83.25, "1:23.2"), (3725.5, "1:02:05.5")],
)
def test_times_read_as_a_clock(seconds: float | None, words: str) -> None:
    assert words == clock(seconds)


@pytest.mark.parametrize(
    ("spans", "length", "bar"),
    [
        ([], 100, "░░░░░░░░░░"),
        ([(0, 100)], 100, "██████████"),
        ([(0, 25), (90, 100)], 100, "██▒░░░░░░█"),
        ([(0, 5)], None, ""),
        ([(0, 3)], 3, "███"),
    ],
)
def test_a_bar_shows_which_parts_are_here(spans: list[tuple[int, int]], length: int | None, bar: str) -> None:
    assert bar == sparse_bar(spans, length, 10)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (errors.HttpStatus(status=404), "Check the address"),
        (errors.HttpStatus(status=503), "try again later"),
        (errors.LocalFileError("x", errno=errno.EACCES), "permissions"),
        (errors.OfflineMiss("x"), "kithara fetch"),
        (errors.NoSpace("x"), "cache rm"),
        (errors.UnsupportedMedia("x"), "a web page"),
    ],
)
def test_an_error_says_what_to_try(error: errors.KitharaError, part: str) -> None:
    assert part in str(hint(error))


def test_exhausted_retries_speak_of_their_last_cause() -> None:
    error = errors.RetryExhausted("gave up")
    error.__cause__ = errors.HttpStatus(status=429)
    assert hint(error.__cause__) == hint(error)


def test_an_error_nobody_can_help_with_has_no_hint() -> None:
    assert hint(errors.Interrupted("stale")) is None
    assert hint(errors.HttpStatus(status=418)) is None


def test_hints_stand_only_where_no_lookup_shadows_them() -> None:
    assert errors.HttpStatus not in HINTS


def test_the_record_of_an_error_is_redacted() -> None:
    record = error_record(errors.HttpStatus(status=403, url="http://me:secret@host/a.mp3?token=secret"))
    assert "secret" not in str(record)
    assert ("HttpStatus", "http://host/a.mp3?…") == (record["type"], record["url"])
