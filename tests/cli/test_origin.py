"""The loopback origin: HTTP as real servers speak it, over a link whose numbers hold."""

from __future__ import annotations

import http.client
import random
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.leaks import no_leaks
from support.waiting import eventually, liveness

from kithara.cli.origin import Body, Origin

DATA = random.Random(3).randbytes(100_000)


@contextmanager
def asking(origin: Origin) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", int(origin.url("").split(":")[2].rstrip("/")), timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    origin: Origin, method: str = "GET", path: str = "/a.mp3", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    with asking(origin) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()


@pytest.mark.parametrize(
    ("asked", "status", "interval"),
    [
        ("bytes=0-99", 206, (0, 100)),
        ("bytes=500-", 206, (500, 100_000)),
        ("bytes=-128", 206, (99_872, 100_000)),
        ("bytes=-200000", 206, (0, 100_000)),
        ("bytes=99999-200000", 206, (99_999, 100_000)),
        ("bytes=100000-", 416, (0, 0)),
        ("bytes=-0", 416, (0, 0)),
        ("bytes=9-3", 200, (0, 100_000)),
        ("bytes=0-1,5-6", 200, (0, 100_000)),
        ("frames=0-1", 200, (0, 100_000)),
    ],
)
def test_a_range_is_answered_as_rfc_9110_says(asked: str, status: int, interval: tuple[int, int]) -> None:
    with Origin({"a.mp3": DATA}) as origin:
        response, body = ask(origin, Range=asked)
        start, stop = interval
        assert status == response.status
        assert DATA[start:stop] == body
        total = {206: f"bytes {start}-{stop - 1}/100000", 416: "bytes */100000", 200: None}[status]
        assert total == response.headers["Content-Range"]


def test_if_range_gives_the_part_only_while_the_entity_is_the_same() -> None:
    with Origin({"a.mp3": Body(data=DATA, etag='"one"', modified=1_700_000_000)}) as origin:
        modified = ask(origin, "HEAD")[0].headers["Last-Modified"]
        statuses = [
            ask(origin, Range="bytes=0-9", If_Range=condition)[0].status
            for condition in ('"one"', '"two"', modified, 'W/"one"')
        ]
        assert [206, 200, 206, 200] == statuses


def test_a_weak_tag_never_satisfies_if_range() -> None:
    with Origin({"a.mp3": Body(data=DATA, etag='W/"one"')}) as origin:
        assert 200 == ask(origin, Range="bytes=0-9", If_Range='W/"one"')[0].status


def test_a_file_is_served_like_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(DATA)
    with Origin({"/a.flac": tmp_path / "a.flac"}) as origin:
        response, body = ask(origin, path="/a.flac", Range="bytes=1000-1999")
        assert (DATA[1000:2000], "audio/flac") == (body, response.headers["Content-Type"])


def test_head_404_304_and_405_have_no_body() -> None:
    with Origin({"a.mp3": Body(data=DATA, etag='"one"')}) as origin:
        answers = [
            ask(origin, "HEAD"),
            ask(origin, path="/b.mp3"),
            ask(origin, If_None_Match='"one"'),
            ask(origin, "POST"),
        ]
        assert [(200, b""), (404, b""), (304, b""), (405, b"")] == [(answer.status, body) for answer, body in answers]
        assert "100000" == answers[0][0].headers["Content-Length"]
        assert 0 == origin.sent


def test_without_ranges_the_whole_body_comes() -> None:
    with Origin({"a.mp3": DATA}, ranges=False) as origin:
        response, body = ask(origin, Range="bytes=5-9")
        assert (200, "none", DATA) == (response.status, response.headers["Accept-Ranges"], body)


def test_one_connection_carries_many_requests() -> None:
    with Origin({"a.mp3": DATA}) as origin, asking(origin) as connection:
        for start in range(0, 3000, 1000):
            connection.request("GET", "/a.mp3", headers={"Range": f"bytes={start}-{start + 999}"})
            assert DATA[start : start + 1000] == connection.getresponse().read()
        assert [(0, 999), (1000, 1999), (2000, 2999)] == [request.range for request in origin.requests]


def test_requests_and_bytes_are_counted_from_a_mark() -> None:
    with Origin({"a.mp3": DATA}) as origin:
        ask(origin)
        mark = origin.mark()
        ask(origin, Range="bytes=0-9")
        assert (10, ["/a.mp3"], 100_010) == (mark.sent, [request.path for request in mark.requests], origin.sent)
        assert (206, (0, 10), True) == (mark.requests[0].status, mark.requests[0].interval, mark.requests[0].complete)


def test_all_connections_share_the_rate() -> None:
    with Origin({"a.mp3": DATA}, rate=200_000, burst=0.01) as origin, asking(origin) as one, asking(origin) as two:
        started = time.monotonic()
        for connection in (one, two):
            connection.request("GET", "/a.mp3", headers={"Range": "bytes=0-39999"})
        assert DATA[:40_000] * 2 == one.getresponse().read() + two.getresponse().read()
        # 80 000 bytes at 200 000 a second, less the burst; slower only by the machine's own delays.
        assert 0.385 <= time.monotonic() - started


def test_the_delay_comes_before_the_first_byte() -> None:
    with Origin({"a.mp3": DATA}, delay=0.05) as origin, asking(origin) as connection:
        started = time.monotonic()
        connection.request("GET", "/a.mp3")
        connection.getresponse()
        assert 0.05 <= time.monotonic() - started


def test_pieces_are_seeded_small_and_whole() -> None:
    with Origin({"a.mp3": DATA}, pieces=5) as origin:
        assert DATA == ask(origin)[1]
        sizes = [len(piece) for piece in Body(data=DATA).blocks(0, 100_000, origin.sizes())]
        assert sizes == [len(piece) for piece in Body(data=DATA).blocks(0, 100_000, origin.sizes())]
        assert max(sizes) <= 700
        assert len(sizes) > 200


def test_nothing_is_sent_to_a_client_that_has_gone() -> None:
    with Origin({"a.mp3": bytes(5_000_000)}, rate=1_000_000) as origin:
        with asking(origin) as connection:
            connection.request("GET", "/a.mp3")
            connection.getresponse().read(20_000)
            [request] = origin.requests
            mark = origin.mark()
        eventually(lambda: request.ended)
        assert mark.sent <= 64 * 1024
        assert not request.complete


def test_switched_off_it_cuts_and_refuses_and_on_again_it_is_at_the_same_port() -> None:
    with Origin({"a.mp3": bytes(5_000_000)}, rate=100_000) as origin:
        url = origin.url("a.mp3")
        with asking(origin) as connection:
            connection.request("GET", "/a.mp3")
            response = connection.getresponse()
            started = time.monotonic()
            origin.switch_off()
            assert time.monotonic() - started < liveness(1)
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                response.read()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(url)
        origin.rate = None
        origin.switch_on()
        assert url == origin.url("a.mp3")
        assert 5_000_000 == len(ask(origin)[1])


@pytest.mark.parametrize("noise", [b"", b"\x16\x03\x01\x02", b"GET /\r\n\r\n", b"\r\n\r\n"])
def test_what_is_not_http_ends_the_connection_and_nothing_else(noise: bytes) -> None:
    with Origin({"a.mp3": DATA}) as origin:
        host, port = origin.url("").removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
            assert b"" == connection.recv(100)
        assert DATA == ask(origin)[1]


def test_it_leaves_nothing_behind() -> None:
    with no_leaks():
        with Origin({"a.mp3": DATA}) as origin, asking(origin) as connection:
            connection.request("GET", "/a.mp3")
            connection.getresponse().read(10)
