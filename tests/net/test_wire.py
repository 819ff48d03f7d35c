"""The connection's own parsing: the same answer means the same, however the network cuts it into pieces."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kithara.net.heads import BadAnswer, inspect_head
from kithara.net.wire import Wire

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "length": OK + b"Content-Length: 11\r\n\r\nhello world",
    "no bytes": OK + b"Content-Length: 0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: z\r\n\r\n",
    "until close": OK + b"X: y\r\n\r\nhello world",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "informational": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n"
    + OK
    + b"Content-Length: 2\r\n\r\nhi",
    "broadcast": b"ICY 200 OK\r\nicy-name: x\r\n\r\nhello world",
    "too much": OK + b"Content-Length: 5\r\n\r\nhello world",
    "forged": OK + b"Content-Length: 5\r\n\r\nhello" + OK + b"Content-Length: 4\r\n\r\nevil",
    "forged behind chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + OK + b"\r\n",
    "short": OK + b"Content-Length: 11\r\n\r\nhello",
    "cut in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n wo",
    "bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n world",
    "cut in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no HTTP": b"<html>hello</html>",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
}


class Transport(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True

    def abort(self) -> None:
        self.gone = True


async def meaning(*pieces: bytes) -> tuple[Any, ...]:
    """What a client makes of *pieces*: status, body and how it ended, and whether the connection may be used again."""
    wire, transport = Wire(asyncio.get_running_loop()), Transport()
    wire.connection_made(transport)
    wire.set_response_params(read_until_eof=True, auto_decompress=False)
    for piece in pieces:
        if not transport.gone:
            wire.data_received(piece)
    reading = asyncio.ensure_future(_read(wire))
    await asyncio.sleep(0)
    reusable = reading.done() and not transport.gone and not wire.should_close
    wire.connection_lost(None)
    try:
        status, payload = await reading
    except BadAnswer as exc:
        return "refused", str(exc)
    except aiohttp.ServerDisconnectedError:
        return ("disconnected",)
    body = bytearray()
    while piece := await payload.readany():
        body += piece
    return status, bytes(body), type(wire.fate.failure), wire.fate.icy, reusable


async def _read(wire: Wire) -> tuple[int, aiohttp.StreamReader]:
    message, payload = await wire.read()
    while message.code < 200:
        message, payload = await wire.read()
    return message.code, payload


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_means_the_same_however_it_is_cut(answer: bytes) -> None:
    whole = await meaning(answer)
    assert whole == await meaning(*(answer[at : at + 1] for at in range(len(answer))))
    for at in range(1, len(answer)):
        assert whole == await meaning(answer[:at], answer[at:]), at


async def test_the_answers_mean_what_they_should() -> None:
    found = {name: await meaning(answer) for name, answer in ANSWERS.items()}
    bodies = {name: one[1] for name, one in found.items() if one[0] == 200}
    assert {name for name, one in found.items() if one[0] == "refused"} == {"no HTTP", "two lengths"}
    assert {name for name, one in found.items() if one[0] == "disconnected"} == {"cut in the head"}
    assert {name for name, body in bodies.items() if body == b"hello world"} >= {"length", "chunks", "until close"}
    assert {bodies[name] for name in ("too much", "forged", "forged behind chunks", "short", "bad chunk")} == {b"hello"}
    assert bodies["cut in a chunk"] == b"hello wo"
    broken = {name for name, one in found.items() if one[0] == 200 and one[2] is not type(None)}
    assert broken == {"short", "cut in a chunk", "bad chunk"}
    reusable = {name for name, one in found.items() if one[-1] is True}
    assert reusable == {"length", "no bytes", "no content", "chunks", "bare line feeds", "informational"}


@given(st.lists(st.sampled_from([b"HTTP/1.1 200 OK", b"ICY 200", b"A: b", b"Content-Length: 5", b" x", b"\x00", b":"])))
def test_no_head_breaks_its_inspection_in_another_way(lines: list[bytes]) -> None:
    try:
        head = inspect_head(b"\r\n".join([*lines, b"", b""]))
    except BadAnswer:
        return
    assert head.plain.startswith(b"HTTP/1.")
    assert head.length in (None, 5)
