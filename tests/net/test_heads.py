"""Heads of answers that are late, endless or not HTTP: docs/http.md H43, H44, H47 to H51."""

from __future__ import annotations

import asyncio

import pytest
from support.faultserver import FaultServer, finish, flood, head, raw, reset, send, stall, trickle, until
from support.fetching import QUICK, fetch, fetch_until_error

from kithara.errors import ConnectFailed, NetTimeout, ProtocolViolation
from kithara.net import HttpClient, HttpOptions

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"


async def test_a_server_that_never_answers_is_left_at_the_headers_limit(server: FaultServer, liveness) -> None:  # H43
    server.on("/", stall())
    async with HttpClient(QUICK) as client:
        began = asyncio.get_running_loop().time()
        _, error = await fetch_until_error(client, server.url())
        assert asyncio.get_running_loop().time() - began < liveness(1.3)
        assert await server.sees(lambda: server.open_now() == 0)
    assert isinstance(error, NetTimeout)
    assert (error.kind, error.retryable) == ("headers", True)


@pytest.mark.parametrize("start", [b"", OK, b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["status", "fields", "after 100"])
async def test_headers_that_trickle_end_at_the_deadline(server: FaultServer, liveness, start: bytes) -> None:  # H44
    server.on("/", raw(start), trickle(b"X-Slow: " + b"x" * 5000, 0.02, body=False))
    async with HttpClient(QUICK) as client:
        began = asyncio.get_running_loop().time()
        _, error = await fetch_until_error(client, server.url())
        assert asyncio.get_running_loop().time() - began < liveness(1.3)
    assert isinstance(error, NetTimeout | ProtocolViolation)


@pytest.mark.parametrize(
    "endless",
    [b"x" * 1000, b"X-Header: y\r\n", b"X-Header: " + b"y" * 7000 + b"\r\n"],
    ids=["one line", "many lines", "long lines"],
)
async def test_endless_headers_are_refused_within_bounded_bytes(server: FaultServer, endless: bytes) -> None:  # H47
    server.on("/", raw(OK + b"X-Start: "), flood(endless, body=True))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, ProtocolViolation)
    assert server.sent < 8 << 20  # what fits into the sockets' buffers


async def test_too_many_headers_are_refused(server: FaultServer) -> None:  # H47
    server.on("/", raw(OK + b"".join(b"X-%d: y\r\n" % n for n in range(1000)) + b"\r\n"), send(b"body"))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, ProtocolViolation)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"X-Nul: a\x00b\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Folded: a\r\n b\r\n\r\n",
        OK + b": no name\r\n\r\n",
        OK + b"Name : blank\r\n\r\n",
        OK + b"X: a\rb\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 999 OK\r\nContent-Length: 4\r\n\r\n",
        b"HTTX/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
        b"<html>an answer of HTTP/0.9</html>",
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_at_once(server: FaultServer, answer: bytes) -> None:  # H48
    server.on("/", raw(answer), send(b"body"), stall())
    async with HttpClient(HttpOptions(headers=30)) as client:
        data, error = await fetch_until_error(client, server.url())
        assert await server.sees(lambda: server.open_now() == 0)
    assert (data, type(error), error.retryable) == (b"", ProtocolViolation, False)


async def test_lines_may_end_without_carriage_return(server: FaultServer) -> None:
    server.on("/", raw(b"HTTP/1.1 200 OK\nContent-Length: 4\n\n"), send(b"body"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"body"


async def test_a_head_may_come_byte_by_byte(server: FaultServer) -> None:
    server.on("/", trickle(OK + b"\r\nbody", 0.0005, body=False))
    async with HttpClient(HttpOptions(headers=10)) as client:
        assert await fetch(client, server.url()) == b"body"


async def test_informational_answers_are_passed_over(server: FaultServer) -> None:  # H49
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    server.on("/", raw(b"HTTP/1.1 100 Continue\r\n\r\n" + early + OK + b"\r\n"), send(b"body"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"body"


async def test_a_flood_of_informational_answers_is_refused(server: FaultServer) -> None:  # H49
    server.on("/", flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 1000))
    async with HttpClient(HttpOptions(headers=30)) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, ProtocolViolation)


async def test_a_slow_drip_of_informational_answers_ends_at_the_deadline(server: FaultServer) -> None:  # H49
    server.on("/", trickle(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.02, size=25))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, NetTimeout)
    assert error.kind == "headers"


@pytest.mark.parametrize("end", [finish(), reset()], ids=["FIN", "RST"])
async def test_a_stale_kept_connection_is_replaced_without_a_word(server: FaultServer, end) -> None:  # H50
    server.on("/", head(length=4), send(b"good"))
    server.on("/", end)
    server.on("/", head(length=4), send(b"next"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"good"
        assert await fetch(client, server.url()) == b"next"
    assert [request.connection for request in server.requests] == [1, 1, 2]


async def test_a_fresh_connection_that_breaks_is_not_repeated_in_silence(server: FaultServer) -> None:  # H50
    server.on("/", finish())
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, ConnectFailed)
    assert error.retryable
    assert len(server.requests) == 1


async def test_an_answer_forged_while_idle_costs_the_connection(server: FaultServer) -> None:  # H51
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    server.on("/", head(length=4), send(b"good"), until("idle"), raw(forged))
    server.on("/", head(length=4), send(b"next"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"good"
        server.open_gate("idle")
        assert await server.sees(lambda: server.open_now() == 0)
        assert await fetch(client, server.url()) == b"next"


async def test_an_answer_forged_for_the_next_request_must_fit_its_range(server: FaultServer) -> None:  # H51
    forged = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-3/10\r\nContent-Length: 4\r\n\r\nevil"
    server.on("/", head(length=4), send(b"good"))
    server.on("/", raw(forged))
    server.on("/", head(206, range=(4, 8, 10)), send(b"4567"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"good"
        assert await fetch(client, server.url(), 4, 8) == b"4567"
    assert [request.connection for request in server.requests] == [1, 1, 2]


async def test_a_refused_connection_says_so(no_leaks: None) -> None:  # H42
    with FaultServer() as server:
        url = server.url()
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, url)
    assert isinstance(error, ConnectFailed)
    assert "refused" in str(error).lower()
    assert error.retryable


async def test_a_name_that_does_not_resolve_says_so() -> None:  # H42
    async with HttpClient(HttpOptions(connect=10)) as client:
        _, error = await fetch_until_error(client, "http://no-such-host.invalid/")
    assert isinstance(error, ConnectFailed)
    assert "resolved" in str(error)
