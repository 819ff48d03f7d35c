"""Where the variant changes: exact joins equal the new variant's own decode, whatever the codec remembers."""

import numpy as np
import pytest
from support import hlstrees
from support.nginx import Nginx

import kithara
from kithara.hls import HlsOptions, HlsSource, VariantApplied
from kithara.portal import portal

pytestmark = pytest.mark.needs("nginx", "ffmpeg")
RATE = 44100
PACKET = 1024


@pytest.fixture
def store(tmp_path):
    with kithara.AssetStore(tmp_path / "cache") as store:
        yield store


def opened(server, store, **options):
    async def open_it():
        return await HlsSource.open(server.url("master.m3u8"), HlsOptions(**options), store)

    return portal().run(open_it())


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
