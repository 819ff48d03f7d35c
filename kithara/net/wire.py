"""aiohttp's connections, watched: every head is checked before aiohttp parses it, and a body ends where it says.

aiohttp's parser is lenient, hands bytes of a forged second answer to the next request, drops what it has buffered when
a connection breaks, and refuses ``ICY 200 OK``. `Wire` sits between the socket and that parser and feeds it one
head, then exactly one body.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import ipaddress
import re
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.resolver import ThreadedResolver
from aiohttp.streams import StreamReader

from .policy import Address, IsPrivate

MAX_HEAD = 64 << 10
"""Bytes of status line and headers, informational answers before it included (RFC 9110 leaves the limit to us)."""
MAX_LENGTH = 2**63 - 1

_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]|ICY) ([1-5][0-9][0-9])(?: [^\x00]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00\r\n]*)")
_BODILESS = frozenset({204, 304})
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_USUAL = re.compile(rb"HTTP/1\.[01] ([2-5][0-9][0-9])(?: [^\x00\r\n]*)?\r\n(?:" + _TOKEN + rb":[^\x00\r\n]*\r\n)*\r\n")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding):[ \t]*([^\r]*)", re.IGNORECASE)

ON_CONNECTED: ContextVar[Callable[[bool], None]] = ContextVar("on_connected")
"""Is told when a request of this context has its connection, and whether that carried another one before."""


_BEGINNINGS = (b"HTTP/1.", b"ICY ")


class BadAnswer(Exception):
    """What the server sent is not HTTP/1."""


class ForbiddenAddress(Exception):
    """A name that leads only to private addresses, where those are off limits."""


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
        failure: Why its body ended before its framing said so, or None. The body itself just ends.
    """

    __slots__ = ("failure", "icy")

    def __init__(self) -> None:
        self.icy: bool = False
        self.failure: BaseException | None = None


class Wire(ResponseHandler):
    """One connection.

    Attributes:
        fate: Of the answer under way, or of the last one.
        uses: How many requests this connection has carried.
        peer: The address of the other end, or None when the transport does not tell.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
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
        self.uses += 1
        self.fate = Fate()
        self._state = _State.HEAD
        self._head.clear()
        self._head_bytes = 0
        self._body = None
        self._bodiless = bool(params.get("skip_payload"))
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
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
        if not _may_begin(data):
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
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
            self._should_close = True  # before the body ends, for then the connection goes back to the pool
        else:
            rest = b""
        self._left -= len(data)
        if self._left == 0:
            self._state = _State.IDLE
        super().data_received(data)
        return rest

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
        self._state = _State.IDLE
        if self.transport is not None:
            self.transport.abort()

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        self.cut_short(exc)
        super().set_exception(exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None or self._state is not _State.UNTIL_CLOSE:
            self.cut_short(exc or EOFError("the connection was closed within the body"))
        super().connection_lost(exc)

    def cut_short(self, failure: BaseException) -> None:
        """End the body under way after the bytes that came, and remember why."""
        body, self._body = self._body, None
        self._should_close = True
        self._payload = None
        if body is not None and not body.is_eof():
            self.fate.failure = failure
            self._state = _State.IDLE
            body.feed_eof()


def _may_begin(head: bytes) -> bool:
    """Whether *head*, as far as it has come, begins a status line."""
    return head.startswith(_BEGINNINGS) or any(word.startswith(head) for word in _BEGINNINGS)


class Head(NamedTuple):
    """What a head says of the body behind it; *plain* is the head itself in the one notation that RFC 9112 knows."""

    status: int
    length: int | None
    chunked: bool
    icy: bool
    plain: bytes


def inspect_head(head: bytes) -> Head:
    """The meaning of a whole *head*, its empty line included.

    Raises `BadAnswer` for what RFC 9112 forbids and for what would let two readers disagree about where the body ends.
    """
    usual = _USUAL.fullmatch(head)
    if usual is not None:  # in one go what nearly every server sends; all else line by line
        framing = _FRAMING.findall(head)
        if len(framing) == 1 and framing[0][1].isdigit() and len(framing[0][1]) < 19 and len(framing[0][0]) == 14:
            return Head(int(usual[1]), int(framing[0][1]), False, False, head)
    lines = re.split(rb"\r?\n", head.rstrip(b"\r\n"))
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise BadAnswer("a malformed status line")
    status = int(match[2])
    if status == 101:
        raise BadAnswer("a switch of protocols that was not asked for")
    lengths: set[bytes] = set()
    codings: list[bytes] = []
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            raise BadAnswer("a folded header line")
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadAnswer("a malformed header line")
        name, value = field[1].lower(), field[2].strip(b" \t")
        if name == b"content-length":
            lengths.update(part.strip(b" \t") for part in value.split(b","))
        elif name == b"transfer-encoding":
            codings.append(value.lower())
    if len(lengths) > 1:
        raise BadAnswer("two different lengths")
    if lengths and codings:
        raise BadAnswer("both Content-Length and Transfer-Encoding")
    if codings and codings != [b"chunked"]:
        raise BadAnswer("a transfer coding that was not asked for")
    length: int | None = None
    for text in lengths:
        if not text.isdigit() or len(text) > 19 or int(text) > MAX_LENGTH:
            raise BadAnswer("a Content-Length that is no length")
        length = int(text)
    icy = match[1] == b"ICY"
    first = b"HTTP/1.0" + lines[0][3:] if icy else lines[0]
    return Head(status, length, bool(codings), icy, b"\r\n".join([first, *lines[1:], b"", b""]))


class Answer(aiohttp.ClientResponse):
    """A response that remembers its connection, which aiohttp forgets once the body is in.

    Attributes:
        wire: The connection.
        fate: What becomes of this answer on it.
        peer: The address of the other end, or None when the transport does not tell.
    """

    wire: Wire
    fate: Fate

    @property
    def peer(self) -> Address | None:
        return self.wire.peer

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        assert isinstance(protocol, Wire)
        self.wire, self.fate = protocol, protocol.fate
        return await super().start(connection)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


class PublicResolver(AbstractResolver):
    """Resolves names to their public addresses only.

    What it returns is what is connected to, so a name server that answers differently the second time gains nothing.
    """

    def __init__(self, is_private: IsPrivate) -> None:
        self._resolver = ThreadedResolver()
        self._is_private = is_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if not self._is_private(ipaddress.ip_address(one["host"]))]
        if not allowed:
            raise ForbiddenAddress(f"{host} leads to a private address")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class Connector(aiohttp.TCPConnector):
    """A pool of `Wire` connections; how many may be open is not its business."""

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        super().__init__(limit=0, resolver=resolver or ThreadedResolver())
        factory = functools.partial(Wire, loop=asyncio.get_running_loop())
        self._factory = cast("functools.partial[ResponseHandler]", factory)

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Connection:
        """A connection; one that no request has used yet, where this request will not keep it."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert isinstance(protocol, Wire)
            if req.headers.get("Connection") != "close" or protocol.uses == 0:
                ON_CONNECTED.get()(protocol.uses > 0)
                return connection
            connection.close()
