"""Answers to range requests: docs/http.md H18 to H36, H65."""

from __future__ import annotations

import pytest
from support.faultserver import FaultServer, finish, head, raw, send, stall, when
from support.fetching import QUICK, fetch, fetch_until_error

from kithara.errors import (
    BodyTruncated,
    HttpStatus,
    KitharaError,
    ProtocolViolation,
    RangeMismatch,
    RepresentationChanged,
    TooLarge,
)
from kithara.net import HttpClient, HttpOptions, Representation

DATA = b"0123456789"
HELD = Representation(total=10, etag='"v1"')


async def test_a_range_is_asked_for_closed_and_without_coding(server: FaultServer) -> None:
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client, client.stream(server.url(), 2, 5) as body:
        assert (body.status, body.start, body.stop, body.ranges, body.verified) == (206, 2, 5, True, True)
        assert body.representation.total == 10
        assert b"".join([piece async for piece in body]) == b"234"
    [request] = server.requests
    assert (request.header("range"), request.header("accept-encoding")) == ("bytes=2-4", "identity")
    assert request.header("if-range") is None


async def test_everything_is_asked_for_without_a_range(server: FaultServer) -> None:
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client, client.stream(server.url()) as body:
        assert (body.status, body.start, body.stop, body.ranges) == (200, 0, 10, True)
        assert b"".join([piece async for piece in body]) == DATA
    assert server.requests[0].header("range") is None


async def test_an_open_range_goes_to_the_end(server: FaultServer) -> None:
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 7) == b"789"
    assert server.requests[0].header("range") == "bytes=7-"


async def test_a_server_that_ignores_ranges_gives_the_whole_from_0(server: FaultServer) -> None:  # H18
    server.serve("/", DATA, ranges=False)
    async with HttpClient(QUICK) as client, client.stream(server.url(), 4, 6) as body:
        assert (body.start, body.stop, body.ranges) == (0, 10, False)
        assert b"".join([piece async for piece in body]) == DATA
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        head(206, range=(3, 5, 10)),
        head(206, range=(0, 5, 10)),
        head(206, {"Content-Range": "bytes 2-1/10"}, length=3),
        head(206, {"Content-Range": "bytes 2-4/3"}, length=3),
        head(206, {"Content-Range": "bytes 2-4"}, length=3),
        head(206, {"Content-Range": "2-4/10"}, length=3),
        head(206, {"Content-Range": "items 2-4/10"}, length=3),
        head(206, {"Content-Range": "bytes two-four/10"}, length=3),
        head(206, {"Content-Range": "bytes 2-4/99999999999999999999999"}, length=3),
        head(206, {"Content-Range": "bytes */10"}, length=3),
        head(206, length=3),
        head(206, range=(2, 5, "*")),
        head(206, range=(2, 5, 10), length=2),
    ],
    ids=[
        "later",
        "earlier",
        "backwards",
        "past its total",
        "no total",
        "no unit",
        "another unit",
        "words",
        "absurd",
        "unsatisfied",
        "none",
        "unknown total",
        "another length",
    ],
)
async def test_a_part_that_is_not_the_one_asked_for_is_refused_after_a_second_try(server: FaultServer, answer) -> None:
    # H19, H21, H22, H25
    server.on("/", answer, send(b"xyz"))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 2, 5)
    assert (data, type(error), error.range) == (b"", RangeMismatch, (2, 5))
    assert [request.header("connection") for request in server.requests] == [None, "close"]
    assert [request.connection for request in server.requests] == [1, 2]


async def test_a_mismatch_of_the_connection_is_healed_by_a_fresh_one(server: FaultServer) -> None:  # H19, H51
    server.serve("/warm", DATA)
    server.on("/", head(206, range=(3, 5, 10)), send(b"xy"))
    server.on("/", head(206, range=(2, 5, 10)), send(b"234"))
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url("/warm"), 0, 1)
        assert await fetch(client, server.url(), 2, 5) == b"234"
    assert [request.connection for request in server.requests] == [1, 1, 2]


