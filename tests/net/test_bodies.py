"""Bodies that end wrongly, or never: docs/http.md H1 to H17, H45, H46."""

from __future__ import annotations

import asyncio

import pytest
from support.faultserver import (
    Exchange,
    FaultServer,
    chunk,
    finish,
    flood,
    head,
    last_chunk,
    raw,
    reset,
    send,
    stall,
    trickle,
    until,
)
from support.fetching import QUICK, fetch, fetch_until_error
from support.waiting import liveness

from kithara.errors import BodyTruncated, EmptyBody, NetTimeout, ProtocolViolation, TooLarge
from kithara.net import HttpClient, HttpOptions


@pytest.mark.parametrize("end", [finish(), reset()], ids=["FIN", "RST"])
async def test_a_body_shorter_than_declared_keeps_its_bytes_and_raises(server: FaultServer, end) -> None:  # H1, H2
    server.on("/", head(length=10), send(b"0123"), end)
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert data == b"0123"
    assert isinstance(error, BodyTruncated)
    assert (error.expected, error.got, error.retryable) == (10, 4, True)


async def test_every_byte_before_a_reset_is_delivered_however_many_are_buffered(server: FaultServer) -> None:  # H2
    part = bytes(range(256)) * 200
    server.on("/", head(length=100_000), send(part), reset())
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert isinstance(error, BodyTruncated)
    assert data == part


@pytest.mark.parametrize("end", [finish(), reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    "steps",
    [[raw(b"a\r\n01234")], [chunk(b"01234")], [chunk(b"01234"), raw(b"0")]],
    ids=["in a chunk", "between chunks", "in the last one"],
)
async def test_a_chunked_body_without_its_last_chunk_is_not_complete(server: FaultServer, steps, end) -> None:  # H3, H4
    server.on("/", head(chunked=True), *steps, end)
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert data == b"01234"
    assert isinstance(error, BodyTruncated)


@pytest.mark.parametrize("size", ["xyz", "-5", "FFFFFFFFFFFFFFFFFF", "", "5 5", "0x5"])
async def test_a_malformed_chunk_size_in_a_later_segment_ends_the_body_at_once(server: FaultServer, size: str) -> None:
    # H5, H6
    server.on("/", head(chunked=True), chunk(b"good"), until("read"), chunk(b"bad", size), stall())
    async with HttpClient(HttpOptions(idle=liveness(20))) as client:
        async with client.stream(server.url()) as body:
            assert await anext(body) == b"good"
            server.open_gate("read")
            with pytest.raises(ProtocolViolation):
                async with asyncio.timeout(liveness(5)):
                    await anext(body)
        assert await server.sees(lambda: server.open_now() == 0)


async def test_a_content_length_too_big_is_a_truncated_body(server: FaultServer) -> None:  # H7
    server.on("/", head(length=11), send(b"0123456789"), finish())
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert (data, type(error)) == (b"0123456789", BodyTruncated)


@pytest.mark.parametrize("together", [True, False])
async def test_bytes_behind_the_declared_length_go_with_their_connection(server: FaultServer, together) -> None:
    # H8
    extra = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    steps = [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + extra)]
    server.on("/", *(steps if together else [head(length=4), send(b"good"), until("more"), send(extra)]))
    server.on("/", head(length=4), send(b"next"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"good"
        server.open_gate("more")
        assert await server.sees(lambda: server.open_now() == 0)
        assert await fetch(client, server.url()) == b"next"
    assert server.accepted == 2


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\x00\x01"])
async def test_bytes_behind_a_chunked_body_are_ignored_with_their_connection(server: FaultServer, garbage) -> None:
    # H8, H51
    server.on("/", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n" + garbage))
    server.on("/", head(length=4), send(b"next"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"good"
        assert await fetch(client, server.url()) == b"next"
    assert server.accepted == 2


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 5",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: 1e3",
        "Content-Length: +5",
        "Content-Length: 100000000000000000000",
        "Content-Length: 9223372036854775808",
        "Content-Length: ",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ],
)
async def test_a_length_that_two_readers_could_disagree_about_is_refused(server: FaultServer, lengths: str) -> None:
    # H9, H10, H11
    server.on("/", raw(f"HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n4\r\nbody\r\n0\r\n\r\n".encode()))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert (data, type(error), error.retryable) == (b"", ProtocolViolation, False)


async def test_an_absurd_length_is_refused_before_a_byte_is_read(server: FaultServer) -> None:  # H12
    server.on("/", head(length=1 << 40), stall())
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert (data, type(error)) == (b"", TooLarge)


async def test_an_absurd_total_is_refused_before_a_byte_is_read(server: FaultServer) -> None:  # H12
    server.on("/", head(206, range=(0, 10, 1 << 40)), stall())
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), 0, 10)
    assert isinstance(error, TooLarge)


async def test_a_chunked_body_has_no_total_and_a_verified_end(server: FaultServer) -> None:  # H13
    server.on("/", head(chunked=True), chunk(b"abc"), chunk(b"def"), last_chunk())
    async with HttpClient(QUICK) as client, client.stream(server.url()) as body:
        assert (body.representation.total, body.stop, body.verified) == (None, None, True)
        assert b"".join([piece async for piece in body]) == b"abcdef"


async def test_a_body_that_ends_with_its_connection_is_whole_but_not_verified(server: FaultServer) -> None:  # H14, H15
    server.on("/", head(), send(b"abc"), finish())
    async with HttpClient(QUICK) as client, client.stream(server.url()) as body:
        assert (body.stop, body.verified) == (None, False)
        assert b"".join([piece async for piece in body]) == b"abc"


async def test_a_reset_in_a_body_without_length_is_no_end(server: FaultServer) -> None:  # H15
    server.on("/", head(), send(b"abc"), reset())
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert (data, type(error)) == (b"abc", BodyTruncated)


@pytest.mark.parametrize("status", [200, 201, 204, 205, 304])
async def test_an_answer_without_a_body_is_refused(server: FaultServer, status: int) -> None:  # H16
    server.on("/", head(status, length=None if status in (204, 304) else 0))
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert data == b""
    assert isinstance(error, ProtocolViolation)


@pytest.mark.parametrize("steps", [[head(chunked=True), last_chunk()], [head(), finish()]], ids=["chunked", "close"])
async def test_a_body_of_no_bytes_is_refused_at_its_end(server: FaultServer, steps) -> None:  # H16
    server.on("/", *steps)
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url())
    assert (data, type(error)) == (b"", EmptyBody)


