"""A question and its answer, checked: the body of a range, or a small document whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import HttpStatus, RangeMismatch, RepresentationChanged, TooLarge
from .answers import WHOLE, Accepted, Asked, Where, accept, coding, content_length, refuse_coding, unexpected
from .body import RangedBody
from .calls import Arrived, Call, arrive
from .document import CODINGS, Document, read_whole
from .headers import Representation, range_headers, representation_of

if TYPE_CHECKING:
    from .exchange import Answer
    from .pool import Pool
    from .prompt import Prompt


async def ask_range(
    pool: Pool, call: Call, start: int, stop: int | None, known: Representation | None, prompt: Prompt | None = None
) -> RangedBody:
    """The body for [start, stop); what may be a confused connection or range logic at the server gets one more chance.

    Raises `NetError` for every answer that brings other bytes than these, or of another representation than *known*.
    """
    fresh = reprobed = False
    while True:
        wanted = {"Accept-Encoding": "identity"}
        ranged = (start > 0 or stop is not None) and not reprobed
        if ranged:
            wanted |= range_headers(start, stop, known)
        if fresh:
            wanted["Connection"] = "close"
        arrived = await arrive(pool, call, wanted, prompt=prompt)
        prompt = None
        try:
            return _accepted(pool, call, arrived, Asked(start, stop, ranged, known, pool.options.max_resource_bytes))
        except (RangeMismatch, RepresentationChanged) as exc:
            arrived.answer.close()
            # On a connection that was used before, it may be the rest of what somebody put behind an older answer.
            if fresh or (isinstance(exc, RepresentationChanged) and arrived.answer.wire.uses < 2):
                raise
            fresh = True
        except HttpStatus as exc:
            arrived.answer.close()
            if exc.status != 416 or reprobed:
                raise
            reprobed = True
        except BaseException:
            arrived.answer.close()
            raise


async def ask_document(
    pool: Pool, call: Call, wanted: Mapping[str, str], limit: int, accept_gzip: bool
) -> Document:
    """The document that answers a request with the headers *wanted*: whole, decoded, of *limit* bytes at the most.

    Raises `NetError` for every answer that brings none. A 304 is one where a condition was sent.
    """
    conditional = "If-None-Match" in wanted or "If-Modified-Since" in wanted
    arrived = await arrive(pool, call, wanted)
    answer = arrived.answer
    where: Where = {"url": arrived.target.text, "operation": call.operation}
    try:
        length = content_length(answer.headers)
        unchanged = answer.status == 304 and conditional
        if not unchanged and (answer.status not in WHOLE or "Content-Range" in answer.headers):
            raise unexpected(answer.status, answer.reason, answer.headers, where)
        packed = coding(answer.headers) if accept_gzip and not unchanged else ""
        if packed not in CODINGS:
            refuse_coding(answer.headers, where)
        if length is not None and length > limit and not unchanged:
            raise TooLarge(f"{length} bytes are more than the {limit} allowed", **where)
        representation = representation_of(answer.headers, None if unchanged else length)
        body = _body(pool, call, arrived, Accepted(representation, 0, 0 if unchanged else length, False))
    except BaseException:
        answer.close()
        raise
    try:
        data = await read_whole(body, limit, coding=packed)
    finally:
        body.close()
    return Document(
        body=data,
        url=body.url,
        headers=body.headers,
        representation=body.representation,
        status=answer.status,
        trust=arrived.trust,
    )


def _accepted(pool: Pool, call: Call, arrived: Arrived, asked: Asked) -> RangedBody:
    """The body of an answer that is what was asked for. Raises for every other."""
    answer = arrived.answer
    where: Where = {"url": arrived.target.text, "range": (asked.start, asked.stop), "operation": call.operation}
    found = accept(asked, answer.status, answer.reason, answer.headers, where)
    if found.ranges and answer.status == 206 and asked.known is not None and arrived.target is call.target:
        pool.remember(call, answer, asked.known)
    return _body(pool, call, arrived, found, endless=found.stop is None and _is_broadcast(answer))


def _body(pool: Pool, call: Call, arrived: Arrived, found: Accepted, *, endless: bool = False) -> RangedBody:
    """The body of an accepted answer, which the pool closes when it closes first."""
    body = RangedBody(
        arrived.answer,
        url=arrived.target.text,
        representation=found.representation,
        start=found.start,
        stop=found.stop,
        ranges=found.ranges,
        endless=endless,
        trust=arrived.trust,
        options=pool.options,
        deadline=call.until,
        on_close=pool.bodies.discard,
    )
    pool.adopt(body)
    return body


def _is_broadcast(answer: Answer) -> bool:
    return answer.fate.icy or any(name.lower().startswith("icy-") for name in answer.headers)