async def test_an_unknown_total_is_accepted_where_it_is_known_already(server: FaultServer) -> None:  # H22
    server.on("/", head(206, range=(2, 5, "*")), send(b"234"))
    async with HttpClient(QUICK) as client, client.stream(server.url(), 2, 5, representation=HELD) as body:
        assert body.representation.total == 10
        assert b"".join([piece async for piece in body]) == b"234"


async def test_an_unknown_total_past_the_known_one_is_refused(server: FaultServer) -> None:  # H22
    server.on("/", head(206, range=(8, 12, "*")), send(b"89xx"))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), 8, 12, representation=HELD)
    assert isinstance(error, RangeMismatch)


async def test_a_total_that_differs_is_another_representation(server: FaultServer) -> None:  # H23
    server.on("/", head(206, range=(2, 5, 11)), send(b"234"))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 2, 5, representation=Representation(total=10))
    assert (data, type(error)) == (b"", RepresentationChanged)


async def test_a_shorter_part_than_asked_for_says_where_it_stops(server: FaultServer) -> None:  # H24
    server.on("/", head(206, range=(2, 4, 10)), send(b"23"))
    async with HttpClient(QUICK) as client, client.stream(server.url(), 2, 8) as body:
        assert (body.start, body.stop) == (2, 4)
        assert b"".join([piece async for piece in body]) == b"23"


async def test_bytes_of_a_longer_part_are_cut_off(server: FaultServer) -> None:  # H25
    server.on("/", head(206, range=(2, 10, 10)), send(b"23456789"))
    async with HttpClient(QUICK) as client, client.stream(server.url(), 2, 5) as body:
        assert body.stop == 5
        assert b"".join([piece async for piece in body]) == b"234"


async def test_a_chunked_part_longer_than_its_range_is_cut_off(server: FaultServer) -> None:  # H25
    server.on("/", head(206, range=(2, 5, 10), chunked=True), send(b"8\r\n23456789\r\n0\r\n\r\n"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 2, 5) == b"234"


async def test_a_part_that_ends_before_its_range_is_truncated(server: FaultServer) -> None:
    server.on("/", head(206, range=(2, 5, 10), chunked=True), send(b"2\r\n23\r\n0\r\n\r\n"))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 2, 5)
    assert (data, type(error)) == (b"23", BodyTruncated)


async def test_several_parts_are_refused(server: FaultServer) -> None:  # H26
    body = b"--b\r\nContent-Range: bytes 2-4/10\r\n\r\n234\r\n--b--\r\n"
    kind = {"Content-Type": "multipart/byteranges; boundary=b"}
    server.on("/", head(206, kind, length=len(body)), send(body))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 2, 5)
    assert (data, type(error)) == (b"", ProtocolViolation)


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes */10"}, {"Content-Range": "garbage"}])
async def test_a_range_refused_wrongly_is_asked_for_once_more_without_range(server: FaultServer, headers) -> None:
    # H27
    server.on("/", head(416, headers, length=0))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), 2, 5)
    assert isinstance(error, HttpStatus)
    assert (error.status, error.retryable) == (416, False)
    assert [request.header("range") for request in server.requests] == ["bytes=2-4", None]


async def test_a_server_that_refuses_every_range_still_gives_the_whole(server: FaultServer) -> None:  # H27
    server.on("/", when(lambda r: r.range is not None, [head(416, length=0)], [head(length=10), send(DATA)]))
    async with HttpClient(QUICK) as client, client.stream(server.url(), 2, 5) as body:
        assert (body.start, body.ranges) == (0, False)
        assert b"".join([piece async for piece in body]) == DATA


async def test_a_range_behind_the_end_is_an_empty_body_that_tells_the_length(server: FaultServer) -> None:  # H27
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client, client.stream(server.url(), 10, 20) as body:
        assert (body.status, body.start, body.stop, body.representation.total) == (416, 10, 10, 10)
        assert [piece async for piece in body] == []


