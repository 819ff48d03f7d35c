"""One writer, many followers: two stores of one root, as two processes have them, and two processes."""

import contextlib
import gc
import logging
import os
import random
import threading
import time

import pytest
from support.children import Talker
from support.leaks import descriptors_below

from kithara.assets import AssetStore, ResourceKey
from kithara.assets.lease import WRITER
from kithara.errors import Busy, CacheCorrupt, WriterGone
from kithara.storage import Validators

DATA = random.Random(5).randbytes(400_000)
KEY = ResourceKey("show", "file/body")
FACTS = Validators(total=len(DATA), etag='"a"', content_type="audio/flac")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    for name in ("kithara.storage", "kithara.assets"):
        caplog.set_level(logging.CRITICAL, name)


@pytest.fixture
def ours(tmp_path):
    with AssetStore(tmp_path / "cache") as store:
        yield store


@pytest.fixture
def theirs(tmp_path, ours):
    with AssetStore(tmp_path / "cache") as store:
        yield store


@pytest.fixture
def writer(ours):
    resource = ours.open_streaming(KEY)
    resource.describe(FACTS)
    return resource


def write(resource, start, stop):
    resource.write_at(start, DATA[start:stop])


def read(resource, start=0, stop=400_000):
    buffer = bytearray(stop - start)
    assert len(buffer) == resource.read_at(start, buffer)
    return bytes(buffer)


def test_a_second_one_follows_and_reads_what_the_first_has_brought(writer, theirs):
    write(writer, 1000, 2000)
    follower = theirs.open_streaming(KEY)
    assert (False, True) == (follower.is_writer, writer.is_writer)
    assert (FACTS, len(DATA), [(1000, 2000)]) == (follower.validators, follower.length, follower.available_ranges())
    write(writer, 5000, 6000)
    assert not follower.follow()
    assert [(1000, 2000), (5000, 6000)] == follower.available_ranges()
    assert DATA[5000:6000] == read(follower, 5000, 6000)


def test_a_follower_that_came_before_the_headers_learns_them(ours, theirs):
    writer = ours.open_streaming(KEY)
    follower = theirs.open_streaming(KEY)
    assert (None, Validators()) == (follower.length, follower.validators)
    writer.describe(FACTS)
    follower.follow()
    assert (len(DATA), FACTS) == (follower.length, follower.validators)


def test_a_follower_may_not_write(writer, theirs):
    follower = theirs.open_streaming(KEY)
    with pytest.raises(Busy, match="written by another process"):
        follower.write_at(0, b"x")
    assert not follower.checkpoint()


def test_what_a_follower_misses_is_asked_of_the_writer_until_it_is_here(writer, theirs):
    follower = theirs.open_streaming(KEY)
    assert [] == writer.asked()
    follower.follow([(100_000, 200_000, 1), (0, 10, 0), (10, 20, 2)])
    assert [(0, 10, 0), (100_000, 200_000, 1)] == sorted(writer.asked())
    write(writer, 0, 150_000)
    assert [(150_000, 200_000, 1)] == writer.asked()
    follower.follow([(300_000, 500_000, 0)])
    assert [(300_000, len(DATA), 0)] == writer.asked()
    follower.follow()
    assert [] == writer.asked()


def test_each_follower_has_a_place_and_leaves_it(writer, theirs, tmp_path):
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(AssetStore(tmp_path / "cache")).open_streaming(KEY) for _ in range(18)]
        for number, follower in enumerate(followers):
            follower.follow([(number * 100, number * 100 + 1, 0)])
        assert 16 == len(writer.asked())
        followers[0].park()
        assert 15 == len(writer.asked())
        followers[17].follow([(7, 8, 0)])
        assert (7, 8, 0) in writer.asked()


def test_a_waiting_reader_of_a_follower_is_woken(writer, theirs):
    follower = theirs.open_streaming(KEY)
    got = []

    def consume():
        follower.wait_range(0, 1000, timeout=20)
        got.append(read(follower, 0, 1000))

    reader = threading.Thread(target=consume)
    reader.start()
    write(writer, 0, 1000)
    follower.follow()
    reader.join(20)
    assert [DATA[:1000]] == got


def test_the_end_reaches_followers(writer, theirs):
    follower = theirs.open_streaming(KEY)
    write(writer, 0, len(DATA))
    writer.commit()
    follower.follow()
    assert "committed" == follower.status
    assert DATA == read(follower)
    assert follower is theirs.open_streaming(KEY)


def test_a_follower_that_has_everything_may_call_it_whole_but_gives_no_name(writer, theirs, tmp_path):
    follower = theirs.open_streaming(KEY)
    write(writer, 0, len(DATA))
    follower.follow()
    follower.commit()
    assert "committed" == follower.status
    assert not (tmp_path / "cache/show/file/body").exists()
    writer.commit()
    assert DATA == (tmp_path / "cache/show/file/body").read_bytes()


