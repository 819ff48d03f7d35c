"""What a caller may hand to a decoder, and who closes it."""

from __future__ import annotations

import io
import os
from typing import Any

from .. import opening
from .._core.reader import SyncReader
from ..errors import DecodeError, redact_url
from ..media import MediaInfo
from ..source import Advising, Segmented, SegmentSource, Source

__all__ = ["Input", "open_input"]


class Input:
    """A reader to decode from, and whether it is ours to close.

    Attributes:
        reader: A file-like object, or the segments themselves.
        segments: What to decode instead of the reader's bytes, where those are segments one behind the other; or None.
        owned: We opened it, so we close it.
        hint: What its name or its server says it is.
        address: The path or URL that we opened, or None.
        closed: Whoever decodes from it, at whatever rate, is done.
        users: How many decoders share it.
    """

    __slots__ = ("address", "closed", "hint", "owned", "reader", "segments", "users")

    def __init__(
        self, reader: Any, *, owned: bool, hint: MediaInfo | None, address: str | os.PathLike[str] | None = None
    ) -> None:
        self.reader: Any = reader
        self.segments: Any = reader if isinstance(reader, SegmentSource) else _segments_behind(reader)
        self.owned: bool = owned
        self.hint: MediaInfo | None = hint
        self.address: str | os.PathLike[str] | None = address
        self.closed: bool = False
        self.users: int = 1

    @property
    def advised_start(self) -> float:
        """Second at which playing is to begin, unless somebody says otherwise."""
        return self.segments.start if isinstance(self.segments, Advising) else 0.0

    def close(self) -> None:
        """Let go of what was opened here. Idempotent."""
        if not self.closed:
            self.closed = True
            if self.segments is not None and self.segments is not self.reader:
                self.segments.close()
            if self.owned:
                self.reader.close()

    def reject(self) -> None:
        """Close it, and keep nothing of it, which is no audio. What a caller opened is the caller's."""
        self.close()
        if self.address is not None:
            opening.forget(self.address)

    def name(self, error: DecodeError) -> None:
        """Let *error* say what was decoded, where that has a name."""
        name = self.address
        if name is None and isinstance(self.reader, SyncReader):
            name = self.reader.store.label
        if error.url is None and name is not None:
            error.url = redact_url(os.fspath(name))


def _segments_behind(reader: Any) -> SegmentSource | None:
    store = reader.store if isinstance(reader, SyncReader) else None
    return store.segments() if isinstance(store, Segmented) else None


def open_input(what: Any, variant: int | None = None) -> Input:
    """A reader over *what*: a path, a URL, bytes, or an object with ``read``.

    Raises:
        KitharaError: a path or URL cannot be opened.
        TypeError: it is none of these.
    """
    if isinstance(what, (bytes, bytearray, memoryview)):
        return Input(io.BytesIO(what), owned=True, hint=None)
    if isinstance(what, SegmentSource):
        return Input(what, owned=False, hint=None)
    if callable(getattr(what, "read", None)):
        hint = getattr(what, "media", None)
        return Input(what, owned=False, hint=hint if isinstance(hint, MediaInfo) else None)
    if isinstance(what, (str, os.PathLike)):
        reader: Any = opening.open_media(what, variant=variant)
        return Input(reader, owned=True, hint=getattr(reader, "media", None), address=what)
    if isinstance(what, Source):
        reader = SyncReader(what)
        return Input(reader, owned=True, hint=reader.media)
    raise TypeError(
        f"cannot decode from {type(what).__name__}: expected a path, URL, bytes, a Source or an object with read()"
    )
