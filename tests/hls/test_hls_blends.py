"""A ladder of several codecs and rates, as ffmpeg makes it and no playlist tells: a change is heard as no click."""

import numpy as np
import pytest
from support import hlstrees
from support.hlssession import opened
from support.nginx import Nginx
from support.presented import loudest_step
from support.waiting import eventually

import kithara
from kithara.decode import segments
from kithara.hls import SegmentLoaded, VariantApplied, priming
from kithara.hls.slots import State
from kithara.portal import portal

pytestmark = pytest.mark.needs("nginx", "ffmpeg")
MP3, AAC, AAC_48, FLAC = range(4)
PAIRS = [(AAC, FLAC), (FLAC, AAC), (AAC, AAC_48), (MP3, AAC), (MP3, AAC_48), (AAC_48, FLAC)]
WINDOW = 44100 // 50


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """However slow this machine is, what primes a decoder is waited for."""
    monkeypatch.setattr(segments, "PATIENCE", 60.0)


@pytest.fixture(scope="module")
def server():
    with Nginx(hlstrees.tree("tones").folder) as server:
        yield server


def session_of(server, store, **options):
    """A session that has all the lists, so that a wish is heard from the next segment on."""
    session = opened(server, store, **options)
    for variant in range(len(session.variants)):
        portal().run(session._engine.catalogue.load(variant))
    return session


@pytest.fixture
def store(tmp_path):
    with kithara.AssetStore(tmp_path / "cache") as store:
        yield store


def switched(session, new, *, at=6.0, step=64):
    """PCM that changes to variant *new* behind the segment at *at* seconds, and where *new* sounds alone; the rate."""
    with kithara.Decoder(session.segment_source()) as decoder:
        rate = decoder.spec.rate
        pieces = [decoder.read(round(at * rate))]
        decoder.set_variant(new)
        while decoder.variant != new:
            pieces.append(decoder.read(step))
        place = decoder.tell() - step
        return np.concatenate([*pieces, decoder.read()]), place, rate


def alone(server, store, variant):
    session = session_of(server, store, variant=variant)
    with kithara.Decoder(session.segment_source()) as decoder:
        whole = decoder.read()
    session.close()
    return whole


@pytest.mark.parametrize("splice", ["smooth", "exact"])
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_change_of_codec_or_rate_is_no_click(old, new, splice, server, store):
    session = session_of(server, store, variant=old, splice=splice)
    pcm, place, rate = switched(session, new)
    session.close()
    assert loudest_step(pcm, place, rate) < 1.5


@pytest.mark.parametrize(("old", "new"), [(FLAC, AAC), (AAC, FLAC), (MP3, AAC), (MP3, FLAC)])
def test_behind_the_join_the_new_variant_sounds_as_alone_though_no_codecs_were_told(old, new, server, store):
    expected, before = alone(server, store, new), alone(server, store, old)
    session = session_of(server, store, variant=old)
    pcm, place, _ = switched(session, new)
    session.close()
    assert len(expected) == len(pcm)
    assert np.array_equal(expected[place + 64 :], pcm[place + 64 :])
    assert np.array_equal(before[: place - WINDOW], pcm[: place - WINDOW])
    assert not np.array_equal(before[place - WINDOW : place], pcm[place - WINDOW : place])


def test_what_was_learned_at_one_change_is_fetched_ahead_at_the_next(tmp_path):
    tree = hlstrees.tree("tones")
    with Nginx(tree.folder) as server, kithara.AssetStore(tmp_path / "cache") as store:

        def asked():
            return [logged.path for logged in server.requests()]

        session = session_of(server, store, variant=AAC)
        with kithara.Decoder(session.segment_source()) as decoder:
            for new, at, first in ((AAC_48, 6.0, "/v2/seg002.m4s"), (AAC, 14.0, "/v1/seg004.m4s")):
                decoder.read(round(at * decoder.spec.rate) - decoder.tell())
                decoder.set_variant(new)
                eventually(lambda first=first: first in asked(), 20.0)
                while decoder.variant != new:
                    decoder.read(64)
        session.close()
        order = asked()
        assert order.index("/v2/seg002.m4s") < order.index("/v2/seg001.m4s")
        assert order.index("/v1/seg003.m4s") < order.index("/v1/seg004.m4s")


