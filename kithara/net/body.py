"""The body of an answer, byte for byte as it comes, with a limit on every wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

from ..errors import BodyTruncated, Closed, EmptyBody, NetError, NetTimeout, ProtocolViolation, TooLarge
from .answers import Where
from .headers import Representation
from .options import HttpOptions
from .policy import Trust

if TYPE_CHECKING:
    from .exchange import Answer

Piece = TypeVar("Piece", bytes, bytes | memoryview)


class RangedBody:
    """Bytes [start, stop) of a representation; an async iterator over pieces of whatever size they arrive in.

    It never ends silently before its end: a body that stops early raises `BodyTruncated`, after the bytes that came.
    Bytes past the stop asked for are not given.

    Attributes:
        status: 200 or 206; 416 for an empty one at or past the end of the representation.
        url: Where it came from in the end.
        headers: The answer's, case-insensitive.
        representation: Length and validators of the whole.
        start: Offset of the first byte in the representation.
        stop: Offset behind the last byte, or None while only the body's end will tell.
        ranges: Whether the server serves parts.
        endless: Whether this is a broadcast, which has no length and no end.
        verified: Whether the end is told apart from a broken connection: by a length or by chunks.
        trust: What the representation may lead to.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        url: str,
        representation: Representation,
        start: int,
        stop: int | None,
        ranges: bool,
        endless: bool,
        trust: Trust,
        options: HttpOptions,
        deadline: float | None,
        on_close: Callable[[RangedBody], None],
    ) -> None:
        self.status: int = answer.status
        self.url = url
        self.headers: Mapping[str, str] = answer.headers
        self.representation = representation
        self.start = start
        self.stop = stop
        self.ranges = ranges
        self.endless = endless
        self.verified: bool = stop is not None or answer.headers.get("Transfer-Encoding") is not None
        self.trust = trust
        self.received: int = 0
        """Bytes given out so far."""
        self._answer = answer
        self._limit = None if endless else options.max_resource_bytes - start
        self._idle = options.idle
        self._deadline = deadline
        self._min_rate = options.min_rate
        self._window_waited = 0.0
        self._window_bytes = 0
        self._over = status_has_no_body(answer.status)
        self._closed: Exception | None = None
        self._on_close = on_close

    def __aiter__(self) -> RangedBody:
        return self

    async def __anext__(self) -> bytes:
        if self._closed is not None:
            raise self._closed
        if self._over:
            self.close()
            raise StopAsyncIteration
        chunk = await self._next()
        if not chunk:
            self._check_end()
            self._over = True
            self.close()
            raise StopAsyncIteration
        chunk = self._counted(chunk)
        if not chunk:
            self.close()
            raise StopAsyncIteration
        return chunk

    def _counted(self, chunk: Piece) -> Piece:
        """What of *chunk* was asked for."""
        room = None if self.stop is None else self.stop - self.start - self.received
        if room is not None and len(chunk) > room:
            chunk = chunk[:room]
            self._over = True
        self.received += len(chunk)
        if self._limit is not None and self.received > self._limit:
            raise self._failed(TooLarge("a body that goes on past the limit on size", **self._context))
        return chunk

    async def pour(self, sink: Callable[[bytes | memoryview], bool]) -> None:
        """Have *sink* called with every piece, until the body's end or until *sink* answers False; iterating goes on.

        Where the length is known that happens right where the bytes arrive, and without a copy: a piece is good only
        until the call returns. Raises what iterating raises, and what *sink* raises.
        """
        content = self._answer.content
        direct = self._answer.wire.is_counted or content.is_eof()  # else aiohttp's parser has a say
        if self._closed is not None or self._over or self._min_rate is not None or not direct:
            async for chunk in self:
                if not sink(chunk):
                    return
            return
        came: bytes = content.read_nowait()
        if came and (not sink(self._counted(came)) or self._over):
            return
        if content.is_eof() or await _Pouring(self, sink).end():
            self._check_end()
            self._over = True
            self.close()

    def _until(self, heard: float) -> tuple[float, Literal["idle", "total"]]:
        """When the next bytes must be here, after some at *heard*; and by which limit."""
        until = heard + self._idle
        if self._deadline is not None and self._deadline < until:
            return self._deadline, "total"
        return until, "idle"

    def _late(self, kind: Literal["idle", "total"]) -> NetTimeout:
        why = f"no byte for {self._idle:g} s" if kind == "idle" else "the whole took too long"
        return NetTimeout(why, kind=kind, **self._context)

    async def _next(self) -> bytes:
        """The bytes that have arrived, waiting for some; empty at the end of what will come."""
        content = self._answer.content
        loop = self._answer.wire.loop  # to ask asyncio would cost a system call
        began = loop.time()
        until, kind = self._until(began)
        try:
            chunk = content.read_nowait(self._answer.wire.PIECE)
            if not chunk and not content.at_eof():  # a deadline costs as much as all the rest; most need none
                async with asyncio.timeout_at(until):
                    chunk = await content.readany()
        except TimeoutError:
            # A loop that stood still finds in one moment that it is late and that the bytes are there.
            chunk = content.read_nowait(self._answer.wire.PIECE) if kind == "idle" else b""
            if chunk:
                return chunk
            failure: NetError = self._late(kind)
        except self._answer.broken as exc:
            failure = self._truncated()
            failure.__cause__ = exc
        else:
            if chunk and self._min_rate is not None:
                self._measure(loop.time() - began, len(chunk), self._min_rate)
            return chunk
        raise self._failed(failure)

    def _measure(self, waited: float, received: int, min_rate: float) -> None:
        self._window_waited += waited
        self._window_bytes += received
        if self._window_waited < self._idle:
            return
        rate = self._window_bytes / self._window_waited
        self._window_waited, self._window_bytes = 0.0, 0
        if rate < min_rate:
            raise self._failed(NetTimeout(f"{rate:.0f} bytes a second are too few", kind="rate", **self._context))

    def _check_end(self) -> None:
        expected = None if self.stop is None else self.stop - self.start
        failure = self._answer.fate.failure
        if self._closed is not None:
            raise self._closed
        if failure is not None and not isinstance(failure, (EOFError, OSError, self._answer.broken)):
            error: NetError = ProtocolViolation(f"a malformed body after {self.received} bytes", **self._context)
        elif failure is not None or (expected is not None and self.received < expected):
            error = self._truncated()
        elif self.received == 0 and self.stop is None:
            error = EmptyBody("the server sent an answer without a body", **self._context)
        else:
            return
        error.__cause__ = failure
        raise self._failed(error)

    def _truncated(self) -> BodyTruncated:
        expected = None if self.stop is None else self.stop - self.start
        return BodyTruncated(
            f"the connection ended after {self.received} of {'?' if expected is None else expected} bytes",
            expected=expected,
            got=self.received,
            **self._context,
        )

    @property
    def _context(self) -> Where:
        return {"url": self.url, "range": (self.start, self.stop), "operation": "reading the body"}

    def _failed(self, error: Exception) -> Exception:
        self.close(error)
        return error

    def abandon(self) -> None:
        """End a wait for bytes under way: the client is closing."""
        self._closed = self._closed or Closed("the HTTP client was closed", url=self.url)
        if not self._answer.closed:
            self._answer.wire.cut_short(EOFError("the client was closed"))
        self.close(self._closed)

    def close(self, error: Exception | None = None) -> None:
        """Let go of the connection: back to the pool if the body was read to its end, else closed. Twice is once."""
        if error is not None:
            self._closed = error
        elif self._closed is None and not self._over:
            self._closed = Closed("this body was closed", url=self.url)
        if not self._answer.closed:  # a body read to its end has given its connection back already
            self._answer.wire.abort()
        self._answer.close()
        self._on_close(self)


