"""aiohttp's connections, watched: every head is checked before aiohttp parses it, and a body ends where it says.

aiohttp's parser is lenient, hands bytes of a forged second answer to the next request, drops what it has buffered when
a connection breaks, and refuses ``ICY 200 OK``. `Wire` sits between the socket and that parser and feeds it one
head, then exactly one body. A body of known length needs no parser and goes around it, on request without a stop
between the socket and whoever keeps the bytes.
"""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import re
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from .heads import BadAnswer, inspect_head, may_begin
from .policy import Address

MAX_HEAD = 64 << 10
"""Bytes of status line and headers, informational answers before it included (RFC 9110 leaves the limit to us)."""

_BODILESS = frozenset({204, 304})
_HEAD_END = re.compile(rb"\n\r?\n")
_SMALL_ROOM = 64 << 10

READ_BUFFER = 128 << 10
"""Bytes of a body that wait in memory before its connection is told to hold still (twice that at most)."""

Sink = Callable[[memoryview | bytes], object]
"""Takes a piece of a body. It is another's memory, and good only until the call returns."""


class Prompt(Protocol):
    """Is shown an answer before anybody waits for it; see `kithara.net.prompt`."""

    def fits(self, head: bytes, size: int) -> bool:
        """Whether *head* and the *size* bytes behind it are all of what is expected."""

    def take(self, body: memoryview) -> None:
        """That was all of it. Must not raise."""

    def turn_down(self) -> None:
        """Something else came, or nothing: who waits for it with `Wire.read` learns what. Must not raise."""


class _State(enum.Enum):
    IDLE = "no answer is due"
    HEAD = "status line and headers"
    COUNTED = "a body of known length"
    CHUNKED = "a body in chunks"
    UNTIL_CLOSE = "a body that ends with the connection"


class Fate:
    """What became of one answer, kept apart from its connection, which may carry the next one already.

    Attributes:
        icy: Whether it began with ``ICY`` instead of ``HTTP/1``.
        head: Its head, in the one notation that RFC 9112 knows.
        failure: Why its body ended before its framing said so, or None. The body itself just ends.
    """

    __slots__ = ("failure", "head", "icy")

    def __init__(self) -> None:
        self.icy: bool = False
        self.head: bytes = b""
        self.failure: BaseException | None = None


