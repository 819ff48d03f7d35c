"""One request on a connection, and its answer: what of aiohttp's client a request for bytes needs, and no more.

aiohttp connects, keeps connections and parses heads. Its session would build every request from nothing again, and
half of the time of a small range would go there; here a request is put in writing once, and what changes from one
range to the next is added to that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import ClassVar

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from .connector import KEPT_ONLY, NO_LIMIT, Connector
from .options import HttpOptions
from .policy import Address
from .wire import Fate, Wire

VARYING = ("Range", "If-Range")
"""Headers that differ from one request of a file to the next."""

_UNSAFE = re.compile("[\r\n\0]")


class Answer:
    """The head of an answer, and its body as it comes; gives its connection back when the body has ended.

    Attributes:
        status, reason, headers: What the head says.
        content: The body.
        wire: The connection.
        fate: What becomes of this answer on it.
        request: What was asked.
        closed: Whether the connection was given back, or closed.
        broken: What reading the content raises.
    """

    broken: ClassVar[type[Exception]] = aiohttp.ClientError
    __slots__ = ("_connection", "closed", "content", "fate", "headers", "reason", "request", "status", "wire")

    def __init__(
        self, request: Request, connection: Connection, wire: Wire, message: RawResponseMessage, content: StreamReader
    ) -> None:
        self.request = request
        self.status: int = message.code
        self.reason: str = message.reason
        self.headers: Mapping[str, str] = message.headers
        self.content: StreamReader = content
        self.wire: Wire = wire
        self.fate: Fate = wire.fate
        self.closed: bool = False
        self._connection = connection
        content.on_eof(self.release)

    @property
    def peer(self) -> Address | None:
        """The address of the other end, or None when the transport does not tell."""
        return self.wire.peer

    def release(self) -> None:
        """Give the connection back: for another request if the body was read to its end, else to be closed."""
        if not self.closed:
            self.closed = True
            self._connection.release()

    def close(self) -> None:
        """Close the connection, unless it was given back."""
        if not self.closed:
            self.closed = True
            self._connection.close()


class Request:
    """A request as it is written, but for the headers that vary.

    Args:
        url: The text of a `kithara.net.policy.Target`.

    Raises:
        aiohttp.InvalidURL: there is no host in *url*.
        ValueError: a line break in a header.
    """

    __slots__ = ("_head", "_request")

    def __init__(self, method: str, url: str, headers: Mapping[str, str], options: HttpOptions) -> None:
        self._request = aiohttp.ClientRequest(
            method,
            wire_form(url),
            headers=headers,
            loop=asyncio.get_running_loop(),
            proxy=None if options.proxy is None else URL(options.proxy),
            ssl=True if options.tls is None else options.tls,
        )
        self._head = ""

    @property
    def ends(self) -> bool:
        """Whether it is the last one on its connection."""
        return self._request.headers.get("Connection") == "close"

    def kept(self, connector: Connector) -> Connection | None:
        """A connection for it that was kept, without waiting."""
        return connector.kept(self._request)

    async def connect(self, connector: Connector, *, kept: bool = False) -> Connection:
        """A connection for it; a *kept* one or `NoneKept`, and without waiting, where that was asked for."""
        return await connector.connect(self._request, [], KEPT_ONLY if kept else NO_LIMIT)

    async def send(self, connection: Connection, wire: Wire, varying: Mapping[str, str], until: float) -> Answer:
        """The answer, its body unread. Owns the connection, whose protocol is *wire*, from now on.

        Raises TimeoutError when its head is not here at *until* in the loop's time, what aiohttp raises, and what the
        `Wire` found wrong with it.
        """
        try:
            wire.expect(bodiless=self._request.method == "HEAD")
            if wire.transport is None or wire.transport.is_closing():
                raise aiohttp.ClientConnectionResetError("the connection was closed before the request")
            wire.transport.write(self.written(varying))
        except BaseException:
            connection.close()
            raise
        return await self.answer(connection, wire, until)

    async def answer(self, connection: Connection, wire: Wire, until: float) -> Answer:
        """As `send`, for a request that was sent already."""
        timer = wire.loop.call_at(until, _give_up, wire)
        try:
            while True:
                message, content = await wire.read()
                if not 100 <= message.code < 200:
                    return Answer(self, connection, wire, message, content)
        except BaseException:
            connection.close()
            raise
        finally:
            timer.cancel()

    def written(self, varying: Mapping[str, str]) -> bytes:
        """What goes on the wire."""
        if not self._head:  # not before there is a connection: on the way to one, a proxy's headers are added
            request = self._request
            path = str(request.url) if request.proxy and not request.is_ssl() else request.url.raw_path_qs
            lines = [f"{request.method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in request.headers.items()), ""]
            if any(_UNSAFE.search(line) for line in lines):
                raise ValueError("a line break in a header")
            self._head = "\r\n".join(lines)
        rest = ""
        for name, value in varying.items():
            if _UNSAFE.search(value):
                raise ValueError(f"a line break in the header {name}")
            rest += f"{name}: {value}\r\n"
        return f"{self._head}{rest}\r\n".encode("utf-8", "surrogateescape")


def wire_form(url: str) -> URL:
    """*url* for aiohttp, which is kept from quoting it anew: a signed query must arrive byte for byte."""
    return URL(url, encoded=True)


def _give_up(wire: Wire) -> None:
    """End the wait for a head. This costs a third of a task's timeout, and it is one for each request."""
    wire.set_exception(TimeoutError())
