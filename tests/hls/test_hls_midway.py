"""A segment that is given up while it is being heard: another variant's takes its place, and no sample comes twice."""

import random
from dataclasses import replace

import numpy as np
import pytest
from support import hlstrees

import kithara
from kithara._core.memory_resource import MemoryResource
from kithara.errors import Interrupted
from kithara.events import EventBus
from kithara.hls import parse_playlist
from kithara.hls.timeline import Timeline
from kithara.media import from_suffix
from kithara.source import Segment

pytestmark = pytest.mark.needs("ffmpeg")


class Torn:
    """The segments of variant 0 of *tree*, until *broken* bytes of number *index* were given; then those of variant 1.

    ``broken=None``: nothing breaks, and *variant* is heard from the beginning.
    """

    variants = ()

    def __init__(self, tree, *, variant=0, index=0, broken=None):
        self.events = EventBus()
        lists = [parse_playlist(made.playlist.read_bytes(), made.playlist.as_uri()) for made in tree.variants]
        self.lines = [Timeline(told) for told in lists]
        self.folders = [made.playlist.parent for made in tree.variants]
        self.variant, self.index, self.broken = variant, index, broken
        self.inits = {}
        self.asked = []

    @property
    def duration(self):
        return self.lines[0].stop

    def _segment(self, variant, index):
        line = self.lines[variant]
        told = line.segment(index)
        name = told.uri.rpartition("/")[2]
        data = (self.folders[variant] / name).read_bytes()
        store = MemoryResource()
        if (variant, index) == (0, self.index) and self.broken is not None:
            store.write_at(0, data[: round(len(data) * self.broken)])
            store.fail(Interrupted("another variant stands in"))
            self.variant, self.broken = 1, None
        else:
            store.write_at(0, data)
            store.commit(len(data))
        return Segment(
            index=index, start=line.starts[index], duration=told.duration, store=store, media=from_suffix(told.uri),
            init=self._init(variant, told), variant=variant, discontinuity=told.discontinuity,
        )  # fmt: skip

    def _init(self, variant, told):
        if told.init is None:
            return None
        if variant not in self.inits:
            data = (self.folders[variant] / told.init.uri.rpartition("/")[2]).read_bytes()
            self.inits[variant] = MemoryResource()
            self.inits[variant].write_at(0, data)
            self.inits[variant].commit(len(data))
        return self.inits[variant]

    def segment_at(self, seconds):
        self.asked.append(seconds)
        line = self.lines[self.variant]
        return None if seconds >= line.stop else self._segment(self.variant, line.boundary_near(seconds))

    def next(self, segment):
        line, stop = self.lines[self.variant], segment.start + segment.duration
        if segment.variant == self.variant:
            index = segment.index + 1
        else:
            index = line.boundary_near(stop) if stop < line.stop else len(line)
        return self._segment(self.variant, index) if index < len(line) else None

    def set_variant(self, variant):
        raise AssertionError("nobody asked for that")

    def close(self):
        pass


def decoded(source, **options):
    with kithara.Decoder(source, **options) as decoder:
        return decoder.read()


CODECS = {"ts-no-pns": 1024, "fmp4-no-pns": 1024, "packed-aac": 1024, "packed-mp3": 1152, "packed-ac3": 1536}


@pytest.mark.parametrize("name", CODECS)
def test_what_was_heard_of_a_segment_that_is_given_up_is_not_heard_again(name):
    tree = hlstrees.tree(name)
    alone = [decoded(Torn(tree, variant=variant)) for variant in range(2)]
    dice = random.Random(name)
    for _ in range(6):
        index, broken = dice.randrange(1, 5), dice.uniform(0.02, 0.98)
        source = Torn(tree, index=index, broken=broken)
        got = decoded(source)
        start = source.lines[0].starts[index]
        assert source.asked in ([0.0, start], [0.0])  # the latter where it broke before anything could be opened
        assert len(alone[1]) == len(got), (index, broken)
        old = int((got != alone[0]).any(axis=1).argmax())  # up to here it is the old variant's
        new = len(got) - int((got != alone[1]).any(axis=1)[::-1].argmax())  # from here on it is the new one's
        frames = source.lines[0].segment(index).duration * 44100
        # where the bytes broke off, give or take a buffer of the demuxer; then the codec needs some packets
        assert start * 44100 - 2 * CODECS[name] <= old <= start * 44100 + frames * broken + 4 * CODECS[name]
        assert old >= start * 44100 + frames * (broken - 0.35)
        assert 0 <= new - old <= 4 * CODECS[name], (index, broken)  # MP3's new decoder is primed by what was heard


