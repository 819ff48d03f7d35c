"""One event loop's connections: sends a request, waits for the headers of its answer, and says what went wrong."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Literal

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import Closed, ConnectFailed, NetError, NetTimeout, PolicyDenied, ProtocolViolation
from .body import RangedBody
from .connector import Connector, ForbiddenAddress, NoneKept, PublicResolver
from .exchange import VARYING, Answer, Request
from .headers import Representation, range_headers
from .heads import BadAnswer
from .options import HttpOptions
from .policy import IsPrivate, Target
from .prompt import Likeness, Prompt
from .slots import Slots
from .wire import Wire

REQUESTS_KEPT = 32
"""Requests that are kept in writing: the ranges of one file are asked for again and again."""

_TRUST = "give tls=ssl.create_default_context(cafile=...) to trust another authority, tls=False to trust anybody"


Stage = Literal["connect", "headers"]


class Pool:
    """Connections, slots and bodies under way of one client on one event loop."""

    def __init__(self, options: HttpOptions, is_private: IsPrivate) -> None:
        self.options: HttpOptions = options
        self.is_private: IsPrivate = is_private
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.slots: Slots = Slots(options.connections)
        self.closed: bool = False
        self.bodies: set[RangedBody] = set()
        self._connectors: dict[bool, Connector] = {}
        self._requests: dict[object, Request] = {}
        self._alike: dict[object, tuple[Request, Likeness]] = {}
        self._waits: set[asyncio.Timeout] = set()

    def _connector(self, guarded: bool) -> Connector:
        """Connections to anywhere, or the *guarded* ones that see public addresses only."""
        connector = self._connectors.get(guarded)
        if connector is None:
            connector = Connector(resolver=PublicResolver(self.is_private) if guarded else None)
            self._connectors[guarded] = connector
        return connector

    def _request(self, method: str, target: Target, headers: dict[str, str]) -> Request:
        """The request in writing, but for what varies."""
        same = {name: value for name, value in headers.items() if name not in VARYING}
        key = (method, target.text, *same.items())
        request = self._requests.get(key)
        if request is None:
            request = Request(method, target.text, same, self.options)
            if len(self._requests) >= REQUESTS_KEPT:
                del self._requests[next(iter(self._requests))]
            self._requests[key] = request
        return request

    async def send(
        self,
        method: str,
        target: Target,
        headers: dict[str, str],
        *,
        guarded: bool,
        until: float | None,
        operation: str,
        prompt: Prompt | None = None,
    ) -> Answer:
        """The answer to one request, its body unread. Its redirects are not followed.

        A kept connection that the server has closed meanwhile is replaced without a word. A *prompt* is the request,
        sent already.
        Raises `ConnectFailed`, `NetTimeout`, `ProtocolViolation` or `PolicyDenied`.
        """
        if guarded and target.address is not None and self.is_private(target.address):
            raise denied(target, operation)
        while True:
            answer, reused = await self._try(method, target, headers, guarded, until, operation, prompt)
            prompt = None
            if isinstance(answer, Answer):
                return answer
            if not (reused and isinstance(answer, _Disconnected)):
                raise answer

    async def _try(
        self,
        method: str,
        target: Target,
        headers: dict[str, str],
        guarded: bool,
        until: float | None,
        operation: str,
        prompt: Prompt | None,
    ) -> tuple[Answer | NetError | Closed, bool]:
        """The answer, or why there is none; and whether the connection had carried a request before."""
        if self.closed and prompt is None:
            raise Closed("the HTTP client is closed", url=target.text, operation=operation)
        options = self.options
        varying = {name: headers[name] for name in VARYING if name in headers}
        kind: Literal["connect", "headers", "total"] = "connect"
        reused = False
        failure: NetError | Closed
        try:
            if prompt is not None:
                kind, reused = "headers", True
                return await prompt.request.answer(prompt.connection, prompt.wire, prompt.until), reused
            request = self._request(method, target, headers)
            connector = self._connector(guarded and options.proxy is None)
            try:
                connection = await request.connect(connector, kept=True)
            except NoneKept:
                when, kind = self._limit(options.connect, "connect", until)
                async with asyncio.timeout_at(when) as wait:
                    self._waits.add(wait)
                    try:
                        connection = await request.connect(connector)
                    finally:
                        self._waits.discard(wait)
            wire = connection.protocol
            assert isinstance(wire, Wire)
            reused = wire.uses > 0
            when, kind = self._limit(options.headers, "headers", until)
            return await request.send(connection, wire, varying, when), reused
        except TimeoutError:
            if self.closed:
                raise Closed("the HTTP client was closed", url=target.text, operation=operation) from None
            why = {
                "total": "the whole took too long",
                "connect": f"no connection within {options.connect:g} s",
                "headers": f"no whole headers within {options.headers:g} s",
            }
            failure = NetTimeout(why[kind], kind=kind, url=target.text, operation=operation)
        except (aiohttp.ClientError, HttpProcessingError, BadAnswer, ForbiddenAddress, OSError) as exc:
            failure = self._explain(exc, target, operation)
        # Raised outside the except clause, so that no exception of aiohttp, which may quote the whole URL, hangs
        # on it as context.
        return failure, reused

    def remember(self, call: object, answer: Answer, known: Representation) -> None:
        """Ask for further parts of *known* at once: *answer* was one to *call*, and accepted."""
        alike = None if answer.request.ends else Likeness.of(answer.fate.head, known)
        if alike is not None:
            if len(self._alike) >= REQUESTS_KEPT:
                self._alike.clear()
            self._alike[call] = answer.request, alike

    def prompt(self, call: object, start: int, stop: int, known: Representation) -> Prompt | None:
        """The request for a part of *known*, sent; None where it is none of many, or no connection or place is free."""
        request, alike = self._alike.get(call, (None, None))
        if request is None or alike is None or alike.known is not known or self.closed:
            return None
        slot = self.slots.take_now()
        if slot is None:
            return None
        connection = request.kept(self._connector(False))
        if connection is None:
            slot.release()
            return None
        wire = connection.protocol
        assert isinstance(wire, Wire)
        assert wire.transport is not None
        until = self.loop.time() + self.options.headers
        prompt = Prompt(self, request, alike, connection, wire, slot, start, stop, until)
        wire.show(prompt, until)
        wire.transport.write(request.written(range_headers(start, stop, known)))
        return prompt

    def _limit(self, seconds: float, kind: Stage, until: float | None) -> tuple[float, Stage | Literal["total"]]:
        """When a stage that may take *seconds* must be over, and what that is called."""
        when = self.loop.time() + seconds
        return (until, "total") if until is not None and until < when else (when, kind)

    def _explain(self, exc: Exception, target: Target, operation: str) -> NetError | Closed:
        """What *exc* means in our own words."""
        host = f"{target.origin.host}:{target.origin.port}"
        failure: NetError | Closed
        cause: BaseException | None = exc
        if self.closed:
            failure = Closed("the HTTP client was closed", url=target.text, operation=operation)
        elif isinstance(exc, ForbiddenAddress):
            failure = denied(target, operation)
        elif isinstance(exc, BadAnswer):
            failure = ProtocolViolation(f"{host} sent {exc}", url=target.text, operation=operation)
        elif isinstance(exc, (HttpProcessingError, aiohttp.ClientResponseError)):
            failure = ProtocolViolation(f"{host} sent a malformed answer", url=target.text, operation=operation)
        elif isinstance(exc, aiohttp.ClientConnectorCertificateError):
            failure = ConnectFailed(
                f"the certificate of {host} is not trusted: {exc.certificate_error}; {_TRUST}",
                url=target.text,
                operation=operation,
                retryable=False,
            )
        elif isinstance(exc, aiohttp.ClientConnectorError):
            if isinstance(exc, aiohttp.ClientProxyConnectionError):
                host = f"the proxy {exc.host}:{exc.port}"
            failure = ConnectFailed(
                f"cannot connect to {host}: {_reason(exc)}",
                url=target.text,
                operation=operation,
                retryable=None if _may_pass(exc.os_error) else False,
            )
        elif isinstance(exc, aiohttp.InvalidURL):
            cause = None
            failure = PolicyDenied("a URL that cannot be requested", url=target.text, operation=operation)
        else:
            why = f"{host} closed the connection without an answer"
            failure = _Disconnected(why, url=target.text, operation=operation)
        failure.__cause__ = cause
        return failure

    def adopt(self, body: RangedBody) -> None:
        """Close *body* when the pool closes before it."""
        self.bodies.add(body)

    async def close(self) -> None:
        """Close every connection; whoever waits for one gets `Closed`. Called on the pool's own loop."""
        self.closed = True
        self.slots.close()
        for body in list(self.bodies):
            body.abandon()
        for wait in self._waits:
            wait.reschedule(self.loop.time())
        for connector in self._connectors.values():
            await connector.close()

    def drop(self) -> None:
        """As `close`, when the loop is closed and nothing can be waited for any more; what was left open warns."""
        self.closed = True
        self._connectors.clear()


class _Disconnected(ConnectFailed):
    """The connection broke before the first byte of the answer."""


def denied(target: Target, operation: str) -> PolicyDenied:
    """The refusal to go to a private address."""
    return PolicyDenied(
        f"{target.origin.host} is in private address space, where a public document must not lead; "
        "HttpOptions(allow_private=True) would allow it",
        url=target.text,
        operation=operation,
    )


def _may_pass(error: OSError) -> bool:
    """Whether another try may bring what *error* denied: the two sides will not agree on TLS another time."""
    return not isinstance(error, ssl.SSLError) or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))


def _reason(exc: aiohttp.ClientConnectorError) -> str:
    error = exc.os_error
    if isinstance(error, ssl.SSLError):  # its errno is none of the system's
        return f"TLS failed ({str(error.reason).replace('_', ' ').lower()}); does it speak https there?"
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
