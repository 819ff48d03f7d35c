"""How a file that is read in order is cut into requests: few, large, and none of them in vain."""

from __future__ import annotations

import random

import kithara
from kithara.cli.origin import Origin

MB = 1 << 20
LARGE = random.Random(2).randbytes(24 * MB)


def test_a_file_read_in_order_comes_once_and_in_few_requests(store):
    got = bytearray()
    with Origin({"a": LARGE}) as origin, kithara.open(origin.url("a"), store=store) as reader:
        while piece := reader.read(64 << 10):
            got += piece
        spans = sorted((start, stop - start) for start, stop in (request.interval for request in origin.requests))
    assert LARGE == bytes(got)
    assert len(LARGE) == sum(size for _, size in spans)
    assert len(LARGE) == sum(request.sent for request in origin.requests)
    assert len(spans) < len(LARGE) // (128 << 10)
