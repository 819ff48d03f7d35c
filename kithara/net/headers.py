"""What headers say: ranges, validators, dates; and which ones a caller may send."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import NamedTuple

from ..errors import PolicyDenied

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTENT_RANGE = re.compile(r"bytes[ ]+(?:(\d{1,19})-(\d{1,19})|(\*))/(?:(\d{1,19})|(\*))", re.IGNORECASE | re.ASCII)
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_PREPARING = "preparing a request"

OWNED = frozenset(
    {
        *("connection", "content-length", "content-type", "expect", "host", "keep-alive", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("accept-encoding", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
        "range",
    }
)
"""Headers that the client sets itself, so that what comes back can be checked against what was asked."""

HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
"""Caller headers that may follow a redirect to another origin."""


class ContentRange(NamedTuple):
    """``Content-Range: bytes start-(stop-1)/total``. *start* and *stop* are None in the answer 416."""

    start: int | None
    stop: int | None
    total: int | None


def parse_content_range(value: str | None) -> ContentRange | None:
    """The parsed header, or None when it is absent or not one that RFC 9110 §14.4 allows."""
    match = _CONTENT_RANGE.fullmatch(value.strip()) if value else None
    if match is None:
        return None
    first, last, unsatisfied, total, unknown = match.groups()
    length = None if unknown else int(total)
    if unsatisfied:
        return None if length is None else ContentRange(None, None, length)
    start, stop = int(first), int(last) + 1
    if stop <= start or (length is not None and stop > length):
        return None
    return ContentRange(start, stop, length)


def format_range(start: int, stop: int | None) -> str:
    """The ``Range`` header that asks for [start, stop)."""
    return f"bytes={start}-{'' if stop is None else stop - 1}"


def parse_date(value: str | None) -> float | None:
    """Seconds since 1970 of an HTTP date, or None when it is absent or garbage."""
    if not value:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds that ``Retry-After`` asks to wait (≥ 0), or None when it is absent or garbage.

    A moment in time is counted from the server's own ``Date`` where there is one, so that clocks need not agree.
    """
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:12]), 10**9))
    moment = parse_date(value)
    if moment is None:
        return None
    now = parse_date(date)
    return max(0.0, moment - (time.time() if now is None else now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """Which bytes these are, as far as the server says: length and validators.

    Attributes:
        total: Length of the whole in bytes, or None.
        etag: The entity tag as sent, ``W/`` and quotes included, or None.
        last_modified: As sent, or None.
        date: The server's ``Date`` of the answer, or None.
        content_type: As sent, or None.
    """

    total: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    date: str | None = None
    content_type: str | None = None

    @property
    def if_range(self) -> str | None:
        """The strong validator fit for ``If-Range``, or None.

        A weak tag never is (RFC 9110 §13.1.5). A modification date is one only if it is at least a second older
        than the answer (§8.8.2.2), since within that second the bytes may have changed again.
        """
        if self.etag is not None:
            match = _ENTITY_TAG.fullmatch(self.etag)
            return self.etag if match and not match[1] else None
        modified, answered = parse_date(self.last_modified), parse_date(self.date)
        if modified is not None and answered is not None and answered - modified >= 1:
            return self.last_modified
        return None

    def conflict(self, other: Representation) -> str | None:
        """Why bytes of the two cannot be one entity, or None when nothing speaks against it."""
        if self.total is not None and other.total is not None and self.total != other.total:
            return f"length {self.total} became {other.total}"
        if self.etag and other.etag:
            mine, theirs = self.etag.removeprefix("W/"), other.etag.removeprefix("W/")
            if mine != theirs:
                return "the entity tag changed"
            if mine == self.etag and theirs == other.etag:
                return None  # strong and equal: byte for byte the same, whatever the rest says
        if self.last_modified and other.last_modified and self.last_modified != other.last_modified:
            return "the modification date changed"
        if self.content_type and other.content_type and self.content_type != other.content_type:
            return "the content type changed"
        return None


def representation_of(headers: Mapping[str, str], total: int | None) -> Representation:
    """What *headers* say of an entity of *total* bytes."""
    return Representation(
        total=total,
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        date=headers.get("Date"),
        content_type=headers.get("Content-Type"),
    )


def range_headers(start: int, stop: int | None, known: Representation | None) -> dict[str, str]:
    """The headers that ask for a part, of *known* where something is."""
    headers = {"Range": format_range(start, stop)}
    if known is not None and (validator := known.if_range):
        headers["If-Range"] = validator
    return headers


def checked(headers: Mapping[str, str] | None) -> dict[str, str]:
    """A caller's headers, fit to be sent.

    Raises `PolicyDenied` for a name that is no token or a value with control characters (CR, LF and NUL would
    forge a second header), ValueError for a header that the client must set itself.
    """
    good: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError("header names and values must be str")
        if not _TOKEN.fullmatch(name):
            raise PolicyDenied("a header name with characters that HTTP does not allow", operation=_PREPARING)
        if name.lower() in OWNED:
            raise ValueError(f"the header {name} is set by the client and cannot be given")
        good[name] = checked_value(name, value)
    return good


def checked_value(name: str, value: str) -> str:
    """*value*, fit to be sent as the header *name*. Raises `PolicyDenied` when it could forge a second header."""
    if any((ch < " " and ch != "\t") or ch == "\x7f" for ch in value):
        raise PolicyDenied(f"header {name} holds a control character", operation=_PREPARING)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise PolicyDenied(f"header {name} cannot be encoded", operation=_PREPARING) from None
    return value
