"""The live page: what a writer tells and followers ask, believed only when it is whole and makes sense."""

import os
import random
import struct

import pytest

from kithara.storage.files import Directory
from kithara.storage.live import DEMANDS, SLOTS, LivePage, Record, State
from kithara.storage.sidecar import Validators

RUN = struct.Struct("<qq")


@pytest.fixture
def pages(tmp_path):
    """The page of a writer, and the same page as a follower has it."""
    with Directory.open(tmp_path) as directory:
        ours = LivePage(directory, "page", create=True)
        theirs = LivePage(directory, "page")
        yield ours, theirs
        ours.close()
        theirs.close()


def record(**changes):
    facts = {"generation": 5, "inode": 6, "state": State.ACTIVE, "length": 1000, "validators": Validators(total=1000)}
    return Record(**{**facts, "ranges": (), **changes})


def packed(*runs):
    return b"".join(RUN.pack(*run) for run in runs)


def test_what_is_told_is_learned_once(pages):
    ours, theirs = pages
    assert theirs.look() is None
    ours.publish(record(), packed((0, 10), (20, 30)))
    assert record(ranges=((0, 10), (20, 30))) == theirs.look()
    assert theirs.look() is None
    ours.publish(record(length=None, state=State.GONE), packed())
    assert record(length=None, state=State.GONE) == theirs.look()


@pytest.mark.parametrize(
    "runs", [[(10, 5)], [(5, 5)], [(-5, 5)], [(0, 10), (5, 20)], [(20, 30), (0, 10)], [(0, 1001)]], ids=str
)
def test_runs_that_make_no_sense_are_not_believed_although_the_checksum_is_right(pages, runs):
    ours, theirs = pages
    ours.publish(record(), packed(*runs))
    assert theirs.look() is None


def test_of_too_many_runs_the_largest_are_told(pages):
    ours, theirs = pages
    runs = [(start * 100, start * 100 + 1 + start % 50) for start in range(10_000)]
    ours.publish(record(length=None), packed(*runs))
    told = theirs.look().ranges
    assert len(told) > 1000
    assert set(told) < set(runs)
    assert min(b - a for a, b in told) >= 40


def test_headers_too_long_to_be_told_leave_the_rest_unvalidated(pages):
    ours, theirs = pages
    ours.publish(record(validators=Validators(total=1000, etag='"' + "x" * 10_000 + '"')), packed((0, 1)))
    assert Validators(total=1000, unvalidated=True) == theirs.look().validators


def test_any_changed_byte_of_a_record_is_noticed(pages, tmp_path):
    ours, theirs = pages
    ours.publish(record(), packed((0, 10)))
    content = (tmp_path / "page").read_bytes()
    chance = random.Random(2)
    for at in range(len(content)):
        spoiled = bytearray(content)
        spoiled[at] ^= chance.randrange(1, 256)
        (tmp_path / "page").write_bytes(spoiled)
        assert theirs.look() is None, at


def test_each_place_asks_for_a_few_ranges(pages):
    ours, theirs = pages
    assert [] == ours.asked()
    theirs.ask(3, [(0, 10, 0), (20, 30, 1), (40, 50, 0), (60, 70, 0)])
    assert [(0, 10, 0), (20, 30, 1), (40, 50, 0)] == ours.asked()
    assert 3 == DEMANDS
    theirs.ask(3, [])
    assert [] == ours.asked()


def test_a_torn_or_senseless_demand_is_nobodys(pages, tmp_path):
    ours, theirs = pages
    for slot in range(SLOTS):
        theirs.ask(slot, [(slot, slot + 1, 0)])
    content = bytearray((tmp_path / "page").read_bytes())
    content[-1 - 20] ^= 1
    (tmp_path / "page").write_bytes(content)
    assert SLOTS - 1 == len(ours.asked())
    theirs.ask(0, [(10, 5, 0), (-3, 5, 0), (1, 2, 9)])
    assert SLOTS - 2 == len(ours.asked())


def test_a_page_that_cannot_be_read_is_an_old_one(pages):
    ours, theirs = pages
    ours.publish(record(), packed((0, 10)))
    fd, theirs._fd = theirs._fd, os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    assert theirs.look() is None
    assert [] == theirs.asked()