async def test_an_infinite_body_stops_at_the_limit_on_size(server: FaultServer) -> None:  # H17
    server.on("/", head(), flood(bytes(65536)))
    async with HttpClient(HttpOptions(max_resource_bytes=1 << 20)) as client:
        data, error = await fetch_until_error(client, server.url())
        assert await server.sees(lambda: server.open_now() == 0)
    assert isinstance(error, TooLarge)
    assert len(data) <= 1 << 20


async def test_a_body_that_nobody_reads_holds_its_server_still(server: FaultServer) -> None:  # H17
    server.on("/", head(), flood(bytes(65536)))
    async with HttpClient(QUICK) as client, client.stream(server.url()) as body:
        await anext(body)
        before = -1
        while before != server.sent:  # until the sockets' buffers are full and nothing moves any more
            before = server.sent
            await server.sees(lambda sent=before: server.sent != sent, 0.3)
        assert server.sent < 32 << 20


async def test_a_stall_within_the_body_ends_at_the_idle_limit(server: FaultServer, liveness) -> None:  # H46
    server.on("/", head(length=10), send(b"012"), stall())
    async with HttpClient(QUICK) as client:
        began = asyncio.get_running_loop().time()
        data, error = await fetch_until_error(client, server.url())
        took = asyncio.get_running_loop().time() - began
    assert (data, type(error)) == (b"012", NetTimeout)
    assert error.kind == "idle"
    assert took < liveness(QUICK.idle + 1)


