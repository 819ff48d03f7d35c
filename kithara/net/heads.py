"""What stands before a body: status line and headers, checked before anything else sees them."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LENGTH = 2**63 - 1

_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]|ICY) ([1-5][0-9][0-9])(?: [^\x00]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00\r\n]*)")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_USUAL = re.compile(rb"HTTP/1\.[01] ([2-5][0-9][0-9])(?: [^\x00\r\n]*)?\r\n(?:" + _TOKEN + rb":[^\x00\r\n]*\r\n)*\r\n")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding):[ \t]*([^\r]*)", re.IGNORECASE)
_BEGINNINGS = (b"HTTP/1.", b"ICY ")


class BadAnswer(Exception):
    """What the server sent is not HTTP/1."""


def may_begin(head: bytes) -> bool:
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