class Wire(ResponseHandler, asyncio.BufferedProtocol):
    """One connection.

    Args:
        loop: Its loop.
        room: Where its socket is read into. Nothing stays there, so that all connections of a loop can share it.

    Attributes:
        fate: Of the answer under way, or of the last one.
        uses: How many requests this connection has carried.
        peer: The address of the other end, or None when the transport does not tell.
    """

    PIECE: ClassVar[int] = 128 << 10
    """The most bytes that are taken from a socket in one go, where somebody has to keep them until they are read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, room: memoryview | None = None) -> None:
        super().__init__(loop)
        self._room = memoryview(bytearray(_SMALL_ROOM)) if room is None else room
        self._sink: Sink | None = None
        self._prompt: Prompt | None = None
        self._due = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.fate: Fate = Fate()
        self.uses: int = 0
        self.peer: Address | None = None
        self._state = _State.IDLE
        self._head = bytearray()
        self._head_bytes = 0
        self._left = 0
        self._bodiless = False
        self._body: StreamReader | None = None  # of the answer under way, whatever aiohttp parses behind it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        self.peer = _address(name[0]) if name else None

    def set_response_params(self, **params: Any) -> None:
        self._begin(bodiless=bool(params.get("skip_payload")))
        super().set_response_params(**params)

    def expect(self, *, bodiless: bool = False) -> None:
        """An answer is due that somebody waits for with `read`."""
        self._begin(bodiless=bodiless)
        self._parse(bodiless=bodiless)

    def show(self, prompt: Prompt, until: float) -> None:
        """An answer is due, at *until* in the loop's time, that *prompt* is shown first."""
        self._begin(bodiless=False)
        self._prompt = prompt
        self._due = until
        if self._watch is None:  # one for many requests: of all that is done for one it would cost the most
            self._watch = self._loop.call_at(until, self._look)

    def forget(self, prompt: Prompt) -> None:
        """Show nothing to *prompt* any more."""
        if self._prompt is prompt:
            self._prompt = None

    def _look(self) -> None:
        """See whether the answer of a prompt is late."""
        self._watch = None
        if self._prompt is None:
            return
        if self._loop.time() < self._due:
            self._watch = self._loop.call_at(self._due, self._look)
        else:
            self.set_exception(TimeoutError())

    def _parse(self, *, bodiless: bool) -> None:
        super().set_response_params(
            skip_payload=bodiless, read_until_eof=True, auto_decompress=False, read_bufsize=READ_BUFFER
        )

    def _begin(self, *, bodiless: bool) -> None:
        self.uses += 1
        self.fate = Fate()
        self._state = _State.HEAD
        self._head.clear()
        self._head_bytes = 0
        self._body = None
        self._sink = None
        self._prompt = None
        self._bodiless = bodiless

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""
        return self._loop

    @property
    def is_counted(self) -> bool:
        """Whether more of a body of known length is to come."""
        return self._state is _State.COUNTED

    def pour(self, sink: Sink) -> None:
        """Have *sink* called with what is still to come of a counted body, right where it arrives. It must not raise.

        What has come before is in the body's stream, and so is the news of the end.
        """
        self._sink = sink

    def stop_pouring(self, sink: Sink) -> None:
        """Take back a `pour`. Does nothing when the answer that it was for is over."""
        if self._sink == sink:
            self._sink = None

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room if self._sink is not None else self._room[: self.PIECE]

    def buffer_updated(self, nbytes: int) -> None:
        if self._sink is not None and nbytes <= self._left:
            self._left -= nbytes
            self._sink(self._room[:nbytes])
            if self._left == 0:
                self._end_counted()
            return
        data = bytes(self._room[:nbytes])
        if self._prompt is None or not self._offer(self._prompt, data):
            self.data_received(data)

    def _offer(self, prompt: Prompt, data: bytes) -> bool:
        """Whether *data* is all that *prompt* expects."""
        size = data.find(b"\r\n\r\n") + 4
        if size < 4 or not prompt.fits(data[:size], len(data) - size):
            return False
        self._prompt = None
        self._state = _State.IDLE
        prompt.take(memoryview(data)[size:])
        return True

    def _turn_down(self) -> None:
        """Whatever has come, or has not: it is for who waits for it."""
        prompt, self._prompt = self._prompt, None
        if prompt is not None:
            self._parse(bodiless=False)
            prompt.turn_down()

    def data_received(self, data: bytes) -> None:
        if self._prompt is not None:
            self._turn_down()
        if not data:  # aiohttp's way to wake its paused parser
            super().data_received(data)
            self._settle()
        while data:
            if self._state is _State.HEAD:
                data = self._feed_head(data)
            elif self._state is _State.COUNTED:
                data = self._feed_counted(data)
            elif self._state is _State.IDLE:
                # Bytes that answer nothing we asked: whatever they say, the next answer must not be taken from here.
                self._hang_up()
                return
            else:
                super().data_received(data)
                self._settle()
                return

    def _feed_head(self, data: bytes) -> bytes:
        """Collect the head; once it is whole and good, hand it on. Returns the bytes behind it."""
        searched = max(0, len(self._head) - 3)
        if self._head:
            data = bytes(self._head + data)
            self._head.clear()
        end = _HEAD_END.search(data, searched)
        size = end.end() if end else len(data)
        if self._head_bytes + size > MAX_HEAD:
            return self._refuse(f"more than {MAX_HEAD} bytes of headers")
        if not may_begin(data):
            return self._refuse("an answer that does not begin with HTTP/1")
        if end is None:
            self._head += data
            return b""
        raw, rest = data[:size], data[size:]
        self._head_bytes += size
        try:
            head = inspect_head(raw)
        except BadAnswer as exc:
            return self._refuse(str(exc))
        self.fate.icy = head.icy
        self.fate.head = head.plain
        if not 100 <= head.status < 200:
            if self._bodiless or head.status in _BODILESS or head.length == 0:
                self._state = _State.IDLE
                self._should_close = self._should_close or bool(rest)
            elif head.chunked:
                self._state = _State.CHUNKED
            elif head.length is not None:
                self._state, self._left = _State.COUNTED, head.length
            else:
                self._state = _State.UNTIL_CLOSE
        super().data_received(head.plain)
        self._body = self._payload
        return rest

    def _feed_counted(self, data: bytes) -> bytes:
        rest = b""
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
            self._should_close = True  # before the body ends, for then the connection goes back to the pool
        self._left -= len(data)
        if self._sink is not None:
            self._sink(data)
        elif self._body is not None:
            self._body.feed_data(data)
        if self._left == 0:
            self._end_counted()
        return rest

    def _end_counted(self) -> None:
        if self._state is _State.COUNTED:  # the sink may have hung up
            self._state = _State.IDLE
            self._sink = None
            if self._body is not None:
                self._body.feed_eof()

    def _settle(self) -> None:
        """Notice the end of a chunked body."""
        if self._state is _State.CHUNKED and (self._body is None or self._body.is_eof()):
            self._state = _State.IDLE

    def _refuse(self, why: str) -> bytes:
        self._hang_up()
        self.set_exception(BadAnswer(why))
        return b""

    def _hang_up(self) -> None:
        self._should_close = True
        self._state, self._sink = _State.IDLE, None
        if self.transport is not None:
            self.transport.abort()

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        self._turn_down()
        self.cut_short(exc)
        super().set_exception(exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._turn_down()
        if exc is not None or self._state is not _State.UNTIL_CLOSE:
            self.cut_short(exc or EOFError("the connection was closed within the body"))
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().connection_lost(exc)

    def cut_short(self, failure: BaseException) -> None:
        """End the body under way after the bytes that came, and remember why."""
        body, self._body = self._body, None
        self._sink = None
        self._should_close = True
        self._payload = None
        if body is not None and not body.is_eof():
            self.fate.failure = failure
            self._state = _State.IDLE
            body.feed_eof()


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
