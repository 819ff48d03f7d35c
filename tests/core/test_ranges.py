"""RangeSet against a set of integers."""

from __future__ import annotations

import random
import re

import pytest

from kithara._core.ranges import RangeSet

SPAN = 64


def runs(positions: set[int]) -> list[tuple[int, int]]:
    """The maximal runs of *positions*."""
    found: list[tuple[int, int]] = []
    for position in sorted(positions):
        if found and found[-1][1] == position:
            found[-1] = (found[-1][0], position + 1)
        else:
            found.append((position, position + 1))
    return found


def gap(positions: set[int], start: int, stop: int) -> tuple[int, int] | None:
    """The first maximal run of [start, stop) outside *positions*."""
    missing = runs(set(range(start, stop)) - positions)
    return missing[0] if missing else None


def reach(positions: set[int], start: int) -> int:
    while start in positions:
        start += 1
    return start


@pytest.mark.parametrize("seed", range(200))
def test_it_answers_as_a_set_of_integers_does(seed: int) -> None:
    chance = random.Random(seed)
    ranges, model = RangeSet(), set[int]()
    for _ in range(120):
        start, stop = sorted(chance.randrange(SPAN) for _ in range(2))
        if chance.random() < 0.6:
            ranges.add(start, stop)
            model |= set(range(start, stop))
        else:
            ranges.discard(start, stop)
            model -= set(range(start, stop))
        assert runs(model) == list(ranges)
        start, stop = sorted(chance.randrange(SPAN) for _ in range(2))
        assert (set(range(start, stop)) <= model) == ranges.covers(start, stop)
        assert gap(model, start, stop) == ranges.next_gap(start, stop)
        assert reach(model, start) == ranges.covered_until(start)
        assert len(model) == ranges.total
        assert len(runs(model)) == len(ranges)


def test_runs_that_touch_become_one() -> None:
    assert [(0, 30)] == list(RangeSet([(0, 10), (20, 30), (10, 20)]))


def test_an_addition_over_the_limit_changes_nothing() -> None:
    ranges = RangeSet([(0, 1), (2, 3)], max_runs=2)
    with pytest.raises(OverflowError, match="2 runs"):
        ranges.add(4, 5)
    assert [(0, 1), (2, 3)] == list(ranges)
    ranges.add(1, 2)
    assert [(0, 3)] == list(ranges)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2)])
def test_what_is_no_range_is_refused(start: int, stop: int) -> None:
    ranges = RangeSet()
    with pytest.raises(ValueError, match="not a range"):
        ranges.add(start, stop)
    with pytest.raises(ValueError, match="not a range"):
        ranges.discard(start, stop)


def test_sets_of_the_same_ranges_are_equal() -> None:
    assert RangeSet([(0, 4)]) == RangeSet([(0, 2), (2, 4)])
    assert RangeSet([(0, 4)]) != RangeSet([(0, 3)])


def test_offsets_may_be_as_large_as_files_get() -> None:
    top = 1 << 62
    ranges = RangeSet([(top - 10, top)])
    assert (0, top - 10) == ranges.next_gap(0, top)
    assert top == ranges.covered_until(top - 1)


def test_a_million_writes_of_one_byte_in_order_are_one_run() -> None:
    ranges = RangeSet(max_runs=16)
    for position in range(1_000_000):
        ranges.add(position, position + 1)
    assert [(0, 1_000_000)] == list(ranges)


@pytest.mark.parametrize("seed", range(6))
def test_thousands_of_runs_come_and_go_as_in_a_set_of_integers(seed: int) -> None:
    chance = random.Random(seed)
    span = 20_000
    ranges, model = RangeSet(), bytearray(span)

    def change(most: int, here: bool) -> None:
        start = chance.randrange(span)
        stop = min(span, start + chance.randrange(1, most))
        (ranges.add if here else ranges.discard)(start, stop)
        model[start:stop] = bytes([here]) * (stop - start)

    def check() -> None:
        expected = [match.span() for match in re.finditer(rb"\x01+", model)]
        assert expected == list(ranges)
        assert len(expected) == len(ranges)
        assert sum(model) == ranges.total
        for place in (chance.randrange(span) for _ in range(50)):
            missing = re.compile(rb"\x00+").search(model, place)
            assert (missing.span() if missing else None) == ranges.next_gap(place, span)
            assert (missing.start() if missing else span) == ranges.covered_until(place)

    for most, likely in ((4, 0.9), (4, 0.1), (3, 0.6), (2000, 0.5), (4, 0.8), (300, 0.2)):
        for _ in range(3000):
            change(most, chance.random() < likely)
        check()
    ranges.discard(0, span)
    assert [] == list(ranges)


def test_runs_that_come_in_order_or_backwards_are_all_kept() -> None:
    starts = range(0, 10_000, 2)
    expected = [(start, start + 1) for start in starts]
    assert expected == list(RangeSet(expected))
    assert expected == list(RangeSet(reversed(expected)))