async def test_a_range_behind_the_end_of_something_shorter_than_held_is_a_change(server: FaultServer) -> None:  # H27
    server.serve("/", DATA[:5])
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), 7, 9, representation=Representation(total=10))
    assert isinstance(error, RepresentationChanged)


async def test_an_empty_resource_is_refused(server: FaultServer) -> None:  # H16
    server.on("/", head(416, {"Content-Range": "bytes */0"}, length=0))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), 0, 5)
    assert isinstance(error, ProtocolViolation)


async def test_a_whole_that_claims_a_range_is_refused(server: FaultServer) -> None:  # H28
    server.on("/", head(200, {"Content-Range": "bytes 2-4/10"}, length=3), send(b"234"))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 2, 5)
    assert (data, type(error)) == (b"", ProtocolViolation)


async def test_a_part_that_nobody_asked_for_is_refused(server: FaultServer) -> None:  # H29
    server.on("/", head(206, range=(0, 3, 10)), send(b"012"))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert (data, type(error)) == (b"", ProtocolViolation)


async def test_a_strong_tag_is_sent_in_if_range(server: FaultServer) -> None:  # H30
    server.serve("/", DATA, etag='"v1"')
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 2, 5, representation=HELD) == b"234"
    assert server.requests[0].header("if-range") == '"v1"'


async def test_a_changed_tag_is_never_mixed_with_what_is_held(server: FaultServer) -> None:  # H30
    server.serve("/", b"abcdefghij", etag='"v2"')
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 2, 5, representation=HELD)
    assert (data, type(error), error.retryable) == (b"", RepresentationChanged, False)


async def test_a_part_of_the_new_one_despite_if_range_is_caught_by_its_tag(server: FaultServer) -> None:  # H31
    server.on("/", head(206, range=(2, 5, 10), etag='"v2"'), send(b"cde"))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 2, 5, representation=HELD)
    assert (data, type(error)) == (b"", RepresentationChanged)


async def test_a_part_may_leave_out_what_if_range_has_settled(server: FaultServer) -> None:  # H31
    server.on("/", head(206, range=(2, 5, 10)), send(b"234"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 2, 5, representation=HELD) == b"234"


async def test_a_whole_of_the_same_tag_is_good_from_0(server: FaultServer) -> None:
    server.serve("/", DATA, ranges=False)
    async with HttpClient(QUICK) as client, client.stream(server.url(), 2, 5, representation=HELD) as body:
        assert body.start == 0
        assert b"".join([piece async for piece in body]) == DATA


async def test_a_weak_tag_is_never_sent_in_if_range(server: FaultServer) -> None:  # H33
    server.serve("/", DATA, etag='W/"v1"')
    held = Representation(total=10, etag='W/"v1"')
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 2, 5, representation=held) == b"234"
    assert server.requests[0].header("if-range") is None


async def test_an_old_modification_date_is_sent_in_if_range(server: FaultServer) -> None:  # H34
    modified = "Sat, 21 Nov 2020 10:00:00 GMT"
    server.serve("/", DATA, etag=None, last_modified=modified)
    held = Representation(total=10, last_modified=modified, date="Sat, 21 Nov 2020 10:00:01 GMT")
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 2, 5, representation=held) == b"234"
    assert server.requests[0].header("if-range") == modified


@pytest.mark.parametrize(
    "change",
    [
        {"Last-Modified": "Sun, 22 Nov 2020 10:00:00 GMT", "Content-Type": "audio/mpeg"},
        {"Last-Modified": "Sat, 21 Nov 2020 10:00:00 GMT", "Content-Type": "text/html"},
    ],
)
async def test_without_tags_date_and_type_must_agree(server: FaultServer, change) -> None:  # H34
    held = Representation(total=10, last_modified="Sat, 21 Nov 2020 10:00:00 GMT", content_type="audio/mpeg")
    server.on("/", head(206, change, range=(2, 5, 10)), send(b"234"))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), 2, 5, representation=held)
    assert isinstance(error, RepresentationChanged)


