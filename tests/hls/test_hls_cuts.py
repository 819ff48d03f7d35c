"""Ladders whose variants are cut differently: what a change costs, in simulated time on a link of known speed."""

import random

import pytest
from support.simulated import Link, presentation, simulate

from kithara.hls.choice import weight

CUTS = {
    "alike": (4.0, 4.0, 4.0),
    "longer above": (2.0, 3.7, 5.0),
    "far longer above": (4.0, 6.0, 10.0),
    "shorter above": (10.0, 6.0, 4.0),
    "shorter between": (4.0, 3.0, 4.0),
}


def steady(rate):
    return Link(lambda second: rate)


def unsteady(rate, seed):
    chance = random.Random(seed)
    spans = [rate * 2 ** chance.gauss(0, 0.7) for _ in range(200)]
    return Link(lambda second: spans[int(second / 3) % len(spans)])


@pytest.mark.parametrize("rate", [20_000.0, 30_000.0, 45_000.0], ids=lambda rate: f"{rate / 1000:.0f} kB a second")
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_on_a_steady_link_nothing_is_fetched_for_nothing(cuts, rate):
    played = simulate(presentation(cuts=cuts), steady(rate), look_ahead=10.0)
    assert 120.0 == pytest.approx(played.seconds, abs=0.01)
    assert played.wasted < 0.02
    assert played.silence < 1.0


@pytest.mark.parametrize("ranges", [False, True], ids=["by bandwidth", "by byte ranges"])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_on_a_thin_buffer_and_an_unsteady_link_little_is_fetched_for_nothing(cuts, ranges):
    links = [unsteady(30_000.0, seed) for seed in range(3)]
    silence = [simulate(presentation(cuts=cuts, ranges=ranges), link, look_ahead=10.0).silence for link in links]
    assert sum(link.wasted for link in links) < 0.05 * sum(link.sent for link in links)
    assert sum(silence) < 6.0


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_a_link_that_carries_the_best_variant_is_used_for_it(cuts):
    played = simulate(presentation(cuts=cuts), steady(60_000.0), look_ahead=30.0)
    assert (0.0, 0.0) == (played.silence, played.wasted)
    assert sum(seconds for variant, seconds in played.variants if variant == 2) > 80.0


def test_a_download_is_weighed_by_the_seconds_that_it_brings():
    assert 1.0 == weight(4.0, 4.0)
    assert 2.0 == weight(2.0, 4.0)  # half of the segment was heard already
    assert 0.5 == weight(16.0, 4.0)  # not a quarter: nothing else comes meanwhile
    assert 40.0 == weight(0.0, 4.0) == weight(-1.0, 4.0)