class _Pouring:
    """What comes of *body* from now on goes to *sink*. Nothing here refers to itself: what it holds goes with it."""

    __slots__ = ("_body", "_heard", "_loop", "_outcome", "_sink", "_timer", "_wire")

    def __init__(self, body: RangedBody, sink: Callable[[bytes | memoryview], bool]) -> None:
        self._body = body
        self._sink = sink
        self._wire = body._answer.wire
        self._loop = self._wire.loop
        self._outcome: asyncio.Future[bool] = self._loop.create_future()
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    async def end(self) -> bool:
        """Whether that was all, rather than enough. Raises what went wrong."""
        self._wire.pour(self._take)
        self._body._answer.content.on_eof(self._ended)
        self._look()
        try:
            return await self._outcome
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._wire.stop_pouring(self._take)
            if not self._outcome.cancelled() and self._outcome.done():
                self._outcome.exception()  # whoever waited may have been cancelled in the same moment

    def _take(self, piece: bytes | memoryview) -> None:
        self._heard = self._loop.time()
        try:
            if not self._sink(self._body._counted(piece)) or self._body._over:
                self._settle(False)
        except Exception as exc:  # goes to whoever waits, not to the transport
            self._settle(False, exc)

    def _ended(self) -> None:
        self._settle(True)

    def _look(self) -> None:
        """See whether anything came in time."""
        until, kind = self._body._until(self._heard)
        if self._timer is not None and self._loop.time() >= until:
            self._settle(False, self._body._failed(self._body._late(kind)))
        else:
            self._timer = self._loop.call_at(until, self._look)

    def _settle(self, whole: bool, error: Exception | None = None) -> None:
        self._wire.stop_pouring(self._take)  # at once: what comes before the waiter's turn is kept for whoever goes on
        if self._outcome.done():
            return
        if error is None:
            self._outcome.set_result(whole)
        else:
            self._outcome.set_exception(error)


def status_has_no_body(status: int) -> bool:
    """Whether an answer that we accept with *status* has nothing to read."""
    return status in (304, 416)
