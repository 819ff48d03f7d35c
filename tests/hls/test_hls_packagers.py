"""Trees of real packagers through real nginx: the samples of every variant, from the start and from anywhere."""

import random
from pathlib import Path

import numpy as np
import pytest
from support import corpus, hlstrees
from support.hlssession import opened
from support.nginx import Nginx
from support.signals import lag

import kithara

pytestmark = pytest.mark.needs("nginx", "ffmpeg", "lame")
RATE = 44100
FRAMES = RATE * hlstrees.SECONDS + corpus.EXTRA
TREES = sorted(set(hlstrees.RECIPES) - {"tones", "ts-minute"})
TAG = len(hlstrees.timestamp_tag(0))


@pytest.fixture
def store(tmp_path):
    with kithara.AssetStore(tmp_path / "cache") as store:
        yield store


def as_one_stream(made):
    """The variant as its encoder gave it, before it was cut into segments."""
    if made.files[0].suffix in (".aac", ".ac3", ".mp3"):
        return b"".join(data[TAG * data.startswith(b"ID3") :] for data in map(Path.read_bytes, made.files))
    return made.plain


@pytest.mark.parametrize("name", TREES)
def test_a_variants_samples_are_those_of_its_stream_as_a_whole(name, store):
    chance = random.Random(name)
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server:
        for number, made in enumerate(tree.variants):
            with kithara.Decoder(as_one_stream(made)) as whole:
                expected = whole.read()
            session = opened(server, store, variant=number)
            with kithara.Decoder(session.segment_source()) as decoder:
                assert np.array_equal(expected, decoder.read())
                for start in (chance.randrange(len(expected) - 8192) for _ in range(4)):
                    got, there = decoder.read_range(start=start, frames=8192).data, expected[start : start + 8192]
                    if "no-pns" in name or name.startswith(("packed", "fmp4-lossless")):
                        assert np.array_equal(there, got), start
                    else:  # its noise depends on where a decoder began
                        assert (8192, 0) == (len(got), lag(got[:, 0], there[:, 0])), start
            session.close()
