"""A file read as over HTTP: what is here stays here, each jump to what is not is a request, each byte is counted."""

from __future__ import annotations

import io


class Metered(io.RawIOBase):
    """A reader with `want`, `read1` and `contains_range` that counts what it would fetch.

    Attributes:
        requests: Where each range that was opened begins.
        fetched: Bytes that came.
        wanted: The last hint.
    """

    PIECE = 1024

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._edge = data, 0, -1
        self._here = bytearray(len(data) // self.PIECE + 1)
        self.length = len(data)
        self.media = None
        self.requests: list[int] = []
        self.fetched = 0
        self.wanted: tuple[int, int] | None = None

    def start_counting(self) -> None:
        self.requests, self.fetched, self._edge = [], 0, -1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.length)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def want(self, start: int, stop: int) -> None:
        self.wanted = (start, stop)

    def contains_range(self, start: int, stop: int) -> bool:
        stop = min(stop, self.length)
        return start >= stop or all(self._here[start // self.PIECE : (stop - 1) // self.PIECE + 1])

    def read1(self, size: int = -1) -> bytes:
        """One piece at most, as from a socket."""
        start = self._at
        if start >= self.length or size == 0:
            return b""
        index = start // self.PIECE
        if not self._here[index]:
            if self._edge != index:
                self.requests.append(start)
            self._here[index] = 1
            self.fetched += self.PIECE
            self._edge = index + 1
        stop = min((index + 1) * self.PIECE, self.length, start + (size if size > 0 else self.PIECE))
        self._at = stop
        return self._data[start:stop]

    def read(self, size: int = -1) -> bytes:
        parts = []
        left = self.length - self._at if size < 0 else size
        while left > 0 and (piece := self.read1(left)):
            parts.append(piece)
            left -= len(piece)
        return b"".join(parts)
