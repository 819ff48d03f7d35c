"""Segments in time, and the same time in another list."""

import random
from dataclasses import replace

import pytest

from kithara.errors import PlaylistInvalid
from kithara.hls import parse_playlist
from kithara.hls.timeline import Timeline

BASE = "https://host.example/list.m3u8"


def listing(durations, *, first=0, ended=True, dates=()):
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:4", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number, duration in enumerate(durations):
        if number < len(dates) and dates[number]:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{dates[number]}")
        lines += [f"#EXTINF:{duration},", f"{first + number}.ts"]
    return parse_playlist("\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""]), BASE)


def test_starts_are_the_sums_of_durations():
    timeline = Timeline(listing([4, 2.5, 3]), origin=10)
    assert ([10, 14, 16.5], 19.5, 3, 10) == (timeline.starts, timeline.stop, len(timeline), timeline.origin)
    assert "https://host.example/1.ts" == timeline.segment(1).uri


@pytest.mark.parametrize(
    ("seconds", "index"), [(-1, 0), (0, 0), (3.999, 0), (4, 1), (6.4, 1), (6.5, 2), (9.4, 2), (9.5, 2), (1e9, 2)]
)
def test_a_time_belongs_to_the_segment_that_sounds_then(seconds, index):
    assert index == Timeline(listing([4, 2.5, 3])).index_at(seconds)


def test_an_empty_segment_sounds_never():
    assert [0, 2, 2] == [Timeline(listing([4, 0, 4])).index_at(seconds) for seconds in (3.9, 4, 4.1)]


def test_a_list_without_segments_has_no_time():
    timeline = Timeline(listing([]), origin=3)
    assert (3, 3, 0) == (timeline.origin, timeline.stop, len(timeline))
    with pytest.raises(IndexError):
        timeline.index_at(0)


def test_every_time_is_found_as_a_search_from_the_front_finds_it():
    chance = random.Random(7)
    timeline = Timeline(listing([chance.choice([0.5, 1, 3.97, 6]) for _ in range(400)]))
    for _ in range(500):
        seconds = chance.uniform(0, timeline.stop)
        assert max(n for n, start in enumerate(timeline.starts) if start <= seconds) == timeline.index_at(seconds)


def test_sequence_numbers_find_their_segment():
    timeline = Timeline(listing([4, 4], first=7))
    assert [None, 0, 1, None] == [timeline.index_of(number) for number in (6, 7, 8, 9)]


@pytest.mark.parametrize(
    ("seconds", "index"),
    [(0, 0), (4, 1), (3.7, 1), (3.5, 0), (4.02, 1), (6, 1), (7.99, 2), (11.9, 2), (12, 2)],
)
def test_a_change_goes_on_at_the_nearest_boundary_or_within_the_segment(seconds, index):
    assert index == Timeline(listing([4, 4, 4])).boundary_near(seconds)


def test_lists_cut_differently_are_mapped_by_time():
    short, long = Timeline(listing([2] * 30)), Timeline(listing([6] * 10))
    assert [0, 0, 0, 1, 1, 1, 2] == [long.boundary_near(short.starts[n]) for n in range(7)]
    assert [0, 3, 6, 9] == [short.boundary_near(long.starts[n]) for n in range(4)]


def test_a_live_list_keeps_index_and_time_of_every_segment():
    timeline = Timeline(listing([4, 3, 4, 4], first=10, ended=False))
    later = timeline.updated(listing([4, 4, 4], first=12, ended=False))
    assert ([0, 4, 7, 11, 15], 2) == (later.starts, later.window)
    assert [10, 11, 12, 13, 14] == [segment.sequence for segment in later.playlist.segments]


def test_what_a_live_list_lost_is_a_gap():
    timeline = Timeline(listing([4, 4], first=10, ended=False))
    later = timeline.updated(listing([4, 4], first=14, ended=False))
    assert [False, False, True, True, False, False] == [segment.gap for segment in later.playlist.segments]
    assert (16, 4) == (later.starts[4], later.window)


def test_an_older_copy_of_a_live_list_changes_nothing():
    timeline = Timeline(listing([4, 4], first=10, ended=False), origin=20)
    assert timeline is timeline.updated(listing([3, 4, 4], first=8, ended=False))
    assert [20, 24, 28] == timeline.updated(listing([3, 4, 4, 4], first=9, ended=False)).starts


def numbers(timeline):
    return [(segment.sequence, segment.discontinuity) for segment in timeline.playlist.segments]


def test_a_reading_from_before_the_window_is_a_stale_copy_the_first_time():
    timeline = Timeline(listing([4, 4], first=10, ended=False))
    stale = timeline.updated(listing([4, 4], first=0, ended=False))
    assert (True, 0, [0, 4]) == (stale.behind, stale.runs, stale.starts)
    later = stale.updated(listing([4, 4], first=11, ended=False))
    assert (False, 0, [0, 4, 8]) == (later.behind, later.runs, later.starts)


def test_a_server_that_starts_over_goes_on_behind_what_there_was():
    timeline = Timeline(listing([4, 4], first=10, ended=False), origin=100)
    for first in (0, 1, 2):
        timeline = timeline.updated(listing([4, 3], first=first, ended=False))
    assert [(10, 0), (11, 0), (1, 1), (2, 1), (3, 1)] == numbers(timeline)
    assert ([100, 104, 108, 112, 116], 3, 1) == (timeline.starts, timeline.window, timeline.runs)
    assert [2, 3, 4, None, None] == [timeline.index_of(number) for number in (1, 2, 3, 10, 4)]


def test_a_server_may_start_over_twice():
    timeline = Timeline(listing([4, 4], first=50, ended=False))
    for first in (10, 11, 0, 1):
        timeline = timeline.updated(listing([4, 4], first=first, ended=False))
    assert [(50, 0), (51, 0), (11, 1), (12, 1), (1, 2), (2, 2)] == numbers(timeline)


def test_a_variant_beside_one_that_started_over_is_aligned_with_that_at_once():
    ours, theirs = (Timeline(listing([4, 4], first=10, ended=False)) for _ in range(2))
    ours = ours.updated(listing([4, 4, 4], first=10, ended=False))
    for _ in range(2):
        ours = ours.updated(listing([4, 4], first=0, ended=False))
    theirs = theirs.updated(listing([4, 4], first=1, ended=False), beside=[ours])
    assert [(10, 0), (11, 0), (12, 0), (1, 1), (2, 1)] == numbers(theirs)
    assert ours.starts[ours.index_of(1)] == theirs.starts[theirs.index_of(1)] == 16


def test_an_event_that_starts_over_says_so():
    event = replace(listing([4, 4], first=10, ended=False), kind="event")
    timeline = Timeline(event).updated(replace(event, media_sequence=0))
    with pytest.raises(PlaylistInvalid, match="started over"):
        timeline.updated(replace(event, media_sequence=0))


@pytest.mark.parametrize(("version", "index"), [(2, 3), (3, 2)])
def test_only_rounded_durations_excuse_a_boundary_that_is_far_off(version, index):
    exact = replace(listing([4, 4, 4, 4]), version=version)
    assert index == Timeline(exact).boundary_near(11.7)
    assert 3 == Timeline(exact).boundary_near(11.98)


def test_a_live_list_begins_three_target_durations_before_its_end():
    assert 20 == Timeline(listing([4] * 8, ended=False)).beginning
    assert 0 == Timeline(listing([4] * 2, ended=False)).beginning
    assert 0 == Timeline(listing([4] * 8)).beginning


def test_complete_variants_begin_together_whatever_their_numbers():
    timeline = Timeline(listing([4, 4], first=1), origin=5)
    assert 5 == timeline.aligned(listing([6, 6], first=100)).origin


def test_live_variants_are_aligned_by_date():
    ours = listing([4, 4], first=10, ended=False, dates=[None, "2024-01-01T00:00:10Z"])
    theirs = listing([2, 2, 2], first=500, ended=False, dates=[None, None, "2024-01-01T00:00:11Z"])
    assert 100 + 4 + 1 - 4 == Timeline(ours, origin=100).aligned(theirs).origin


def test_live_variants_without_dates_are_aligned_by_number():
    ours = listing([4, 4], first=10, ended=False)
    assert 104 == Timeline(ours, origin=100).aligned(listing([4, 4], first=11, ended=False)).origin


def test_dates_with_and_without_a_zone_are_not_compared():
    ours = listing([4, 4], first=10, ended=False, dates=["2024-01-01T00:00:10Z"])
    theirs = listing([4, 4], first=11, ended=False, dates=["2024-01-01T09:00:14"])
    assert 4 == Timeline(ours).aligned(theirs).origin