async def test_a_trickle_below_the_minimum_rate_is_a_timeout(server: FaultServer) -> None:  # H45
    server.on("/", head(length=10_000), trickle(bytes(10_000), 0.02))
    async with HttpClient(HttpOptions(idle=0.2, min_rate=10_000)) as client:
        data, error = await fetch_until_error(client, server.url())
    assert isinstance(error, NetTimeout)
    assert (error.kind, error.retryable) == ("rate", True)
    assert 0 < len(data) < 1000


async def test_a_trickle_is_borne_without_a_minimum_rate(server: FaultServer) -> None:  # H45
    server.on("/", head(length=30), trickle(bytes(30), 0.01))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == bytes(30)


async def test_a_call_ends_at_its_total_limit(server: FaultServer) -> None:  # H45
    server.on("/", head(length=10_000), trickle(bytes(10_000), 0.02))
    async with HttpClient(HttpOptions(idle=5, total=0.3)) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, NetTimeout)
    assert error.kind == "total"


async def test_bytes_come_as_they_arrive_and_not_in_blocks(server: FaultServer) -> None:
    server.on("/", head(length=6), send(b"a"), until("1"), send(b"bc"), until("2"), send(b"def"))
    async with HttpClient(QUICK) as client, client.stream(server.url()) as body:
        pieces = []
        async for piece in body:
            pieces.append(piece)
            server.open_gate(str(len(pieces)))
    assert pieces == [b"a", b"bc", b"def"]


async def test_a_body_is_not_blamed_for_the_next_one_on_its_connection(server: FaultServer) -> None:
    server.on("/", head(length=4), send(b"good"))
    server.on("/", head(length=4), send(b"ba"), reset())
    async with HttpClient(QUICK) as client, client.stream(server.url()) as unread:
        async with asyncio.timeout(5):
            await unread._answer.content.wait_eof()  # all of it is here, and its connection back in the pool
        data, error = await fetch_until_error(client, server.url())
        assert (data, type(error)) == (b"ba", BodyTruncated)
        assert b"".join([piece async for piece in unread]) == b"good"
    assert [request.connection for request in server.requests] == [1, 1]


async def test_leaving_a_body_early_closes_its_connection(server: FaultServer) -> None:
    server.on("/", head(length=1000), send(b"0123"), stall())
    async with HttpClient(QUICK) as client:
        async with client.stream(server.url()) as body:
            await anext(body)
        assert await server.sees(lambda: server.open_now() == 0)


async def test_a_body_read_to_its_end_leaves_its_connection_for_the_next_request(server: FaultServer) -> None:
    server.serve("/", b"0123456789")
    async with HttpClient(QUICK) as client:
        for _ in range(5):
            assert await fetch(client, server.url(), 2, 6) == b"2345"
    assert (server.accepted, len(server.requests)) == (1, 5)


async def test_an_icy_answer_is_a_broadcast(server: FaultServer) -> None:
    def in_two(exchange: Exchange) -> None:
        exchange.write(b"IC", body=False)
        exchange.wait_for_client(0.05)
        exchange.write(b"Y 200 OK\r\nicy-br: 128\r\nContent-Type: audio/mpeg\r\n\r\n", body=False)

    server.on("/", in_two, send(b"tune"), finish())
    async with HttpClient(QUICK) as client, client.stream(server.url()) as body:
        assert (body.endless, body.stop, body.headers["icy-br"]) == (True, None, "128")
        assert b"".join([piece async for piece in body]) == b"tune"


async def test_a_broadcast_goes_on_past_the_limit_on_size(server: FaultServer) -> None:
    server.on("/", head(headers={"icy-name": "radio"}), flood(bytes(65536)))
    async with HttpClient(HttpOptions(max_resource_bytes=100_000)) as client, client.stream(server.url()) as body:
        got = 0
        async for piece in body:
            got += len(piece)
            if got > 1_000_000:
                break
    assert body.endless
