"""One event loop's connections: sends a request, waits for the headers of its answer, and says what went wrong."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

import aiohttp

from ..errors import Closed, ConnectFailed, NetError, NetTimeout, PolicyDenied, ProtocolViolation
from .body import RangedBody
from .options import HttpOptions
from .policy import IsPrivate, Target
from .slots import Slots
from .wire import ON_CONNECTED, Answer, BadAnswer, Connector, ForbiddenAddress, PublicResolver

READ_BUFFER = 128 << 10
"""Bytes of a body that wait in memory before its connection is told to hold still (twice that at most)."""
_TRUST = "give tls=ssl.create_default_context(cafile=...) to trust another authority, tls=False to trust anybody"


@dataclass(slots=True)
class _Progress:
    """How far a request has come, and the deadline that moves with it."""

    loop: asyncio.AbstractEventLoop
    deadline: asyncio.Timeout
    until: float | None
    headers: float
    connected: bool = False
    reused: bool = False
    last: bool = False

    def on_connected(self, reused: bool) -> None:
        self.connected, self.reused = True, reused
        when = self.loop.time() + self.headers
        if self.until is not None and self.until < when:
            when, self.last = self.until, True
        self.deadline.reschedule(when)


class Pool:
    """Connections, slots and bodies under way of one client on one event loop."""

    def __init__(self, options: HttpOptions, is_private: IsPrivate) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.slots: Slots = Slots(options.connections)
        self.closed: bool = False
        self.bodies: set[RangedBody] = set()
        self._options = options
        self._is_private = is_private
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._waits: set[asyncio.Timeout] = set()

    def _session(self, guarded: bool) -> aiohttp.ClientSession:
        """The session that may connect anywhere, or the *guarded* one that sees public addresses only."""
        session = self._sessions.get(guarded)
        if session is None:
            session = aiohttp.ClientSession(
                connector=Connector(resolver=PublicResolver(self._is_private) if guarded else None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                requote_redirect_url=False,
                response_class=Answer,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                read_bufsize=READ_BUFFER,
            )
            # aiohttp would repeat any request whose connection broke, also on a new connection; `send` repeats only
            # those that a stale connection swallowed.
            session._retry_connection = False
            self._sessions[guarded] = session
        return session

    async def send(
        self,
        method: str,
        target: Target,
        headers: dict[str, str],
        *,
        guarded: bool,
        until: float | None,
        operation: str,
    ) -> Answer:
        """The answer to one request, its body unread. Its redirects are not followed.

        A kept connection that the server has closed meanwhile is replaced without a word.
        Raises `ConnectFailed`, `NetTimeout`, `ProtocolViolation` or `PolicyDenied`.
        """
        if guarded and target.address is not None and self._is_private(target.address):
            raise denied(target, operation)
        while True:
            progress, failure = await self._try(method, target, headers, guarded, until, operation)
            if isinstance(failure, Answer):
                return failure
            if not (progress.reused and isinstance(failure, _Disconnected)):
                raise failure

    async def _try(
        self,
        method: str,
        target: Target,
        headers: dict[str, str],
        guarded: bool,
        until: float | None,
        operation: str,
    ) -> tuple[_Progress, Answer | NetError | Closed]:
        if self.closed:
            raise Closed("the HTTP client is closed", url=target.text, operation=operation)
        options = self._options
        when, last = self.loop.time() + options.connect, False
        if until is not None and until < when:
            when, last = until, True
        progress = _Progress(self.loop, asyncio.timeout_at(when), until, options.headers, last=last)
        ON_CONNECTED.set(progress.on_connected)
        try:
            async with progress.deadline as wait:
                self._waits.add(wait)
                answer = await self._session(guarded and options.proxy is None).request(
                    method,
                    target.wire,
                    headers=headers,
                    allow_redirects=False,
                    proxy=options.proxy,
                    ssl=True if options.tls is None else options.tls,
                )
                assert isinstance(answer, Answer)
                return progress, answer
        except TimeoutError:
            if self.closed:
                raise Closed("the HTTP client was closed", url=target.text, operation=operation) from None
            kind = "total" if progress.last else "headers" if progress.connected else "connect"
            what = {"total": "the whole took too long", "connect": f"no connection within {options.connect:g} s"}
            failure: NetError | Closed = NetTimeout(
                what.get(kind, f"no whole headers within {options.headers:g} s"),
                kind=kind,
                url=target.text,
                operation=operation,
            )
        except (aiohttp.ClientError, BadAnswer, ForbiddenAddress, OSError) as exc:
            failure = self._explain(exc, target, operation)
        finally:
            self._waits.discard(progress.deadline)
        # Raised outside the except clause, so that no exception of aiohttp, which may quote the whole URL, hangs
        # on it as context.
        return progress, failure

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
        elif isinstance(exc, aiohttp.ClientResponseError):
            cause = exc.__cause__
            failure = ProtocolViolation(f"{host} sent a malformed answer", url=target.text, operation=operation)
        elif isinstance(exc, aiohttp.ClientConnectorCertificateError):
            failure = ConnectFailed(
                f"the certificate of {host} is not trusted: {exc.certificate_error}; {_TRUST}",
                url=target.text,
                operation=operation,
                retryable=False,
            )
        elif isinstance(exc, aiohttp.ClientConnectorError):
            failure = ConnectFailed(f"cannot connect to {host}: {_reason(exc)}", url=target.text, operation=operation)
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
        for session in self._sessions.values():
            await session.close()

    def drop(self) -> None:
        """As `close`, when the loop is closed and nothing can be waited for any more; what was left open warns."""
        self.closed = True
        for session in self._sessions.values():
            session.detach()


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


def _reason(exc: aiohttp.ClientConnectorError) -> str:
    error = exc.os_error
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
