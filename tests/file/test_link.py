"""On a slow link: a jump costs one request and one delay, and nothing comes twice."""

import io
import random
import time

from support.waiting import eventually, liveness

import kithara
from kithara.cli.origin import Origin

MB = 1_000_000
DELAY = 0.03


def large(size, seed=2):
    return random.Random(seed).randbytes(MB) * (size // MB)


def wasted(requests, size):
    """Bytes that were sent more than once or for nothing."""
    return sum(request.sent for request in requests) - size


def test_a_jump_in_a_60_mb_file_on_a_1_mb_link_costs_one_request_and_one_delay(store):
    data = large(60 * MB)
    with Origin({"a": data}, rate=MB, delay=DELAY) as origin:
        with kithara.open(origin.url("a"), store=store) as reader:
            assert data[:1000] == reader.read(1000)
            target = 54 * MB
            jump = origin.mark()
            began = time.monotonic()
            reader.seek(target)
            assert data[target : target + 1000] == reader.read(1000)
            took = time.monotonic() - began
            sent, asked = jump.sent, [r for r in jump.requests if r.interval[0] >= MB]
            assert liveness(3 * DELAY) >= took
            assert 1 == len(asked)
            assert target == asked[0].interval[0]
            assert MB >= sent

            reader.seek(-128, io.SEEK_END)
            assert data[-128:] == reader.read()
            assert reader.store.next_gap(0, len(data)) is not None

            origin.rate = 200 * MB  # the long tail, quicker
            reader.seek(0)
            assert data == reader.read()
            eventually(lambda: "committed" == reader.status)
        assert 64 << 10 >= wasted(origin.requests, len(data))
        with kithara.open(origin.url("a"), store=store, offline=True) as reader:
            assert data == reader.read()


def test_the_first_byte_comes_one_delay_after_the_headers(store):
    with Origin({"a": large(5 * MB)}, rate=MB, delay=0.1) as origin:
        began = time.monotonic()
        with kithara.open(origin.url("a"), store=store) as reader:
            assert 1 == len(reader.read(1))
            assert liveness(0.2) >= time.monotonic() - began