def test_a_writer_that_leaves_before_the_commit_spoils_nothing_for_a_follower_that_has_everything(writer, theirs):
    follower = theirs.open_streaming(KEY)
    write(writer, 0, len(DATA))
    follower.follow()
    follower.commit()
    writer.cancel()
    assert DATA == read(follower)
    assert DATA == read(follower)


@pytest.mark.parametrize("act", ["discard", "supersede"])
def test_a_replaced_representation_ends_followers(writer, ours, theirs, act):
    follower = theirs.open_streaming(KEY)
    write(writer, 0, 1000)
    follower.follow()
    if act == "discard":
        writer.discard()
    else:
        ours.supersede(KEY)
    follower.follow()
    assert "failed" == follower.status
    with pytest.raises(WriterGone):
        follower.wait_range(1000, 1001)
    assert DATA[:1000] == read(follower, 0, 1000)
    again = theirs.open_streaming(KEY)
    assert (again is not follower, []) == (True, again.available_ranges())


def test_a_follower_takes_over_from_a_writer_that_parks(writer, theirs):
    follower = theirs.open_streaming(KEY)
    write(writer, 0, 1000)
    writer.park()
    write_again = follower.follow([(1000, 2000, 0)])
    assert (True, True, [(0, 1000)]) == (write_again, follower.is_writer, follower.available_ranges())
    write(follower, 1000, len(DATA))
    assert not writer.follow()
    assert DATA == read(writer)
    follower.commit()
    writer.follow()
    assert ("committed", "committed") == (writer.status, follower.status)


def test_a_writer_that_parked_takes_up_what_others_did_meanwhile(writer, theirs):
    write(writer, 0, 1000)
    writer.park()
    other = theirs.open_streaming(KEY)
    assert (True, [(0, 1000)]) == (other.is_writer, other.available_ranges())
    write(other, 5000, 6000)
    other.park()
    assert writer.try_become_writer()
    assert [(0, 1000), (5000, 6000)] == writer.available_ranges()
    writer.park()
    write_all = other.try_become_writer()
    assert write_all
    write(other, 0, len(DATA))
    other.commit()
    assert not writer.try_become_writer()
    assert "committed" == writer.status
    assert DATA == read(writer)


def test_a_parked_one_whose_file_was_replaced_says_so(writer, ours, theirs):
    write(writer, 0, 1000)
    writer.park()
    theirs.remove("show")
    other = theirs.open_streaming(KEY)
    other.write_at(0, b"another")
    other.park()
    assert not writer.try_become_writer()
    assert "failed" == writer.status
    assert DATA[:1000] == read(writer, 0, 1000)


SCRIPT = """
import sys, time, random
from kithara.assets import AssetStore, ResourceKey
from kithara.storage import Validators
data = random.Random(5).randbytes(400_000)
store = AssetStore(sys.argv[1])
resource = store.open_streaming(ResourceKey("show", "file/body"))
resource.describe(Validators(total=len(data), etag='"a"', content_type="audio/flac"))
for line in sys.stdin:
    what, start, stop = line.split()
    if what == "write":
        resource.write_at(int(start), data[int(start):int(stop)])
    elif what == "checkpoint":
        resource.checkpoint()
    print(what, flush=True)
"""


class Child(Talker):
    """A process that writes the resource when told to."""

    def __init__(self, root):
        super().__init__(SCRIPT, str(root))

    def tell(self, what, start=0, stop=0):
        self.say(f"{what} {start} {stop}")
        assert what == self.heard()


def test_a_follower_of_a_killed_writer_takes_over_and_keeps_what_it_saw(ours, tmp_path, liveness):
    with Child(tmp_path / "cache") as child:
        child.tell("write", 0, 100_000)
        child.tell("checkpoint")
        child.tell("write", 200_000, 300_000)
        follower = ours.open_streaming(KEY)
        assert not follower.follow([(100_000, 110_000, 0)])
        child.tell("write", 300_000, 310_000)  # told on the page, though not looked at before the end
        child.kill()
        killed = time.monotonic()
        while not follower.follow([(100_000, 110_000, 0)]):
            assert time.monotonic() - killed < liveness(1.0)
        assert [(0, 100_000), (200_000, 310_000)] == follower.available_ranges()
        write(follower, 100_000, 200_000)
        write(follower, 310_000, len(DATA))
        follower.commit()
        assert DATA == (tmp_path / "cache/show/file/body").read_bytes()


def test_who_did_not_follow_a_killed_writer_trusts_only_its_checkpoint(ours, tmp_path):
    with Child(tmp_path / "cache") as child:
        child.tell("write", 0, 100_000)
        child.tell("checkpoint")
        child.tell("write", 200_000, 300_000)
        child.kill()
    resource = ours.open_streaming(KEY)
    assert (True, [(0, 100_000)]) == (resource.is_writer, resource.available_ranges())


