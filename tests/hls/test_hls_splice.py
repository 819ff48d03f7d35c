"""Where the variant changes: exact joins equal the new variant's own decode, whatever the codec remembers."""

import random

import numpy as np
import pytest
from support import corpus, hlstrees
from support.hlssession import opened
from support.nginx import Nginx
from support.signals import lag, quantized, signal

import kithara
from kithara.hls import VariantApplied
from kithara.portal import portal

pytestmark = pytest.mark.needs("nginx", "ffmpeg")
RATE = 44100
PACKET = 1024


@pytest.fixture
def store(tmp_path):
    with kithara.AssetStore(tmp_path / "cache") as store:
        yield store


def alone(server, store, variant):
    """What *variant* gives that is never left."""
    session = opened(server, store, variant=variant)
    with kithara.Decoder(session.segment_source()) as decoder:
        whole = decoder.read()
    session.close()
    return whole


def switched(server, store, splice, *, to=2, at=6.0):
    """PCM of variant 0 that is left for *to* at *at* seconds, and the frame from which *to* is heard."""
    session = opened(server, store, variant=0, splice=splice)
    events = session.events()
    portal().run(session._engine.catalogue.load(to))
    with kithara.Decoder(session.segment_source()) as decoder:
        head = decoder.read(round(at * RATE))
        decoder.set_variant(to)
        whole = np.concatenate((head, decoder.read()))
    index = None
    timeline = session._engine.catalogue.timelines[to]
    session.close()
    for event in events:
        if isinstance(event, VariantApplied) and event.variant == to:
            index = event.index
    return whole, round(timeline.starts[index] * RATE / PACKET) * PACKET


@pytest.mark.parametrize("name", ["ts-no-pns", "fmp4-no-pns"])
def test_an_exact_join_goes_on_as_the_new_variant_alone_does(name, store):
    with Nginx(hlstrees.tree(name).folder) as server:
        before, after = alone(server, store, 0), alone(server, store, 2)
        whole, place = switched(server, store, "exact")
        assert len(after) == len(whole)
        assert np.array_equal(before[:place], whole[:place])
        assert np.array_equal(after[place:], whole[place:])
        whole, place = switched(server, store, "smooth")
        differing = np.flatnonzero((after[place:] != whole[place:]).any(axis=1))
        assert 0 < len(differing)  # else nothing was shown above
        assert differing[-1] < 2 * PACKET


def test_without_the_segment_before_the_join_is_smooth(store, tmp_path):
    tree = hlstrees.tree("ts-no-pns")
    lost = "location ~ ^/v2/seg00[0-3] { return 404; }"
    with Nginx(tree.folder) as server:
        count = len(alone(server, store, 2))
    with Nginx(tree.folder, lost) as server, kithara.AssetStore(tmp_path / "other") as fresh:
        whole, _ = switched(server, fresh, "exact", at=14.0)
        assert count == len(whole)
        assert ["/v2/seg003.ts"] == [logged.path for logged in server.requests() if logged.status == 404]


@pytest.fixture(scope="module")
def source():
    frames = RATE * hlstrees.SECONDS + corpus.EXTRA
    return quantized(signal(frames, RATE), 16).astype(np.float32) / 32768


LATE = [0, 941, 0]
"""Frames that the variants of the mixed tree are late: the second one's init section denies its encoder's 1024."""


def assert_in_place(source, start, got, variant):
    there = source[start : start + len(got)]
    if variant == 2:
        assert np.array_equal(there, got), start
    else:  # one of 48 kHz has no frame at every one of 44.1 kHz
        assert abs(lag(got[:, 0], there[:, 0]) - LATE[variant]) <= 1, (start, variant)


def with_every_list(server, store, **options):
    session = opened(server, store, **options)
    for variant in range(len(session.variants)):
        portal().run(session._engine.catalogue.load(variant))
    return session


@pytest.mark.parametrize("splice", ["smooth", "exact"])
def test_codecs_rates_containers_and_clocks_that_differ_play_on_in_place(splice, store, source):
    order = [2, 0, 1, 0, 2]
    with Nginx(hlstrees.tree("mixed").folder) as server:
        session = with_every_list(server, store, variant=order[0], splice=splice)
        with kithara.Decoder(session.segment_source(), gapless="codec") as decoder:
            for variant in order:
                decoder.set_variant(variant)
                if variant != order[0] or decoder.tell():
                    while decoder.variant != variant:
                        decoder.read(1000)
                decoder.read(2048)  # for so long an encoder's noise is between two
                start = decoder.tell()
                got = decoder.read(3 * RATE)
                assert variant == decoder.variant
                assert_in_place(source, start, got, variant)
            decoder.read()
            assert len(source) == decoder.tell()
        session.close()


def test_a_seek_lands_in_place_whatever_is_heard_there(store, source):
    chance = random.Random(8)
    with Nginx(hlstrees.tree("mixed").folder) as server:
        session = with_every_list(server, store, variant=2)
        heard = set()
        with kithara.Decoder(session.segment_source(), gapless="codec") as decoder:
            for _ in range(100):
                decoder.set_variant(chance.choice([0, 1, 2]))
                start = chance.randrange(len(source) - 40_000)
                decoder.seek(start)
                got = decoder.read(1)
                before = decoder.variant
                got = np.concatenate((got, decoder.read(32_767)))
                if before == decoder.variant:
                    heard.add(before)
                    assert_in_place(source, start, got, before)
        assert {0, 1, 2} == heard
        session.close()
