"""Bodies poured into a sink: the same ends and errors as read piece by piece, and no byte kept by reference."""

from __future__ import annotations

import asyncio

import pytest
from support.faultserver import FaultServer, chunk, finish, head, last_chunk, reset, send, stall, until
from support.fetching import QUICK
from support.waiting import liveness

from kithara.errors import BodyTruncated, Closed, KitharaError, NetTimeout, StoreIo, TooLarge
from kithara.net import HttpClient, HttpOptions

PATIENT = HttpOptions(idle=liveness(20))


async def poured(client: HttpClient, server: FaultServer, path: str = "/") -> tuple[bytes, object]:
    """What came, and the type of what ended it. The gate that is called *path* opens once the sink is in place."""
    data = bytearray()

    def take(piece: bytes | memoryview) -> bool:
        data.extend(piece)
        return True

    try:
        async with client.stream(server.url(path)) as body:
            asyncio.get_running_loop().call_soon(server.open_gate, path)
            await body.pour(take)
    except KitharaError as error:
        return bytes(data), type(error)
    return bytes(data), None


@pytest.mark.parametrize(
    ("steps", "came", "error"),
    [
        ([head(length=10), send(b"0123456789")], b"0123456789", None),
        ([head(length=10), until("/"), send(b"01234"), send(b"56789")], b"0123456789", None),
        ([head(length=10), send(b"0123"), until("/"), send(b"45"), finish()], b"012345", BodyTruncated),
        ([head(length=10), send(b"0123"), until("/"), reset()], b"0123", BodyTruncated),
        ([head(length=10), send(b"0123"), until("/"), stall()], b"0123", NetTimeout),
        ([head(chunked=True), chunk(b"0123"), until("/"), chunk(b"45"), last_chunk()], b"012345", None),
        ([head(chunked=True), chunk(b"0123"), until("/"), finish()], b"0123", BodyTruncated),
        ([head(), send(b"0123"), until("/"), send(b"45"), finish()], b"012345", None),
    ],
    ids=["at once", "in parts", "cut", "reset", "stalled", "chunks", "cut chunks", "until close"],
)
async def test_a_body_ends_as_it_would_for_who_iterates(server: FaultServer, steps, came: bytes, error) -> None:
    server.on("/", *steps)
    async with HttpClient(QUICK) as client:
        assert (came, error) == await poured(client, server)


async def test_a_body_that_was_poured_gives_its_connection_back(server: FaultServer) -> None:
    async with HttpClient(PATIENT) as client:
        for path in ("/a", "/b", "/c"):
            server.on(path, head(length=10), until(path), send(b"0123456789"))
            assert (b"0123456789", None) == await poured(client, server, path)
        assert 1 == server.accepted


async def test_bytes_past_the_length_are_nobodys(server: FaultServer) -> None:
    async with HttpClient(PATIENT) as client:
        for path in ("/a", "/b"):
            server.on(path, head(length=5), until(path), send(b"0123456789"))
            assert (b"01234", None) == await poured(client, server, path)
        assert 2 == server.accepted


async def test_who_has_enough_gets_no_more(server: FaultServer) -> None:
    server.on("/", head(length=10), send(b"01234"), until("/"), send(b"56789"))
    pieces = []

    def take(piece: bytes | memoryview) -> bool:
        pieces.append(bytes(piece))
        return False

    async with HttpClient(PATIENT) as client, client.stream(server.url()) as body:
        await body.pour(take)
        server.open_gate("/")
    assert b"0123456789".startswith(b"".join(pieces))
    assert 1 == len(pieces)


async def test_an_error_of_the_sink_is_raised_where_the_body_was_asked_for(server: FaultServer) -> None:
    server.on("/", head(length=10), until("/"), send(b"0123456789"))

    def take(piece: bytes | memoryview) -> bool:
        raise StoreIo("no", errno=5)

    async with HttpClient(PATIENT) as client, client.stream(server.url()) as body:
        asyncio.get_running_loop().call_soon(server.open_gate, "/")
        with pytest.raises(StoreIo):
            await body.pour(take)


async def test_a_body_past_the_limit_is_not_poured_to_its_end(server: FaultServer) -> None:
    server.on("/", head(chunked=True), chunk(b"0123456789"), last_chunk())
    async with HttpClient(HttpOptions(max_resource_bytes=9)) as client:
        assert (b"", TooLarge) == await poured(client, server)


async def test_closing_the_client_ends_a_pour(server: FaultServer) -> None:
    server.on("/", head(length=10), send(b"0123"), stall())
    client = HttpClient(PATIENT)
    came = asyncio.Event()

    async def reading() -> None:
        async with client.stream(server.url()) as body:
            await body.pour(lambda piece: came.set() or True)

    running = asyncio.ensure_future(reading())
    async with asyncio.timeout(liveness(10)):
        await came.wait()
        await client.close()
        with pytest.raises(Closed):
            await running


async def test_iterating_goes_on_where_the_sink_had_enough(server: FaultServer) -> None:
    server.on("/", head(length=10), until("/"), send(b"01"), until("more"), send(b"23456789"))
    data = bytearray()

    def take(piece: bytes | memoryview) -> bool:
        data.extend(piece)
        server.open_gate("more")
        return False

    async with HttpClient(PATIENT) as client, client.stream(server.url()) as body:
        asyncio.get_running_loop().call_soon(server.open_gate, "/")
        await body.pour(take)
        async for chunk in body:
            data.extend(chunk)
    assert b"0123456789" == bytes(data)
