"""Bytes of a file-like reader by absolute offset, read economically: what a demuxer looks through.

A view keeps the last piece it read, so that going over the same bytes again, as sniffing and then demuxing does, costs
nothing. It asks the reader for no more than was asked of it, and says through the reader's `want`, where there is one,
how much the next read will need: a seek then costs one small request.
"""

from __future__ import annotations

import io
from typing import Any

from .._core.reader import SyncReader
from ..errors import Interrupted, SeekNotSupported

__all__ = ["ByteView", "Feed"]

CHUNK = 1 << 16
"""Bytes asked for at once while reading on."""
WORTH_SAYING = 1 << 11
"""A look at fewer bytes than this is followed by more: the reader's own idea of a request is the better one."""
HISTORY = 1 << 18
"""Bytes of a reader that cannot seek that are kept while a header is being understood."""


class ByteView:
    """The bytes of *reader* at absolute offsets. Moves the reader's position; owned by one thread at a time.

    Args:
        reader: Anything with ``read``; ``seek``, ``tell``, ``read1``, ``length``, ``want``, ``interrupt`` and
            ``contains_range`` are used where they exist.

    Attributes:
        seekable: Whether it can go back.
        eager: What follows a jump will be read on and on, as for playing: the reader is to fetch ahead at once.
    """

    def __init__(self, reader: Any) -> None:
        if not callable(getattr(reader, "read", None)):
            raise TypeError(f"a reader needs a read(n) method; {type(reader).__name__} has none")
        self._reader = reader
        self._read = reader.read1 if callable(getattr(reader, "read1", None)) else reader.read
        self._want = getattr(reader, "want", None)
        self._contains = getattr(reader, "contains_range", None)
        self.seekable: bool = _can_seek(reader)
        self._length = self._measure()
        self._at = -1
        self._planned = (0, 0)
        self.eager = False
        self._interrupted = False
        self._base = 0
        self._data = b""

    def _measure(self) -> int | None:
        """The length of a plain seekable object, by going to its end."""
        if not self.seekable or hasattr(self._reader, "length"):
            return None
        try:
            end = self._reader.seek(0, io.SEEK_END)
            return int(self._reader.tell() if end is None else end)
        except (OSError, ValueError):
            return None

    @property
    def length(self) -> int | None:
        """Bytes in all, or None while nobody has told."""
        if self._length is None and hasattr(self._reader, "length"):
            self._length = self._reader.length
        return self._length

    def here(self, start: int, stop: int) -> bool:
        """Whether reading ``[start, stop)`` will not wait for a network."""
        return True if self._contains is None else bool(self._contains(start, stop))

    def some(self, offset: int, least: int = 1, most: int = CHUNK) -> bytes:
        """At least *least* bytes from *offset* and at most *most*; fewer than *least* only at the true end.

        Waits for *least* bytes. Raises what the reader raises.
        """
        at = offset - self._base
        if 0 <= at <= len(self._data) - least:
            return self._data[at : at + most]
        data = self._held(offset)
        start, planned = self._planned
        if start <= offset and offset + least < planned <= offset + most and not self.eager:
            most = planned - 1 - offset  # reading all that was planned would say that more is wanted
        most = max(most, least)
        parts = [data] if data else []
        got = len(data)
        self._go(offset + got, offset + least)
        at = self._at
        if self.seekable:
            self._at = -1  # a read that raises leaves the place unknown
        while got < least:
            piece = self._read(most - got)
            if not isinstance(piece, bytes):
                raise TypeError(f"the reader's read() must return bytes, not {type(piece).__name__}")
            if not piece:
                break
            if len(piece) > most - got:
                raise TypeError(f"the reader's read({most - got}) returned {len(piece)} bytes")
            parts.append(piece)
            got += len(piece)
            at += len(piece)
        self._at = at
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._keep(offset, data)
        return data

    def head(self, offset: int, size: int, most: int) -> bytes:
        """*size* bytes from *offset*, fewer only at the end; where they are to be fetched, up to *most* come along."""
        at = offset - self._base
        if 0 <= at <= len(self._data) - size:
            return self._data[at : at + size]
        return self.some(offset, size, most)[:size]

    def get(self, offset: int, size: int) -> bytes:
        """*size* bytes from *offset*, fewer only at the true end. Waits for them."""
        return self.some(offset, size, size)

    def _keep(self, offset: int, data: bytes) -> None:
        """Hold *data* for the next call; what cannot be read again is held for longer."""
        gap = offset - self._base
        if not self.seekable and 0 <= gap <= len(self._data) and len(self._data) < HISTORY:
            self._data = self._data[:gap] + data
        else:
            self._base, self._data = offset, data

    def _held(self, offset: int) -> bytes:
        at = offset - self._base
        if at == 0:
            return self._data
        return self._data[at:] if 0 < at < len(self._data) else b""

    def plan(self, start: int, stop: int) -> None:
        """Say that once *start* is gone to, all up to *stop* will be read: one request for it, and for no more yet."""
        self._planned = (start, stop)

    def _go(self, offset: int, stop: int) -> None:
        if self._interrupted:
            raise Interrupted("something else is wanted", operation="decoding")
        if offset == self._at:
            return
        if self.seekable:
            start, planned = self._planned
            worth = stop - offset >= WORTH_SAYING
            if start <= offset < planned:
                stop, worth = max(stop, planned), True
            if self._want is not None and not self.eager and worth:
                self._want(offset, stop)
            self._at = -1
            self._reader.seek(offset)
        elif self._at <= offset:
            position = max(self._at, 0)
            while position < offset:
                piece = self._read(min(CHUNK, offset - position))
                if not piece:
                    break
                if position == self._base + len(self._data) and len(self._data) < HISTORY:
                    self._data += piece  # what is passed by now may be asked for yet
                position += len(piece)
        else:
            raise SeekNotSupported("the reader cannot go back", range=(offset, None), operation="decoding")
        self._at = offset

    def interrupt(self) -> None:
        """Make every read raise `kithara.errors.Interrupted`, one that waits included, until `resume`. Any thread."""
        self._interrupted = True
        interrupt = getattr(self._reader, "interrupt", None)
        if callable(interrupt):
            interrupt()

    def resume(self) -> None:
        """Read again after `interrupt`."""
        self._interrupted = False
        self._at = -1 if self.seekable else self._at  # the reader itself waits again only once it is sent somewhere