def test_what_would_not_come_in_time_primes_no_decoder(server, monkeypatch):
    session = session_of(server, None, variant=AAC)
    monkeypatch.setattr(session._engine.program.choice, "seconds_for", lambda size: 1e6)
    monkeypatch.setattr(priming, "SOON", 0.3)
    heard = session.events()
    pcm, place, rate = switched(session, AAC_48)
    session.close()
    assert 2 == round(place / rate / 4)
    assert len(pcm) >= hlstrees.SECONDS * rate
    told = [event for event in heard if getattr(event, "variant", None) == AAC_48]
    (applied,) = (event.index for event in told if isinstance(event, VariantApplied))
    assert applied == min(event.index for event in told if isinstance(event, SegmentLoaded))


def test_what_primes_a_decoder_is_forgone_where_it_keeps_waiting(monkeypatch):
    monkeypatch.setattr(priming, "SOON", 0.3)
    slow = "location = /v2/seg001.m4s { limit_rate 500; }"
    with Nginx(hlstrees.tree("tones").folder, slow) as server:
        session = session_of(server, None, variant=AAC)
        pcm, place, rate = switched(session, AAC_48)
        assert 2 == round(place / rate / 4)
        assert len(pcm) >= hlstrees.SECONDS * rate
        session.close()
        assert "/v2/seg001.m4s" in [logged.path for logged in server.requests()]


def test_what_was_fetched_is_heard_though_another_would_be_chosen_by_now(server):
    session = session_of(server, None, variant=AAC)
    with kithara.Decoder(session.segment_source()) as decoder:
        decoder.read(6 * decoder.spec.rate)
        program = session._engine.program
        first = [slot for slot in program.chain if slot.taken][-1]
        decoder.set_variant(AAC_48)
        eventually(lambda: any(slot.variant == AAC_48 and slot.state is State.DONE for slot in program.chain), 20.0)
        with session._engine._lock:
            after = program.following(first.variant, first.index, first.stop)
            program._chosen = lambda *_: AAC
            assert (AAC_48, first.index + 1) == (after.variant, after.index)
            before = program.before(AAC_48, after.index)
            assert (AAC_48, first.index) == (before.variant, before.index)
    session.close()


def test_seeks_around_a_change_give_the_samples_of_playing_through_it(server, store):
    session = session_of(server, store, variant=AAC)
    with kithara.Decoder(session.segment_source()) as decoder:
        pcm = [decoder.read(6 * 44100)]
        decoder.set_variant(FLAC)
        while decoder.variant != FLAC:
            pcm.append(decoder.read(64))
        place = decoder.tell()
        pcm.append(decoder.read(30_000))
        whole = np.concatenate(pcm)
        for start in (*range(place - 2 * WINDOW, place + 2 * WINDOW, 257), place - 40_000, place - 64, place + 5000):
            decoder.seek(start)
            assert np.array_equal(whole[start : start + 4096], decoder.read(4096)), start - place
    session.close()


@pytest.mark.parametrize("pair", [(AAC, AAC_48), (AAC_48, AAC), (AAC, FLAC), (MP3, AAC)])
def test_a_second_play_joins_where_the_first_did_and_asks_for_nothing(pair, store):
    old, new = pair
    with Nginx(hlstrees.tree("tones").folder) as server:
        session = session_of(server, store, variant=old, look_ahead=1.0)  # fetches nothing of *old* that is not heard
        first, _, _ = switched(session, new)
        session.close()
        asked = len(server.requests())
        session = opened(server, store)
        with kithara.Decoder(session.segment_source()) as decoder:
            second = decoder.read()
        session.close()
        assert [] == [logged.path for logged in server.requests()[asked:]]
    assert np.array_equal(first, second)
