"""What follows from a timeline's facts, and how it is drawn in text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kithara.timeline import Fetched, Moment, Sample, Timeline

CALM = Sample(time=0.0, position=0.0, buffered=0.5, ahead=0.5, received=0, underruns=0, variant=0, link=None)
EMPTY = Timeline(samples=(), fetched=(), moments=(), bitrates=(), unit="seconds", extent=None, missed=0)


def sampled(*changes: dict[str, object], step: float = 1.0) -> tuple[Sample, ...]:
    """Samples *step* seconds apart, each calm but for its changes."""
    return tuple(replace(CALM, time=number * step, **change) for number, change in enumerate(changes))


def test_silences_that_follow_each_other_are_one_stall() -> None:
    counts = (0, 1, 2, 2, 2, 3)
    timeline = replace(EMPTY, samples=sampled(*({"underruns": count} for count in counts)))
    assert ((0.0, 2.0), (4.0, 5.0)) == timeline.stalls


def test_a_variant_is_heard_from_its_first_sample_on() -> None:
    timeline = replace(EMPTY, samples=sampled(*({"variant": variant} for variant in (None, 1, 1, 0, 1))))
    assert ((1.0, 1), (3.0, 0), (4.0, 1)) == timeline.heard


def test_a_rate_is_bytes_over_the_time_they_took() -> None:
    part = Fetched(begun=1.0, ended=3.0, start=0.0, stop=2.0, size=5000)
    assert (2500.0, None) == (part.rate, replace(part, cached=True).rate)


def test_an_empty_timeline_has_figures_and_no_lines() -> None:
    assert (0.0, 0, (), (), "") == (EMPTY.seconds, EMPTY.received, EMPTY.stalls, EMPTY.heard, EMPTY.sparklines())


def test_the_summary_is_what_machines_read() -> None:
    timeline = replace(
        EMPTY,
        samples=sampled({"variant": 0}, {"variant": 2, "underruns": 3, "received": 900}),
        fetched=(Fetched(begun=0, ended=1, start=0, stop=2, size=9, variant=2, given_up=True),),
        moments=(Moment(time=0.5, kind="seek", note="to 3.0 s"),),
        missed=4,
    )
    assert {
        "seconds": 1.0,
        "received": 900,
        "stalls": [[0.0, 1.0]],
        "heard": [[0.0, 0], [1.0, 2]],
        "seeks": 1,
        "given_up": 1,
        "missed": 4,
    } == timeline.summary()


def test_sparklines_show_buffer_network_variant_and_what_happened() -> None:
    timeline = replace(
        EMPTY,
        samples=sampled(
            {"ahead": 0.0},
            {"ahead": 4.0, "variant": 1},
            {"ahead": 8.0, "variant": 1},
            {"ahead": 2.0, "underruns": 1, "variant": 0},
            {"ahead": 4.0, "underruns": 1, "variant": 0},
        ),
        fetched=(
            Fetched(begun=0.0, ended=2.0, start=0.0, stop=4.0, size=8000, variant=1),
            Fetched(begun=2.0, ended=4.0, start=4.0, stop=8.0, size=1000, variant=0),
        ),
        moments=(Moment(time=0.5, kind="seek", note="to 0.0 s"),),
        bitrates=(64_000, 128_000),
    )
    assert [
        "  buffer ▁▅█▃ 0 to 8.0 s",
        " network ██▂▂ 0 to 4 kB/s",
        " variant ▅██▅ 64 to 128 kbit/s",
        "         ↷ ×",
    ] == timeline.sparklines(4).splitlines()


@pytest.mark.parametrize("width", [1, 7, 500])
def test_sparklines_are_as_wide_as_asked(width: int) -> None:
    timeline = replace(EMPTY, samples=sampled({}, {}, {}, {}, step=0.3))
    [line] = timeline.sparklines(width).splitlines()
    assert width == len(line.removeprefix("  buffer ").removesuffix(" 0 to 0.5 s"))