def test_a_follower_survives_two_writers(ours, tmp_path):
    root = tmp_path / "cache"
    with Child(root) as first:
        first.tell("write", 0, 1000)
        first.tell("checkpoint")
        follower = ours.open_streaming(KEY)
        first.kill()
        with Child(root) as second:
            second.tell("checkpoint")
            assert not follower.follow()
            second.tell("write", 1000, 2000)
            assert not follower.follow()
            assert [(0, 2000)] == follower.available_ranges()


def test_an_evictor_leaves_what_another_process_reads(ours, tmp_path):
    with Child(tmp_path / "cache") as child:
        child.tell("write", 0, 100_000)
        with AssetStore(tmp_path / "cache", 1000) as small:
            assert 0 == small.evict()
            child.kill()
            assert small.evict() > 0


PAGE_FAULTS = {
    "gone": os.unlink,
    "empty": lambda page: os.truncate(page, 0),
    "torn": lambda page: os.truncate(page, 60),
    "garbage": lambda page: page.write_bytes(random.Random(1).randbytes(40_000)),
    "another boot": lambda page: page.write_bytes(page.read_bytes()[:12] + bytes(16) + page.read_bytes()[28:]),
}


@pytest.mark.parametrize("fault", PAGE_FAULTS)
def test_a_page_that_cannot_be_believed_is_nobodys_truth(writer, theirs, tmp_path, fault, monkeypatch):
    from kithara.storage import streaming

    monkeypatch.setattr(streaming, "JOIN_WITHIN", 0.02)
    write(writer, 0, 1000)
    PAGE_FAULTS[fault](tmp_path / "cache/show/file/body.part.live")
    with pytest.raises(Busy):
        theirs.open_streaming(KEY)
    assert ours_is_well(writer)


def ours_is_well(writer):
    write(writer, 1000, len(DATA))
    writer.commit()
    return DATA == read(writer)


def test_a_page_truncated_under_both_kills_nobody(writer, theirs, tmp_path):
    follower = theirs.open_streaming(KEY)
    os.truncate(tmp_path / "cache/show/file/body.part.live", 0)
    assert not follower.follow([(0, 10, 0)])
    assert writer.asked() in ([(0, 10, 0)], [])
    write(writer, 0, 1000)
    follower.follow()
    assert [(0, 1000)] == follower.available_ranges()


def test_a_link_planted_as_the_page_is_not_written_through(ours, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "cache/show/file").mkdir(parents=True)
    (tmp_path / "cache/show/file/body.part.live").symlink_to(victim)
    writer = ours.open_streaming(KEY)
    write(writer, 0, 1000)
    assert b"precious" == victim.read_bytes()


def test_a_page_with_a_second_name_is_not_followed(writer, theirs, tmp_path, monkeypatch):
    from kithara.storage import streaming

    monkeypatch.setattr(streaming, "JOIN_WITHIN", 0.02)
    page = tmp_path / "cache/show/file/body.part.live"
    (tmp_path / "elsewhere").hardlink_to(page)
    with pytest.raises((Busy, CacheCorrupt)):
        theirs.open_streaming(KEY)


def test_two_followers_race_for_the_place_of_a_parked_writer_and_one_gets_it(writer, theirs, tmp_path):
    with AssetStore(tmp_path / "cache") as third:
        followers = [theirs.open_streaming(KEY), third.open_streaming(KEY)]
        writer.park()
        start = threading.Barrier(2)
        got = []

        def race(follower):
            start.wait(10)
            got.append(follower.follow([(0, 10, 0)]))

        threads = [threading.Thread(target=race, args=(follower,)) for follower in followers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert [False, True] == sorted(got)
        assert theirs._backend.locks.is_held(WRITER, KEY.path)


def test_following_leaves_nothing_open(writer, tmp_path):
    def once():
        with AssetStore(tmp_path / "cache") as store:
            store.open_streaming(KEY).follow([(0, 10, 0)])

    once()
    gc.collect()
    before = descriptors_below(tmp_path)
    for _ in range(5):
        once()
    gc.collect()
    assert before == descriptors_below(tmp_path)


def test_a_burst_is_told_when_it_is_over(tmp_path):
    with AssetStore(tmp_path / "cache") as ours, AssetStore(tmp_path / "cache") as theirs:
        writer = ours.open_streaming(KEY)
        writer.tell_every = 3600.0
        writer.write_at(0, bytes(1000))
        follower = theirs.open_streaming(KEY)
        assert not follower.follow()
        assert [] == follower.available_ranges()
        writer.tell()
        assert not follower.follow()
        assert [(0, 1000)] == follower.available_ranges()
