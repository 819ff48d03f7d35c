"""Ranges that are asked for at once: what is taken without a second look, and that all else goes the long way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.faultserver import FaultServer, Step, finish, head, mark, raw, send, stall, until
from support.fetching import QUICK, fetch
from support.waiting import liveness

from kithara.errors import (
    BodyTruncated,
    Closed,
    HttpStatus,
    KitharaError,
    NetTimeout,
    RangeMismatch,
    RepresentationChanged,
)
from kithara.net import HttpClient, HttpOptions, Representation
from kithara.net.prompt import Likeness, Prompt

DATA = bytes(range(200))
HELD = Representation(total=200, etag='"v1"')
PATIENT = HttpOptions(headers=liveness(20), idle=liveness(20))


class Told:
    """A listener that keeps what it is told."""

    def __init__(self, *, ready: bool = True) -> None:
        self.is_ready = ready
        self.body: bytes | None = None
        self.heard = asyncio.Event()

    def whole(self, body: memoryview) -> None:
        self.body = bytes(body)
        self.heard.set()

    def other(self) -> None:
        self.heard.set()


def part(start: int, stop: int, **headers: str) -> Step:
    """A part of `DATA`, head and body in one write."""
    lines = [
        "HTTP/1.1 206 Partial Content", f"Date: day {start}", f"Content-Length: {stop - start}", 'ETag: "v1"',
        f"Content-Range: bytes {start}-{stop - 1}/200", *(f"{name}: {value}" for name, value in headers.items()),
    ]  # fmt: skip
    return raw("\r\n".join([*lines, "", ""]).encode() + DATA[start:stop])


async def acquainted(client: HttpClient, server: FaultServer, *script: Step) -> None:
    """Have *client* learn what answers of *server* look like, whose next one is *script*."""
    server.on("/", part(0, 10))
    server.on("/", *script)
    assert DATA[:10] == await fetch(client, server.url("/"), 0, 10, representation=HELD)
    await asyncio.sleep(0)  # a place is free from the next turn on


def prompted(client: HttpClient, server: FaultServer, listener: Told, start: int = 20, stop: int = 30) -> Prompt:
    prompt = client.prompt(server.url("/"), start, stop, representation=HELD)
    assert prompt is not None
    prompt.listen(listener)
    return prompt


async def outcome(client: HttpClient, server: FaultServer, *script: Step) -> tuple[object, object]:
    """What was taken at once of the answer *script*, or None; and what the long way then gives, or raises."""
    await acquainted(client, server, *script)
    told = Told()
    prompt = prompted(client, server, told)
    await asyncio.wait_for(told.heard.wait(), liveness(10))
    if told.body is not None:
        return told.body, None
    try:
        return None, await fetch(client, server.url("/"), 20, 30, representation=HELD, prompt=prompt)
    except KitharaError as error:
        return None, type(error)


async def test_a_part_like_the_one_before_is_taken_at_once(server: FaultServer) -> None:
    async with HttpClient(PATIENT) as client:
        assert (DATA[20:30], None) == await outcome(client, server, part(20, 30))
    assert [("bytes=0-9", '"v1"'), ("bytes=20-29", '"v1"')] == [
        (request.header("range"), request.header("if-range")) for request in server.requests
    ]
    assert server.requests[0].headers[0] == server.requests[1].headers[0]


@pytest.mark.parametrize(
    ("script", "came"),
    [
        ([head(206, range=(20, 30, 200), etag='"v1"'), until("body"), send(DATA[20:30])], DATA[20:30]),
        ([part(20, 30, Age="3")], DATA[20:30]),
        ([part(20, 25)], DATA[20:25]),
        ([part(20, 30), send(b"more")], DATA[20:30]),
        ([part(20, 30, Connection="close"), finish()], DATA[20:30]),
        ([part(20, 30, ETag='"v2"')], DATA[20:30]),
    ],
    ids=["in two pieces", "another header", "less", "more than it says", "the last one", "a tag twice"],
)
async def test_any_other_answer_goes_the_long_way_without_a_second_request(
    server: FaultServer, script: list[Step], came: bytes
) -> None:
    async with HttpClient(PATIENT) as client:
        asyncio.get_running_loop().call_later(0.05, server.open_gate, "body")
        taken, long = await outcome(client, server, *script)
    assert came == (taken or long)
    assert 2 == len(server.requests)


@pytest.mark.parametrize(
    ("script", "error", "requests"),
    [
        ([head(404, length=0)], HttpStatus, 2),
        ([head(503, length=0)], HttpStatus, 2),
        ([head(206, range=(20, 30, 200), etag='"v1"'), send(b"0123"), finish()], BodyTruncated, 2),
        ([stall()], NetTimeout, 2),
        ([head(200, length=200, etag='"v2"'), stall()], RepresentationChanged, 3),  # once more on a new connection
        ([head(206, range=(20, 30, 201), etag='"v1"'), send(DATA[20:30])], RepresentationChanged, 3),
        ([head(206, range=(21, 31, 200), etag='"v1"'), send(DATA[21:31])], RangeMismatch, 3),
    ],
    ids=["not found", "unavailable", "cut", "silence", "changed", "another total", "another range"],
)
async def test_an_error_is_that_of_the_long_way(
    server: FaultServer, script: list[Step], error: type[KitharaError], requests: int
) -> None:
    async with HttpClient(QUICK) as client:
        taken, long = await outcome(client, server, *script)
    assert (None, error) == (taken, long)
    assert requests == len(server.requests)


async def test_a_connection_that_was_closed_meanwhile_is_replaced(server: FaultServer) -> None:
    async with HttpClient(PATIENT) as client:
        await acquainted(client, server, finish())
        server.on("/", part(20, 30))
        told = Told()
        prompt = prompted(client, server, told)
        await asyncio.wait_for(told.heard.wait(), liveness(10))
        assert told.body is None
        assert DATA[20:30] == await fetch(client, server.url("/"), 20, 30, representation=HELD, prompt=prompt)
    assert (3, 2) == (len(server.requests), server.accepted)


async def test_who_is_not_ready_goes_the_long_way(server: FaultServer) -> None:
    async with HttpClient(PATIENT) as client:
        await acquainted(client, server, part(20, 30))
        told = Told(ready=False)
        prompt = prompted(client, server, told)
        await asyncio.wait_for(told.heard.wait(), liveness(10))
        assert told.body is None
        assert DATA[20:30] == await fetch(client, server.url("/"), 20, 30, representation=HELD, prompt=prompt)


async def test_one_that_was_dropped_closes_its_connection_and_gives_its_place_back(server: FaultServer) -> None:
    async with HttpClient(replace(PATIENT, connections=1)) as client:
        await acquainted(client, server, mark("asked"), stall())
        server.on("/", part(20, 30))
        told = Told()
        prompt = prompted(client, server, told)
        assert client.prompt(server.url("/"), 50, 60, representation=HELD) is None  # there is one place
        await asyncio.to_thread(server.pass_gate, "asked")
        prompt.drop()
        prompt.drop()
        assert DATA[20:30] == await fetch(client, server.url("/"), 20, 30, representation=HELD)
        assert not told.heard.is_set()
    assert 2 == server.accepted


async def test_closing_the_client_ends_it(server: FaultServer) -> None:
    client = HttpClient(PATIENT)
    await acquainted(client, server, mark("asked"), stall())
    told = Told()
    prompt = prompted(client, server, told)
    await asyncio.to_thread(server.pass_gate, "asked")
    await client.close()
    await asyncio.wait_for(told.heard.wait(), liveness(10))
    with pytest.raises(Closed):
        await fetch(client, server.url("/"), 20, 30, representation=HELD, prompt=prompt)


@pytest.mark.parametrize(
    "options",
    [replace(PATIENT, total=60.0), replace(PATIENT, min_rate=1.0), replace(PATIENT, allow_private=False)],
    ids=["a limit in all", "a least rate", "public only"],
)
async def test_limits_of_the_long_way_are_not_passed_by(server: FaultServer, options: HttpOptions) -> None:
    async with HttpClient(options, is_private=lambda address: False) as client:
        await acquainted(client, server, part(20, 30))
        assert client.prompt(server.url("/"), 20, 30, representation=HELD) is None


async def test_nothing_is_asked_at_once_of_whom_nothing_is_known(server: FaultServer) -> None:
    async with HttpClient(PATIENT) as client:
        assert client.prompt(server.url("/"), 20, 30, representation=HELD) is None
        await acquainted(client, server, part(20, 30))
        assert client.prompt(server.url("/other"), 20, 30, representation=HELD) is None
        assert client.prompt(server.url("/"), 20, 30, representation=replace(HELD)) is None
        assert client.prompt(server.url("/"), 20, 30, headers={"X-Key": "1"}, representation=HELD) is None


HEAD = (
    b"HTTP/1.1 206 Partial Content\r\nServer: s\r\nDate: today\r\nContent-Length: 10\r\n"
    b'ETag: "v1"\r\nContent-Range: bytes 0-9/200\r\n\r\n'
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"206", b"200"), (b"Server: s", b"Server: t"), (b"Length: 10", b"Length: 11"), (b"Length: 10", b"Length: 010"),
        (b"0-9/200", b"0-9/201"), (b"0-9/200", b"1-9/200"), (b"0-9/200", b"0-10/200"), (b"0-9/200", b"0-9/*"),
        (b"0-9/200", b"0-9/200 "), (b'"v1"', b'"v2"'), (b"Date: today", b"Date: to\0day"), (b"1.1", b"1.0"),
        (b"Date: today", b"Content-Length: 10"), (b"Date: today", b"Transfer-Encoding: chunked"),
        (b"Date: today", b"Content-Range: bytes 0-9/200"), (b"Date: today\r\n", b""),
        (b"Date: today", b"Date: today\r\nConnection: close"), (b"\r\n\r\n", b"\r\nX: y\r\n\r\n"),
    ],
)  # fmt: skip
def test_a_head_is_like_another_in_all_that_matters(old: bytes, new: bytes) -> None:
    likeness = Likeness.of(HEAD, HELD)
    assert likeness is not None
    assert likeness.has(HEAD, 0, 10)
    assert likeness.has(HEAD.replace(b"today", b"tomorrow"), 0, 10)
    assert likeness.has(HEAD.replace(b": 10", b": 5").replace(b"0-9", b"195-199"), 195, 200)
    assert HEAD.count(old) == 1
    assert not likeness.has(HEAD.replace(old, new), 0, 10)


@pytest.mark.parametrize(
    "new", [b"Connection: close", b"Connection: upgrade", b"Content-Length: 10", b"Content-Range: bytes 0-9/200"]
)
def test_a_head_that_says_too_much_is_no_example(new: bytes) -> None:
    assert Likeness.of(HEAD.replace(b"Server: s", new), HELD) is None


@pytest.mark.parametrize("old", [b"Content-Length", b"Content-Range", b"HTTP/1.1"])
def test_a_head_that_says_too_little_is_no_example(old: bytes) -> None:
    assert Likeness.of(HEAD.replace(old, b"HTTP/1.0" if old.startswith(b"HTTP") else b"X-Other"), HELD) is None
