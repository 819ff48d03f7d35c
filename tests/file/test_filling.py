"""What is fetched, when, and what never is: the fill loop seen from the origin's log."""

import io
import random
import threading

import pytest
from support.waiting import Background, eventually

import kithara
from kithara import FileOptions
from kithara.cli.origin import Origin

MB = 1 << 20
LARGE = random.Random(1).randbytes(6 * MB)
AHEAD = 256 << 10


def twice_fetched(requests):
    """Bytes that were sent more than once, or sent in vain because their connection was cut."""
    covered = set()
    twice = 0
    for request in requests:
        start = request.interval[0]
        blocks = range(start // 1024, (start + request.sent) // 1024)
        twice += sum(1024 for block in blocks if block in covered)
        covered.update(blocks)
    return twice


def fetched(reader):
    return sum(stop - start for start, stop in reader.available_ranges())


def test_a_server_without_ranges_feeds_a_bounded_look_ahead_to_the_end():
    options = FileOptions(look_ahead=AHEAD)
    with Origin({"a": LARGE}, ranges=False) as origin:
        with kithara.open(origin.url("a"), store=False, options=options) as reader:
            assert LARGE == reader.read()
        assert 1 == len(origin.requests)


def test_a_seek_without_ranges_waits_for_the_one_transfer():
    with Origin({"a": LARGE}, ranges=False) as origin, kithara.open(origin.url("a"), store=False) as reader:
        for position in (5 * MB, 1 * MB, 4 * MB, 0):
            reader.seek(position)
            assert LARGE[position : position + 100] == reader.read(100)
        assert 1 == len(origin.requests)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_paused_reader_bounds_what_is_fetched(ranges):
    options = FileOptions(look_ahead=AHEAD, complete=False)
    with Origin({"a": LARGE}, ranges=ranges) as origin:
        with kithara.open(origin.url("a"), store=False, options=options) as reader:
            reader.read(MB)
            eventually(lambda: fetched(reader) >= MB + AHEAD // 2)
            assert not threading.Event().wait(0.3)
            assert MB + 2 * AHEAD >= fetched(reader)


def test_a_reader_without_ranges_that_went_on_is_fed_again():
    options = FileOptions(look_ahead=AHEAD, complete=False)
    with Origin({"a": LARGE}, ranges=False) as origin:
        with kithara.open(origin.url("a"), store=False, options=options) as reader:
            for _ in range(12):
                assert MB // 2 == len(reader.read(MB // 2))
            assert b"" == reader.read(1)


def test_complete_fills_the_holes_once_nobody_wants_anything(store):
    with Origin({"a": LARGE}, rate=30 * MB) as origin, kithara.open(origin.url("a"), store=store) as reader:
        reader.seek(3 * MB)
        reader.read(10)
        eventually(lambda: "committed" == reader.status, 10)
        assert LARGE == reader.readall() or reader.seek(0) == 0
        reader.seek(0)
        assert LARGE == reader.read()
        assert 64 << 10 >= twice_fetched(origin.requests)


def test_without_complete_holes_stay(store):
    options = FileOptions(complete=False)
    with Origin({"a": LARGE}) as origin, kithara.open(origin.url("a"), store=store, options=options) as reader:
        reader.seek(3 * MB)
        reader.read(10)
        before = fetched(reader)
        assert not threading.Event().wait(0.5)
        assert before == fetched(reader)
        assert "active" == reader.status


def test_two_readers_at_different_places_share_one_download(store):
    with Origin({"a": LARGE}, rate=20 * MB, delay=0.005) as origin:
        with kithara.open(origin.url("a"), store=store) as one, kithara.open(origin.url("a"), store=store) as other:

            def read(reader, start):
                reader.seek(start)
                return reader.read(2 * MB)

            first = Background(lambda: read(one, 0))
            second = Background(lambda: read(other, 3 * MB))
            assert LARGE[: 2 * MB] == first.result()
            assert LARGE[3 * MB : 5 * MB] == second.result()
            assert one.available_ranges() == other.available_ranges()
        assert 64 << 10 >= twice_fetched(origin.requests)


def test_a_reader_that_pauses_at_the_start_does_not_hold_up_one_near_the_end(store):
    options = FileOptions(look_ahead=AHEAD, complete=False)
    with Origin({"a": LARGE}) as origin:
        with (
            kithara.open(origin.url("a"), store=store, options=options) as idle,
            kithara.open(origin.url("a"), store=store, options=options) as busy,
        ):
            assert LARGE[:10] == idle.read(10)
            busy.seek(-MB, io.SEEK_END)
            assert LARGE[-MB:] == busy.read()


def test_ranges_that_are_not_used_are_read_through_in_order(store):
    options = FileOptions(enable_range_seek=False)
    with Origin({"a": LARGE}) as origin, kithara.open(origin.url("a"), store=store, options=options) as reader:
        reader.seek(5 * MB)
        assert LARGE[5 * MB : 5 * MB + 100] == reader.read(100)
        assert 1 == len(origin.requests)
        reader.seek(100)
        assert LARGE[100:200] == reader.read(100)
        assert 1 == len(origin.requests)
