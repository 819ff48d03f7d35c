"""HTTP for media: ranges that are checked, bodies that never end silently, secrets that stay at home."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ..errors import Closed, NetError, NetTimeout
from .answers import WHOLE, Where, content_length, unexpected
from .asking import ask_document, ask_range
from .body import RangedBody
from .calls import Call, Calls, arrive
from .document import Document, Probe
from .headers import Representation, checked, checked_value, representation_of
from .log import logger
from .options import HttpOptions
from .policy import IsPrivate, Trust, is_private
from .retry import Backoff
from .slots import Priority, Slot

if TYPE_CHECKING:
    from .pool import Pool
    from .prompt import Prompt

_log = logger("net")

MACHINERY = f"{__package__}.pool"
"""What connections are made of, aiohttp and all: imported for the first request, for what is at hand needs none."""


class HttpClient:
    """Fetches over HTTP, politely and suspiciously. An async context manager; closing twice is closing once.

    May be used from several event loops; each has its own connections, which must be closed before it is. Headers given
    here or to a call, `auth` and the user info of a URL are sent to the origin of the URL that the caller named and to
    nobody else.

    Args:
        options: Limits and choices.
        headers: Sent with every request to the origin that the caller names.
        is_private: Tells which addresses a public document must not lead to.
    """

    def __init__(
        self,
        options: HttpOptions | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        is_private: IsPrivate = is_private,
    ) -> None:
        self.options: HttpOptions = options or HttpOptions()
        self._headers = checked(headers)
        self._is_private = is_private
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._calls = Calls(self.options, self._headers)
        self._closed = False

    def __repr__(self) -> str:
        return f"HttpClient({self.options!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A recipe: options and headers (and what is secret in them), no connection."""
        return _made_again, (self.options, self._headers, self._is_private)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, from whatever loop. Whoever waits for an answer or a body gets `Closed`."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, pool in list(self._pools.items()):
            if loop is here:
                await pool.close()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(pool.close(), loop))
            else:
                pool.drop()
        self._pools.clear()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent with every request to the origin that the caller names."""
        return self._headers

    async def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            if MACHINERY not in sys.modules:  # it takes a tenth of a second, in which the loop has other things to do
                await asyncio.to_thread(importlib.import_module, MACHINERY)
            from .pool import Pool

            for gone in [other for other in self._pools if other.is_closed()]:
                self._pools.pop(gone).drop()
            if not self._closed:
                pool = self._pools.setdefault(loop, Pool(self.options, self._is_private))
        if pool is None or self._closed:
            raise Closed("the HTTP client is closed")
        return pool

    # ── calls ──────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def stream(
        self,
        url: str,
        start: int = 0,
        stop: int | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        representation: Representation | None = None,
        priority: Priority = 0,
        trust: Trust | None = None,
        prompt: Prompt | None = None,
    ) -> AsyncIterator[RangedBody]:
        """Bytes [start, stop) of *url*, or all from *start* where stop is None: one attempt, no retry.

        A server that ignores ranges answers with the whole from 0: look at the body's `start`. Leaving the context
        closes the connection, unless the body was read to its end.

        Args:
            url: What to fetch.
            start: Offset of the first byte.
            stop: Offset behind the last byte.
            headers: Further headers for the origin of *url*.
            auth: User and password for the origin of *url*.
            representation: What is held already. A different one raises `RepresentationChanged`.
            priority: Who goes first when all connections are busy; smaller is sooner. A function is asked each time.
            trust: The `Document.trust` or `RangedBody.trust` of the document that named *url*.
            prompt: What `prompt` gave for the same range, and was turned down.

        Raises `NetError` of all kinds; `RangeMismatch` when a second try on a new connection mismatched, too.
        """
        if start < 0 or (stop is not None and stop <= start):
            raise ValueError(f"[{start}, {stop}) is no range of bytes")
        pool = await self._pool() if prompt is None else prompt.pool
        call = self._calls.to(url, "fetching", headers=headers, auth=auth, trust=trust)
        free = pool.slots.take_now() if prompt is None else prompt.adopt()
        with free or await _place(pool, call, priority) as slot:
            body = await ask_range(pool, call, start, stop, representation, prompt)
            try:
                ignored = body.status in WHOLE and (start > 0 or stop is not None)
                if ignored or body.stop is None:
                    # It goes on for as long as its reader likes, which others must not have to wait for.
                    slot.release()
                yield body
            finally:
                body.close()

    def prompt(
        self,
        url: str,
        start: int,
        stop: int,
        *,
        headers: Mapping[str, str] | None = None,
        representation: Representation,
    ) -> Prompt | None:
        """A request for bytes [start, stop), sent at once, whose answer goes to a listener; None where that cannot be.

        It can be while a connection is there on which parts of the same *representation*, the same object, have come,
        and a place is free. Who is told that something else has come goes on with `stream`.
        """
        options = self.options
        if options.total is not None or options.min_rate is not None or options.allow_private is False:
            return None  # limits that only the long way knows
        pool = self._pools.get(asyncio.get_running_loop())
        if pool is None:
            return None
        return pool.prompt(self._calls.to(url, "fetching", headers=headers), start, stop, representation)

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        limit: int = 8 << 20,
        accept_gzip: bool = False,
        if_none_match: str | None = None,
        if_modified_since: str | None = None,
        priority: Priority = 0,
        trust: Trust | None = None,
    ) -> Document:
        """A small body, whole, tried again by the rules of the options.

        Args:
            limit: The most decoded bytes; more raise `TooLarge`.
            accept_gzip: Whether the answer may be compressed.
            if_none_match: An entity tag; a 304 then answers with an empty body.
            if_modified_since: An HTTP date, likewise.

        Raises `HttpStatus` and the other `NetError`, `RetryExhausted` after the last attempt.
        """
        call = self._calls.to(url, "fetching", headers=headers, auth=auth, trust=trust)
        wanted = {"Accept-Encoding": "gzip" if accept_gzip else "identity"}
        if if_none_match is not None:
            wanted["If-None-Match"] = checked_value("If-None-Match", if_none_match)
        if if_modified_since is not None:
            wanted["If-Modified-Since"] = checked_value("If-Modified-Since", if_modified_since)
        backoff = Backoff(self.options.retries)
        while True:
            pool = await self._pool()
            try:
                with await _place(pool, call, priority):
                    return await ask_document(pool, call, wanted, limit, accept_gzip)
            except NetError as exc:
                failure = exc
            delay = backoff.next(failure)
            if delay is not None and call.until is not None and pool.loop.time() + delay >= call.until:
                delay = None
            if delay is None:
                raise backoff.final(failure)
            _log.info("trying %s again in %.2f s after: %s", url, delay, failure)
            await asyncio.sleep(delay)

    async def probe(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        trust: Trust | None = None,
    ) -> Probe:
        """What *url* is, learned from one byte of it; from HEAD, too, where that does not tell the length."""
        async with self.stream(url, 0, 1, headers=headers, auth=auth, trust=trust) as body:
            found = Probe(url=body.url, representation=body.representation, ranges=body.ranges, trust=body.trust)
        if found.representation.total is not None or body.endless:
            return found
        call = self._calls.to(url, "asking for the length", headers=headers, auth=auth, trust=trust)
        pool = await self._pool()
        try:
            with await _place(pool, call, 0):
                arrived = await arrive(pool, call, {"Accept-Encoding": "identity"}, method="HEAD")
        except NetError:
            return found  # HEAD is optional
        answer = arrived.answer
        answer.close()
        length = answer.headers.get("Content-Length", "")
        if answer.status in WHOLE and length.isdigit() and "Content-Encoding" not in answer.headers:
            asked = representation_of(answer.headers, int(length))
            if found.representation.conflict(asked) is None:
                return Probe(url=found.url, representation=asked, ranges=found.ranges, trust=found.trust)
        return found

    async def revalidate(
        self,
        url: str,
        known: Representation,
        *,
        headers: Mapping[str, str] | None = None,
        priority: int = 0,
    ) -> Representation | None:
        """*known* as confirmed by a new answer, or None when *url* has another representation now. One attempt.

        Asks with ``If-None-Match``, or ``If-Modified-Since``; no body is read, whatever the server sends. Without any
        validator nothing can be confirmed.

        Raises `HttpStatus` and the other `NetError`.
        """
        wanted = {"Accept-Encoding": "identity"}
        if known.etag is not None:
            wanted["If-None-Match"] = checked_value("If-None-Match", known.etag)
        elif known.last_modified is not None:
            wanted["If-Modified-Since"] = checked_value("If-Modified-Since", known.last_modified)
        else:
            return None
        call = self._calls.to(url, "asking whether it has changed", headers=headers)
        pool = await self._pool()
        with await _place(pool, call, priority):
            arrived = await arrive(pool, call, wanted)
            answer = arrived.answer
            if answer.status == 304:
                answer.release()
            else:
                answer.close()
        where: Where = {"url": arrived.target.text, "operation": call.operation}
        if answer.status != 304 and answer.status not in WHOLE:
            raise unexpected(answer.status, answer.reason, answer.headers, where)
        told = representation_of(answer.headers, None if answer.status == 304 else content_length(answer.headers))
        same = known.etag is None or told.etag is not None or answer.status == 304
        if not same or known.conflict(told) is not None:
            return None
        return replace(known, date=told.date)


def _made_again(options: HttpOptions, headers: Mapping[str, str], is_private: IsPrivate) -> HttpClient:
    return HttpClient(options, headers=headers, is_private=is_private)


async def _place(pool: Pool, call: Call, priority: Priority) -> Slot:
    """One of the places for transfers, when it is our turn."""
    try:
        async with asyncio.timeout_at(call.until):
            return await pool.slots.take(priority)
    except TimeoutError:
        url = call.target.text
        failure = NetTimeout("no free connection in time", kind="total", url=url, operation=call.operation)
    raise failure
