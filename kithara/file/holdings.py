"""What a resource holds: whose bytes these are, what kind of media, and whether they are what they should be."""

from __future__ import annotations

import email.utils
import hashlib

from .._core.resource import Resource
from ..errors import CacheCorrupt
from ..media import MediaInfo
from ..net import Representation
from ..storage import Validators


def agreed(*witnesses: MediaInfo | None) -> MediaInfo | None:
    """What the first of *witnesses* that knows anything says, with what those add that do not contradict it."""
    media: MediaInfo | None = None
    for witness in witnesses:
        if media is None:
            media = witness
        elif witness is not None and witness.container == media.container:
            media = media.over(witness)
    return media


def held(resource: Resource) -> Representation:
    """Which bytes *resource* holds, as far as it remembers."""
    known = getattr(resource, "validators", Validators())
    return Representation(
        total=known.total,
        etag=known.etag,
        last_modified=known.last_modified,
        date=known.date,
        content_type=known.content_type,
    )


def validators(known: Representation) -> Validators:
    """*known*, as a resource remembers it. An answer without a date is of now (RFC 9110 §6.6.1)."""
    return Validators(
        total=known.total,
        etag=known.etag,
        last_modified=known.last_modified,
        date=known.date or email.utils.formatdate(usegmt=True),
        content_type=known.content_type,
        unvalidated=known.if_range is None,
    )


def prove(resource: Resource, digests: set[str], missing: int = -1, byte: bytes = b"") -> None:
    """Check the whole *resource* against SHA-256 *digests*, in hexadecimal. Reads all of it.

    Args:
        missing: The offset of the one *byte* that is not in it yet.

    Raises:
        CacheCorrupt: it has another.
    """
    if not digests:
        return
    whole = hashlib.sha256()
    piece = bytearray(1 << 20)
    offset = 0
    while True:
        size = resource.read_at(offset, piece)
        whole.update(memoryview(piece)[:size])
        offset += size
        if offset == missing:
            whole.update(byte)
            offset += 1
        elif not size:
            break
    for digest in digests:
        if digest != whole.hexdigest():
            raise CacheCorrupt(
                f"the SHA-256 digest is {whole.hexdigest()} instead of {digest}",
                url=str(resource.label),
                operation="committing",
            )
