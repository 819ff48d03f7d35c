"""Two processes on one cache and one URL: one download, two readers."""

import hashlib
import random
import time

import pytest
from support.children import Talker
from support.waiting import eventually

import kithara
from kithara.cli.origin import Origin

DATA = random.Random(23).randbytes(1_500_000)
SLACK = 64 << 10

SCRIPT = """
import hashlib, sys
import kithara
url, root, complete = sys.argv[1:]
store = kithara.AssetStore(root)
options = kithara.FileOptions(complete=complete == "True", look_ahead=100_000)
with kithara.open(url, store=store, options=options) as reader:
    print("open", reader.length, flush=True)
    for line in sys.stdin:
        start, size = map(int, line.split())
        reader.seek(start)
        print(hashlib.sha256(reader.read(size)).hexdigest(), flush=True)
"""


class Reader(Talker):
    """A process that opens a URL and reads when told to."""

    def __init__(self, url, root, *, complete=True):
        super().__init__(SCRIPT, url, str(root), str(complete))

    def opened(self):
        assert f"open {len(DATA)}" == self.heard()
        return self

    def ask(self, start, size):
        self.say(f"{start} {size}")

    def answers(self, start, size):
        expected = hashlib.sha256(DATA[start : start + size]).hexdigest()
        assert expected == self.heard()

    def read(self, start, size):
        self.ask(start, size)
        self.answers(start, size)


def wait_for_the_commit(root):
    """Until what was read whole has its name: a process that is killed before that has kept as much as it had saved."""
    eventually(lambda: {"body"} == {path.name for path in root.glob("*/file/*")})


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def test_a_cold_url_opened_by_two_at_once_is_downloaded_once(root):
    with Origin({"body": DATA}, rate=3_000_000, delay=0.02) as origin:
        url = origin.url("body")
        with Reader(url, root) as one, Reader(url, root) as other:
            one.opened().ask(0, len(DATA))
            other.opened().ask(0, len(DATA))
            one.answers(0, len(DATA))
            other.answers(0, len(DATA))
        assert origin.sent <= len(DATA) + SLACK


def test_one_that_asks_far_ahead_of_a_paused_one_is_served_and_goes_on_when_that_is_killed(root, liveness):
    with Origin({"body": DATA}, rate=3_000_000, delay=0.01) as origin:
        url = origin.url("body")
        with Reader(url, root, complete=False) as first:
            first.opened().read(0, 10)
            with Reader(url, root, complete=False) as second:
                second.opened().read(1_000_000, 100_000)
                first.read(1_000_000, 100)  # it was the first one that brought it
                first.kill()
                killed = time.monotonic()
                second.read(500_000, 10)
                assert time.monotonic() - killed < liveness(1.0)
                second.read(0, len(DATA))
        assert origin.sent <= len(DATA) + SLACK


def test_one_that_closes_leaves_the_rest_to_the_other(root):
    with Origin({"body": DATA}) as origin, Reader(origin.url("body"), root, complete=False) as first:
        first.opened().read(0, 10)
        with Reader(origin.url("body"), root, complete=False) as second:
            second.opened()
            first.process.stdin.close()
            first.process.wait(20)
            second.read(0, len(DATA))
            wait_for_the_commit(root)
        assert origin.sent <= len(DATA) + SLACK
    with kithara.AssetStore(root) as store:
        assert [] == store.verify()


def test_what_both_have_read_is_whole_for_a_third_without_a_request(root):
    with Origin({"body": DATA}) as origin:
        url = origin.url("body")
        with Reader(url, root) as one, Reader(url, root) as other:
            one.opened().read(0, len(DATA))
            other.opened().read(0, len(DATA))
            wait_for_the_commit(root)
        asked = origin.mark()
        with Reader(url, root) as third:
            third.opened().read(700_000, 1000)
        assert [] == asked.requests
