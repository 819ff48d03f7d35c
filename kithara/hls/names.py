"""What the parts of a presentation are called in the cache: one tree below the asset of its first URL."""

from __future__ import annotations

import hashlib
import posixpath
from urllib.parse import urlsplit

from ..errors import redact_url
from .model import Init, MediaSegment

MASTER = "master.m3u8"


def variant_name(index: int) -> str:
    """The media playlist of variant *index*."""
    return f"variant_{index}.m3u8"


def key_name(uri: str) -> str:
    """A decryption key."""
    return f"keys/{_digest(uri, 16)}.bin"


def init_name(index: int, init: Init) -> str:
    """An initialization section of variant *index*."""
    return f"init/{index}/{_digest(_place(init.uri, init.byterange), 16)}.mp4"


def segment_name(index: int, segment: MediaSegment) -> str:
    """A segment of variant *index*. The query takes no part: its tokens change, the sequence number does not."""
    suffix = posixpath.splitext(urlsplit(segment.uri).path)[1].lower()
    suffix = suffix if 1 < len(suffix) <= 6 and suffix[1:].isalnum() else ".bin"
    return f"segments/{index}/{segment.sequence}-{_digest(_place(segment.uri, segment.byterange), 8)}{suffix}"


def _place(uri: str, byterange: tuple[int, int] | None) -> str:
    # data: URLs are their own content; they have no query to drop
    name = uri if uri.startswith("data:") else redact_url(uri)
    return name if byterange is None else f"{name} {byterange[0]}-{byterange[1]}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
