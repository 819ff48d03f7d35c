"""Whether an answer is one to what was asked, and which bytes it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from ..errors import (
    ContentEncodingRejected,
    EmptyBody,
    HttpStatus,
    NetError,
    ProtocolViolation,
    RangeMismatch,
    RepresentationChanged,
    Span,
    TooLarge,
)
from .headers import Representation, parse_content_range, parse_retry_after, representation_of

WHOLE = frozenset({200, 203})
"""The statuses that bring a whole representation."""


class Where(TypedDict, total=False):
    """What an error says about its place."""

    url: str
    range: Span
    operation: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for bytes.

    Attributes:
        start: Offset of the first byte wanted.
        stop: Offset behind the last, or None for the end.
        ranged: Whether a ``Range`` header was sent; a request for everything has none.
        known: What is held already, or None.
        limit: The longest representation that is believed.
    """

    start: int
    stop: int | None
    ranged: bool
    known: Representation | None
    limit: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bytes [start, stop) of a representation; stop None when only the end of the body will tell."""

    representation: Representation
    start: int
    stop: int | None
    ranges: bool


def accept(asked: Asked, status: int, reason: str | None, headers: Mapping[str, str], where: Where) -> Accepted:
    """Which bytes an answer brings.

    Raises for every answer that brings none, or others than were asked for: `RangeMismatch`, `ProtocolViolation`,
    `ContentEncodingRejected`, `RepresentationChanged`, `TooLarge`, `HttpStatus`. RFC 9110 §14 and §15.
    """
    start = 0
    stop: int | None
    total: int | None
    if status == 206:
        start, stop, total = _part(asked, headers, where)
    elif status == 416 and asked.ranged:
        total = _unsatisfied(asked, reason, headers, where)
        start, stop = asked.start, asked.start
    elif status in WHOLE:
        stop = total = _whole(headers, where)
    else:
        raise unexpected(status, reason, headers, where)
    if total is not None and total > asked.limit:
        raise TooLarge(f"{total} bytes are more than the {asked.limit} allowed", **where)
    # The other headers of a 416 speak of the error page.
    representation = Representation(total=total) if status == 416 else representation_of(headers, total)
    if asked.known is not None and (why := asked.known.conflict(representation)):
        raise RepresentationChanged(why, **where)
    advertised = headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    ranges = status in (206, 416) or (advertised and not asked.ranged)
    return Accepted(representation, start, stop, ranges)


def _part(asked: Asked, headers: Mapping[str, str], where: Where) -> tuple[int, int, int]:
    """Start, stop and total of a 206."""
    if not asked.ranged:
        raise ProtocolViolation("the server sent a part although the whole was asked for", **where)
    if headers.get("Content-Type", "").lower().startswith("multipart/"):
        raise ProtocolViolation("the server sent several parts although one was asked for", **where)
    refuse_coding(headers, where)
    reported = parse_content_range(headers.get("Content-Range"))
    if reported is None or reported.start is None or reported.stop is None:
        raise RangeMismatch("the server sent a part without saying which", **where)
    if reported.start != asked.start:
        raise RangeMismatch(f"the server sent a part from byte {reported.start} on", **where)
    length = content_length(headers)
    if length is not None and length != reported.stop - reported.start:
        raise RangeMismatch(f"the server sent {length} bytes for a part of {reported.stop - reported.start}", **where)
    total = reported.total
    if total is None:
        total = asked.known.total if asked.known is not None else None
        if total is None or reported.stop > total:
            raise RangeMismatch("the server sent a part of it does not say how much", **where)
    return reported.start, reported.stop if asked.stop is None else min(asked.stop, reported.stop), total


def _unsatisfied(asked: Asked, reason: str | None, headers: Mapping[str, str], where: Where) -> int:
    """The total that a 416 tells, if the range asked for really lies behind it."""
    reported = parse_content_range(headers.get("Content-Range"))
    if reported is None or reported.start is not None or reported.total is None or asked.start < reported.total:
        raise unexpected(416, reason, headers, where)
    if reported.total == 0:
        raise EmptyBody("the resource is empty", **where)
    return reported.total


def _whole(headers: Mapping[str, str], where: Where) -> int | None:
    """The length of a 200, where it is told."""
    refuse_coding(headers, where)
    if "Content-Range" in headers:
        raise ProtocolViolation("a Content-Range in an answer that is no part", **where)
    length = content_length(headers)
    if length == 0:
        raise EmptyBody("the server sent an answer without a body", **where)
    return length


def content_length(headers: Mapping[str, str]) -> int | None:
    """The declared length of the body. `kithara.net.wire` has let nothing through that is none."""
    value = headers.get("Content-Length")
    return None if value is None else int(value.partition(",")[0])


def coding(headers: Mapping[str, str]) -> str:
    """The content coding in lower case, ``identity`` for none."""
    return headers.get("Content-Encoding", "").strip().lower() or "identity"


def refuse_coding(headers: Mapping[str, str], where: Where) -> None:
    """Raise `ContentEncodingRejected` unless the body is plain."""
    if coding(headers) != "identity":
        raise ContentEncodingRejected(f"the body is in {coding(headers)[:40]!r} although identity was asked", **where)


def unexpected(status: int, reason: str | None, headers: Mapping[str, str], where: Where) -> NetError:
    """The error for an answer whose *status* means that it brings no bytes."""
    if status < 400:
        return ProtocolViolation(f"the server answered {status}, which nothing asked for", **where)
    wait = parse_retry_after(headers.get("Retry-After"), headers.get("Date"))
    said = f"{status} {reason}" if reason else f"{status}"
    return HttpStatus(f"the server answered {said}", status=status, retry_after=wait, **where)
