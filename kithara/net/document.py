"""Small bodies, whole: playlists, keys, sidecars."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BodyTruncated, ContentEncodingRejected, TooLarge
from .answers import Where
from .body import RangedBody
from .headers import Representation
from .policy import Trust

CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What a document may be packed in, and zlib's wbits for its header and 32 KiB of window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A small body, whole.

    Attributes:
        body: The decoded bytes; empty for a 304.
        url: Where it came from in the end: the base of relative references in it.
        headers: The answer's, case-insensitive.
        representation: Length (of what was transferred) and validators.
        status: 200, or 304 when a condition was sent and nothing has changed.
        trust: What the document may lead to; pass it on with every URL found in it.
    """

    body: bytes
    url: str
    headers: Mapping[str, str]
    representation: Representation
    status: int
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What is known of a resource without fetching it: final URL, length and validators, ranges served or not."""

    url: str
    representation: Representation
    ranges: bool
    trust: Trust


async def read_whole(body: RangedBody, limit: int, *, coding: str) -> bytes:
    """All of *body*, decoded if *coding* is one of `CODINGS`, as long as it stays within *limit* bytes. Raises
    `TooLarge` beyond it.
    """
    where: Where = {"url": body.url, "operation": "reading the body"}
    wbits = CODINGS.get(coding)
    decoder: Any = None
    data = bytearray()
    async for chunk in body:
        if wbits is not None:
            if decoder is None:
                bare = coding == "deflate" and chunk[0] & 0x0F != 8  # of servers that leave out zlib's header
                decoder = zlib.decompressobj(-wbits if bare else wbits)
            try:
                chunk = decoder.decompress(chunk, limit + 1 - len(data))
            except zlib.error as exc:
                raise ContentEncodingRejected(f"{coding} data that cannot be decoded", **where) from exc
            if decoder.unused_data:
                raise ContentEncodingRejected(f"bytes behind the end of the {coding} data", **where)
        data += chunk
        if len(data) > limit:
            raise TooLarge(f"more than the {limit} bytes allowed", **where)
    if decoder is not None and not decoder.eof and body.received:
        raise BodyTruncated(f"{coding} data that stops early", got=len(data), **where)
    return bytes(data)