async def test_a_tag_that_changes_with_every_answer_is_served_to_who_holds_nothing(server: FaultServer) -> None:  # H35
    for version in range(3):
        server.on("/", head(206, range=(2, 5, 10), etag=f'"{version}"'), send(b"234"))
    async with HttpClient(QUICK) as client:
        assert [await fetch(client, server.url(), 2, 5) for _ in range(3)] == [b"234"] * 3


async def test_a_date_within_the_same_second_is_not_sent_in_if_range(server: FaultServer) -> None:  # H36
    moment = "Sat, 21 Nov 2020 10:00:00 GMT"
    server.serve("/", DATA, etag=None, last_modified=moment)
    held = Representation(total=10, last_modified=moment, date=moment)
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 2, 5, representation=held) == b"234"
    assert server.requests[0].header("if-range") is None


async def test_a_probe_learns_length_and_ranges_from_one_byte(server: FaultServer) -> None:
    server.serve("/", DATA, content_type="audio/flac")
    async with HttpClient(QUICK) as client:
        found = await client.probe(server.url())
    assert (found.representation.total, found.representation.content_type, found.ranges) == (10, "audio/flac", True)
    assert [(request.method, request.header("range")) for request in server.requests] == [("GET", "bytes=0-0")]


async def test_a_probe_of_a_server_without_ranges_reads_no_body(server: FaultServer) -> None:
    server.on("/", head(length=10), stall())
    async with HttpClient(QUICK) as client:
        found = await client.probe(server.url())
    assert (found.representation.total, found.ranges) == (10, False)


@pytest.mark.parametrize(
    ("answer", "total"), [(head(405, length=0), None), (head(length=10), 10), (head(200), None), (head(500), None)]
)
async def test_a_probe_asks_head_only_where_get_does_not_tell_the_length(server: FaultServer, answer, total) -> None:
    # H65
    server.on("/", when(lambda r: r.method == "HEAD", [answer], [head(), send(b"0"), stall()]))
    async with HttpClient(QUICK) as client:
        found = await client.probe(server.url())
    assert found.representation.total == total
    assert [request.method for request in server.requests] == ["GET", "HEAD"]


async def test_a_head_that_speaks_of_something_else_is_not_believed(server: FaultServer) -> None:  # H65
    other = head(length=99, etag='"other"')
    server.on("/", when(lambda r: r.method == "HEAD", [other], [head(etag='"v1"'), send(b"0"), stall()]))
    async with HttpClient(QUICK) as client:
        found = await client.probe(server.url())
    assert found.representation.total is None


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (5, 5), (5, 4)])
async def test_an_interval_without_bytes_is_a_mistake_of_the_caller(server: FaultServer, start, stop) -> None:
    async with HttpClient(QUICK) as client:
        with pytest.raises(ValueError, match="no range of bytes"):
            await fetch(client, server.url(), start, stop)
    assert server.requests == []


async def test_a_mismatch_closes_its_connection(server: FaultServer, no_leaks: None) -> None:
    server.on("/", head(206, range=(0, 1000, 1000)), stall())
    async with HttpClient(QUICK) as client:
        for _ in range(3):
            with pytest.raises(RangeMismatch):
                await fetch(client, server.url(), 2, 5)
        assert await server.sees(lambda: server.open_now() == 0)


async def test_the_limit_on_size_counts_the_whole_and_not_the_part(server: FaultServer) -> None:
    server.serve("/", DATA)
    async with HttpClient(HttpOptions(max_resource_bytes=9)) as client:
        _, error = await fetch_until_error(client, server.url(), 0, 2)
    assert isinstance(error, TooLarge)


async def test_an_error_names_url_range_and_what_was_done(server: FaultServer) -> None:
    server.on("/song", raw(b"HTTP/1.1 206 Said\r\nContent-Length: 3\r\n\r\n"), send(b"234"), finish())
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url("/song?token=secret"), 2, 5)
    assert isinstance(error, KitharaError)
    assert (error.url, error.range, error.operation) == (server.url("/song?…"), (2, 5), "fetching")
