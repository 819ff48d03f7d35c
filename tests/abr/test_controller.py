"""Adaptive choice, driven by hand: what it must and must not do in plain situations."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from kithara.abr import AbrOptions, Controller, Estimator, simulation_controller
from kithara.abr.estimator import Outlook, Watch, log_rate
from kithara.abr.plan import Plan

RATES = (32_000, 64_000, 128_000, 192_000, 256_000, 320_000, 900_000)
DURATION = 6.0


@dataclass
class Rung:
    bandwidth: int


def controller(options=None, rates=RATES, buffer=30.0):
    return simulation_controller([Rung(rate) for rate in rates], DURATION, buffer, options)


class Playing:
    """A controller playing over a link whose rate the test sets; time only passes here."""

    def __init__(self, control, rate, *, latency=0.05, capacity=30.0, count=1000):
        self.control, self.rate, self.latency, self.capacity, self.count = control, rate, latency, capacity, count
        self.buffer = self.now = self.silence = 0.0
        self.variants = []
        self.fetch(control.first())

    def fetch(self, variant):
        size = RATES[variant] * DURATION / 8
        seconds = 8 * size / self.rate
        self.wait(self.latency + seconds)
        self.control.feed(int(size), seconds, self.latency, variant=variant, aborted=False, now=self.now)
        self.buffer += DURATION
        self.variants.append(variant)

    def wait(self, seconds):
        self.now += seconds
        if self.variants:
            self.silence += max(0.0, seconds - self.buffer)
        self.buffer = max(0.0, self.buffer - seconds)

    def play(self, segments):
        for _ in range(segments):
            full = self.buffer + DURATION - self.capacity
            if full > 0:
                self.wait(full)
                self.control.idle(full)
            self.fetch(
                self.control.choose(
                    self.buffer,
                    segment_index=len(self.variants),
                    segment_count=self.count,
                    last_variant=self.variants[-1],
                    now=self.now,
                )
            )
        return self.variants[-segments:]


def changes(variants):
    return sum(old != new for old, new in pairwise(variants))


def test_it_starts_at_the_lowest():
    assert 0 == controller().first()


def test_a_rate_seen_lately_lets_it_start_higher():
    assert 0 < controller(AbrOptions(prior_rate=20e6)).first()
    assert 0 == controller(AbrOptions(prior_rate=60e3)).first()


@pytest.mark.parametrize(("rate", "expected"), [(20_000, 0), (2e6, 6), (20e6, 6)])
def test_on_a_steady_link_it_settles_where_the_rate_allows(rate, expected):
    assert [expected] * 10 == Playing(controller(), rate).play(40)[-10:]


def test_on_a_steady_link_in_the_middle_it_never_falls_silent_and_rarely_changes():
    playing = Playing(controller(), 400e3)
    settled = playing.play(60)[20:]
    assert 0 == playing.silence
    assert 4 <= min(settled)
    assert changes(settled) <= 12


def test_it_survives_a_fall_to_a_tenth_and_climbs_back():
    playing = Playing(controller(buffer=120.0), 2e6, capacity=120.0)
    before = playing.play(40)[-1]
    playing.rate = 200e3
    during = playing.play(60)
    playing.rate = 2e6
    after = playing.play(40)[-1]
    assert (6, 6, 0) == (before, after, playing.silence)
    assert max(during[-20:]) <= 4


def test_small_and_latency_bound_samples_still_teach():
    estimator = Estimator(AbrOptions())
    for _ in range(20):
        estimator.feed(8000, 0.016, 0.5)  # 2 s at 32 kbit/s over 4 Mbit/s behind half a second of round trip
    assert 4e6 == pytest.approx(estimator.rate)
    assert 0.5 == pytest.approx(estimator.latency)


def test_a_request_that_was_tried_again_for_seconds_is_not_the_round_trip_but_a_slow_one_is_learned():
    estimator = Estimator(AbrOptions())
    for _ in range(10):
        estimator.feed(100_000, 1.0, 0.05)
    estimator.feed(100_000, 1.0, 30.0)
    assert estimator.latency < 0.5
    for _ in range(20):
        estimator.feed(100_000, 1.0, 2.0)
    assert 2.0 == pytest.approx(estimator.latency, rel=0.1)


def test_one_fast_sample_moves_the_estimate_but_not_to_itself():
    estimator = Estimator(AbrOptions())
    for _ in range(10):
        estimator.feed(100_000, 1.0, 0.05)
    estimator.feed(100_000, 0.001, 0.05)
    assert 0.8e6 < estimator.rate < 0.8e9


def test_what_says_nothing_teaches_nothing():
    estimator = Estimator(AbrOptions())
    estimator.feed(0, 1.0, 0.1)
    estimator.feed(100, 0.0, 0.1)
    assert (0, None) == (estimator.count, estimator.rate)


def test_an_aborted_transfer_without_a_byte_teaches_that_it_was_slow():
    estimator = Estimator(AbrOptions())
    estimator.feed(100_000, 1.0, 0.05)
    estimator.feed(0, 3.0, 0.05, aborted=True)
    assert 0.8e6 > 4 * estimator.rate


def test_what_stood_still_is_an_outage_and_what_was_only_slower_is_none():
    estimator = Estimator(AbrOptions())
    for _ in range(5):
        estimator.feed(100_000, 1.0, 0.05)
    estimator.feed(100_000, 5.0, 0.05)
    assert 0 == estimator.outages
    estimator.feed(100_000, 40.0, 0.05)
    assert 1 == pytest.approx(estimator.outages, abs=0.3)


def test_safety_lowers_what_is_counted_on():
    plain, careful = Estimator(AbrOptions()), Estimator(AbrOptions(safety=0.5))
    for estimator in (plain, careful):
        estimator.feed(100_000, 1.0, 0.05)
    assert math.log(0.5) == pytest.approx(careful.forecast - plain.forecast)
    cautious = Playing(controller(AbrOptions(safety=0.25)), 450e3).play(60)
    assert sum(cautious) < sum(Playing(controller(), 450e3).play(60))


def test_hysteresis_holds_a_variant_longer():
    def count(hysteresis):
        playing = Playing(controller(AbrOptions(hysteresis=hysteresis)), 300e3)
        for turn in range(40):
            playing.rate = 300e3 if turn % 4 < 2 else 900e3
            playing.play(2)
        return changes(playing.variants)

    assert count(4.0) < count(0.25)


def test_a_cap_is_never_exceeded():
    assert 3 == max(Playing(controller(AbrOptions(max_bandwidth=200_000)), 20e6).play(40))
    assert [0] * 10 == Playing(controller(AbrOptions(max_bandwidth=1)), 20e6).play(10)


def test_only_allowed_variants_are_chosen():
    control = controller()
    Playing(control, 20e6).play(10)
    assert 2 == control.choose(24.0, segment_index=11, segment_count=100, last_variant=6, allowed={0, 2})


def test_before_the_first_sample_the_last_variant_stays():
    assert 3 == controller().choose(6.0, segment_index=1, segment_count=100, last_variant=3)
    assert 2 == controller().choose(6.0, segment_index=1, segment_count=100, last_variant=3, allowed={0, 2, 5})


def test_who_heard_nothing_yet_begins_where_it_starts():
    control = controller(AbrOptions(prior_rate=2e6))
    assert control.first() == control.choose(0.0, segment_index=0, segment_count=10, last_variant=None)


def test_towards_the_end_the_buffer_is_spent():
    def last_ones(count):
        playing = Playing(controller(buffer=60.0), 330e3, capacity=60.0, count=count)
        return sum(playing.play(79)[-10:])

    assert last_ones(80) > last_ones(1000)


def test_large_coming_segments_are_seen_ahead():
    control = controller()
    Playing(control, 1.2e6).play(20)
    usual = [int(rate * DURATION / 8) for rate in RATES]
    chosen = [
        control.choose(24.0, segment_index=21, segment_count=100, last_variant=6, next_sizes=[sizes])
        for sizes in (usual, [*usual[:6], 8_000_000])
    ]
    assert 6 == chosen[0]
    assert chosen[1] < 6


def abandoned(control, **changed):
    control.choose(12.0, segment_index=21, segment_count=100, last_variant=6)
    facts = {"variant": 6, "done": 30_000, "total": 675_000, "seconds": 4.0, "latency": 0.05, "buffer_level": 8.0}
    return control.should_abandon(**{**facts, **changed})


def experienced(options=None):
    control = controller(options)
    Playing(control, 1.2e6).play(20)
    return control


def test_a_doomed_download_is_given_up_for_a_lower_variant():
    assert abandoned(experienced()) in range(3)


@pytest.mark.parametrize(
    "facts",
    [
        {"seconds": 0.05},
        {"done": 670_000},
        {"done": 675_000},
        {"done": 600_000},
        {"variant": 0, "total": 24_000, "done": 100},
        {"buffer_level": 1000.0},
        {"buffer_level": 24.0},
    ],
    ids=["too soon", "nearly here", "all here", "fast enough", "nothing lower", "no hurry", "time to see"],
)
def test_other_downloads_go_on(facts):
    assert abandoned(experienced(), **facts) is None


def first_second_of_giving_up(control):
    facts = {"done": 15_000, "buffer_level": 80.0}
    return next((t for t in range(1, 120) if abandoned(control, seconds=float(t), **facts) is not None), None)


def test_a_slow_download_is_watched_longer_on_a_network_without_outages_than_on_a_rough_one():
    calm, rough = (controller(buffer=120.0) for _ in range(2))
    for control in (calm, rough):
        Playing(control, 1.2e6, capacity=120.0).play(60)
    for _ in range(2):
        rough.feed(20_000, 60.0, 0.05, variant=6)
        Playing(rough, 1.2e6, capacity=120.0).play(20)
    assert first_second_of_giving_up(rough) < first_second_of_giving_up(calm)


def test_on_a_little_buffer_a_crawling_download_is_left_for_any_gain():
    control = Controller([Rung(64_000), Rung(256_000)], 2.0, 6.0)
    for _ in range(4):
        control.feed(64_000, 0.01, 0.01, variant=1)
    assert 1 == control.choose(4.0, segment_index=4, segment_count=20, last_variant=1)
    looks = [0.25 * number for number in range(1, 60)]
    left = [
        seconds
        for seconds in looks
        if control.should_abandon(
            variant=1,
            done=int(200 * seconds),
            total=64_000,
            seconds=seconds,
            latency=0.01,
            buffer_level=max(0.0, 4.0 - seconds),
        )
        is not None
    ]
    assert left[0] < 7


@pytest.mark.parametrize("done", [0.0, 0.5])
@pytest.mark.parametrize("buffer", [24.0, 110.0])
@pytest.mark.parametrize("rates", [RATES, (64_000, 256_000)])
def test_a_download_that_hangs_is_left_for_the_lowest_long_before_the_buffer_is_empty(rates, buffer, done):
    control = Controller([Rung(rate) for rate in rates], 10.0, buffer + 10.0)
    top, size = len(rates) - 1, int(rates[-1] * 10 / 8)
    for _ in range(20):
        control.feed(size, 3.0, 0.05, variant=top)
    assert top == control.choose(buffer, segment_index=20, segment_count=None, last_variant=top)
    facts = {"variant": top, "done": int(done * size), "total": size, "latency": 0.05}
    for look in range(1, 1000):
        seconds = 0.25 * look
        left = control.should_abandon(**facts, seconds=seconds, buffer_level=max(0.0, buffer - seconds))
        if left is not None:
            break
    assert 0 == left
    assert 3 < seconds < max(6, buffer / 2)


def test_a_download_of_which_little_comes_does_not_hang():
    watch = Watch(1, 1_000_000)
    silences = []
    for number, done in enumerate([0, 0, 10, 10, 10, 20], 1):
        watch.look(done, 0.5 * number)
        silences.append(watch.silence)
    assert [0.5, 1.0, 0.0, 0.5, 1.0, 0.0] == silences


def watched(step, stop=30.0):
    """A download that came well for four seconds and then crawled."""
    watch = Watch(6, 1_200_000)
    for n in range(1, round(stop / step) + 1):
        watch.look(came(n * step), n * step)
    return watch


def came(seconds):
    return int(150_000 * min(seconds, 4.0) + 6_000 * max(0.0, seconds - 4.0))


def test_what_comes_lately_of_a_download_counts_and_not_how_it_began():
    assert log_rate(6_000, 1.0) == pytest.approx(watched(0.1).level, abs=0.2)
    assert log_rate(came(30.0), 30.0) > watched(0.1).level + 1


def test_it_hardly_matters_how_often_a_download_is_looked_at():
    assert watched(0.1).level == pytest.approx(watched(1.0).level, abs=0.1)


def test_a_download_that_began_well_and_then_crawls_is_left_while_there_is_much_in_the_buffer():
    control = controller(buffer=120.0)
    Playing(control, 1.2e6, capacity=120.0).play(60)
    control.choose(110.0, segment_index=61, segment_count=1000, last_variant=6)
    left = next(
        t
        for t in range(1, 200)
        if control.should_abandon(
            variant=6, done=came(t), total=1_200_000, seconds=float(t), latency=0.05, buffer_level=110.0 - t
        )
        is not None
    )
    assert 10 < left < 55


@pytest.mark.parametrize("aborted", [False, True])
def test_leaving_downloads_is_counted_on_only_where_advice_to_leave_is_taken(aborted):
    control = experienced()
    assert abandoned(control) is not None
    control.feed(100_000, 30.0, 0.05, variant=6, aborted=aborted)
    for _ in range(30):
        control.feed(600_000, 4.0, 0.05, variant=0)
    assert aborted == control.counts_on_leaving


def test_where_nobody_asks_leaving_is_not_counted_on():
    control = controller()
    assert control.counts_on_leaving
    control.feed(100_000, 30.0, 0.05, variant=6)
    assert not control.counts_on_leaving
    abandoned(control, done=10, seconds=0.1)
    control.feed(100_000, 30.0, 0.05, variant=6)
    assert control.counts_on_leaving


def test_who_cannot_leave_a_download_finds_the_highest_variant_worth_less():
    def worth(leaving):
        plan = Plan(RATES, DURATION, 30.0, mean=13.5, latency=0.05, leaving=leaving)
        plan.sweep(1000)
        bits = DURATION * np.array(RATES)
        return plan.scores(12.0, 6, Outlook(13.5, 13.5, 0.36, 0.05), bits, 100)

    able, unable = worth(True), worth(False)
    assert able[6] - able[0] > unable[6] - unable[0]


def test_outages_are_expected_more_often_the_lower_the_level_is_beneath_its_mean():
    plan = Plan(RATES, DURATION, 30.0, mean=13.5, latency=0.05)
    pauses = [plan.chances(level, DURATION)[-2:].sum() for level in (14.5, 13.5, 12.5, 11.5)]
    assert pauses == sorted(pauses)
    assert 0.01 < pauses[1] < pauses[3] / 5


def test_chances_come_to_one_on_the_worst_of_networks_too():
    plan = Plan(RATES, DURATION, 30.0, mean=13.5, latency=0.05, outages=1000.0)
    np.testing.assert_allclose(1, plan.chances(np.array([5.0, 13.5, 20.0]), DURATION).sum(axis=0))


def test_of_short_segments_one_surprise_changes_the_forecast_of_the_next_more_than_what_lasts():
    estimator = Estimator(AbrOptions(), 1 / 3)
    for _ in range(20):
        estimator.feed(100_000, 1.0, 0.05)
    before = estimator.outlook()
    estimator.feed(20_000, 1.0, 0.05)
    after = estimator.outlook()
    assert before.level == pytest.approx(before.lasting)
    assert after.level < after.lasting < before.lasting
    for _ in range(2):
        estimator.feed(20_000, 1.0, 0.05)
    assert after.lasting - math.log(160e3) > 1.5 * (estimator.outlook().lasting - math.log(160e3)) > 0


def test_a_short_segment_that_took_long_is_a_whole_step_of_what_lasts():
    def lasting(size, seconds):
        estimator = Estimator(AbrOptions(), 1 / 6, 6.0)
        for _ in range(20):
            estimator.feed(100_000, 1.0, 0.05)
        estimator.feed(size, seconds, 0.05)
        return estimator.outlook().lasting

    assert lasting(60_000, 6.0) < lasting(10_000, 1.0)
    assert lasting(60_000, 6.0) == pytest.approx(lasting(120_000, 12.0))


def test_a_plan_of_short_segments_is_worth_no_less_than_one_of_long_segments():
    def worth(duration):
        plan = Plan(RATES, duration, 120.0, mean=13.0, latency=0.0)
        plan.sweep(1 << 20)
        left = 600 / duration
        scores = plan.scores(60.0, 3, Outlook(13.0, 13.0, 0.36, 0.0), duration * np.array(RATES), int(left))
        return scores.max() * duration

    assert worth(6.0) <= worth(2.0) <= worth(1.0)


def test_abandonment_can_be_switched_off():
    assert abandoned(experienced(AbrOptions(abandon=False))) is None


@pytest.mark.parametrize("rates", [(128_000,), (0, 0), (64_000, 64_000), (1, 1_000_000_000)])
def test_odd_ladders_play(rates):
    control = Controller([Rung(rate) for rate in rates], 4.0, 20.0)
    variants = [control.first()]
    for index in range(1, 20):
        control.feed(30_000, 0.3, 0.05, variant=variants[-1], aborted=False, now=index * 4.0)
        variants.append(control.choose(8.0, segment_index=index, segment_count=None, last_variant=variants[-1]))
    assert set(variants) <= set(range(len(rates)))


@pytest.mark.parametrize(
    ("rates", "duration", "buffer"), [((), 6, 30), ((2, 1), 6, 30), ((1, 2), 0, 30), ((1, 2), 6, -1)]
)
def test_ladders_that_make_no_sense_are_refused(rates, duration, buffer):
    with pytest.raises(ValueError, match=r"variant|durations"):
        Controller([Rung(rate) for rate in rates], duration, buffer)


@pytest.mark.parametrize("options", [{"safety": 0}, {"hysteresis": -1}, {"stall_cost": math.inf}, {"prior_rate": 0}])
def test_factors_must_be_positive(options):
    with pytest.raises(ValueError, match="positive"):
        AbrOptions(**options)


def test_equal_histories_give_equal_choices():
    assert Playing(controller(), 700e3).play(50) == Playing(controller(), 700e3).play(50)