def _can_seek(reader: Any) -> bool:
    if not (callable(getattr(reader, "seek", None)) and callable(getattr(reader, "tell", None))):
        return False
    if isinstance(reader, SyncReader):  # of a length that nobody has told yet, too: what came is kept
        return reader.store.seekable
    seekable = getattr(reader, "seekable", None)
    return bool(seekable()) if callable(seekable) else True


class Feed:
    """A forward run over a view: a buffer that grows at its end and is consumed at its start.

    Attributes:
        data: What is here, from `offset` on.
        offset: Where ``data[0]`` lies in the view.
        ended: Nothing follows *data*.
    """

    __slots__ = ("_stop", "_view", "data", "ended", "offset")

    def __init__(self, view: ByteView, offset: int, *, stop: int | None = None, least: int = 1) -> None:
        self._view = view
        self._stop = stop
        self.offset: int = offset
        self.data: bytes = b""
        self.ended: bool = False
        if least:
            self.more(least)

    def more(self, least: int = 1) -> None:
        """Append at least *least* bytes unless the end comes first. Waits for them."""
        at = self.offset + len(self.data)
        most = max(CHUNK, least)
        if self._stop is not None:
            most = min(most, self._stop - at)
            least = min(least, most)
        piece = self._view.some(at, least, most) if most > 0 else b""
        if len(piece) < least or not piece:
            self.ended = True
        if self._stop is not None and at + len(piece) >= self._stop:
            self.ended = True
        self.data = self.data + piece if self.data else piece

    def drop(self, count: int) -> None:
        """Forget the first *count* bytes; more than are here skips what is to come."""
        self.data = self.data[count:]
        self.offset += count