UNTIMED = {"packed-aac-untimed": 1024, "packed-mp3-untimed": 1152}


@pytest.mark.parametrize("name", UNTIMED)
def test_packed_audio_without_time_stamps_is_joined_by_the_playlist_where_it_is_cut_differently(name):
    tree = hlstrees.tree(name)
    alone = [decoded(Torn(tree, variant=variant)) for variant in range(2)]
    dice = random.Random(name)
    for _ in range(6):
        source = Torn(tree, index=dice.randrange(1, 5), broken=dice.uniform(0.02, 0.98))
        got = decoded(source)
        assert len(alone[1]) == len(got)
        old = int((got != alone[0]).any(axis=1).argmax())
        assert np.array_equal(alone[1][old + 4 * UNTIMED[name] :], got[old + 4 * UNTIMED[name] :])


def test_silence_stands_for_a_gap_in_packed_audio_without_time_stamps():
    tree = hlstrees.tree("packed-aac-untimed")
    whole = decoded(Torn(tree))
    source = Torn(tree)
    starts, following = source.lines[0].starts, source.next
    source.next = lambda segment: following(following(segment) if segment.index == 1 else segment)
    got = decoded(source)
    start, stop = (round(at * 44100 / 1024) * 1024 for at in starts[2:4])
    assert len(whole) == len(got)
    assert np.array_equal(whole[:start], got[:start])
    assert not got[start + 1024 : stop].any()
    assert np.array_equal(whole[stop + 2048 :], got[stop + 2048 :])


@pytest.mark.parametrize("name", UNTIMED)
def test_packed_audio_without_time_stamps_goes_on_in_another_variant_where_it_was(name):
    tree = hlstrees.tree(name)
    alone = [decoded(Torn(tree, variant=variant)) for variant in range(2)]
    for first in range(2):
        source = Torn(tree, variant=first)
        with kithara.Decoder(source) as decoder:
            head = decoder.read(9 * 44100)
            source.variant = 1 - first
            got = np.concatenate((head, decoder.read()))
        old = int((got != alone[first]).any(axis=1).argmax())
        assert 9 * 44100 <= old <= 13 * 44100
        assert np.array_equal(alone[1 - first][old + 4 * UNTIMED[name] :], got[old + 4 * UNTIMED[name] :])
        assert float(np.abs(got).max()) < 1.0  # what a decoder makes of bits of another variant is louder than music


def test_two_lossless_variants_that_are_cut_differently_join_within_a_segment_to_the_sample():
    tree = hlstrees.tree("fmp4-lossless")
    whole = decoded(Torn(tree), dtype="int16")
    dice = random.Random(6)
    for _ in range(12):
        source = Torn(tree, index=dice.randrange(6), broken=dice.uniform(0.02, 0.98))
        assert np.array_equal(whole, decoded(source, dtype="int16"))


def test_another_codec_in_another_container_takes_over_within_a_segment():
    tree = hlstrees.tree("mixed")
    tree = replace(tree, variants=[tree.variants[0], tree.variants[2]])  # AAC in a transport stream, then FLAC in fMP4
    source = Torn(tree, index=3, broken=0.6)
    whole = decoded(Torn(tree, variant=1), gapless="codec")
    got = decoded(source, gapless="codec")
    after = round((source.lines[0].starts[3] + 0.8 * source.lines[0].segment(3).duration) * 44100)
    assert np.array_equal(whole[after : after + 4 * 44100], got[after : after + 4 * 44100])
