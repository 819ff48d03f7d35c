"""Every kind of store behind one producer's face, for suites that hold each of them to one contract."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

from kithara._core.chain import Chain
from kithara._core.file_resource import FileResource
from kithara._core.memory_resource import MemoryResource
from kithara._core.parts import Part
from kithara._core.resource import Resource
from kithara._core.store import Store
from kithara._core.window import Window

CHAIN_PARTS = 3


class Feed:
    """A store and the means to bring its bytes, in order from 0.

    Args:
        length: What the store is told of its length; None: it must learn it by `end`.
        size: How many bytes there will be.
    """

    def __init__(self, kind: str, length: int | None, size: int) -> None:
        self.kind = kind
        self.size = size
        self.written = 0
        self.store: Store
        self._parts: list[tuple[int, int | None, Resource]] = []
        if kind == "window":
            self.store = Window(2 * size + 1024, length=length)
        elif kind == "chain":
            share = size // CHAIN_PARTS
            starts = [share * number for number in range(CHAIN_PARTS)]
            for start, stop in zip(starts, [*starts[1:], size], strict=True):
                self._parts.append((start, stop, MemoryResource(None if length is None else stop - start)))
            self.store = Chain(
                Part(part, None if length is None else stop - start) for start, stop, part in self._parts
            )
        else:
            self._parts.append((0, None, resource(kind, length)))
            self.store = self._parts[0][2]

    @property
    def producers(self) -> list[Store]:
        """Where demands arrive: the store, or the parts of a chain."""
        return [part for _, _, part in self._parts] or [self.store]

    def write(self, data: bytes) -> None:
        """Bring the next bytes."""
        if isinstance(self.store, Window):
            assert len(data) == self.store.put(self.store.epoch, self.written, data)
        for start, stop, part in self._parts:
            low, high = max(self.written, start), self.written + len(data)
            high = high if stop is None else min(high, stop)
            if low < high:
                part.write_at(low - start, data[low - self.written : high - self.written])
                if stop is not None and high == stop:
                    part.commit(stop - start)
        self.written += len(data)

    def end(self) -> None:
        """All bytes are brought."""
        if isinstance(self.store, Window):
            assert self.store.finish(self.store.epoch)
        for start, stop, part in self._parts:
            part.commit((self.written if stop is None else stop) - start)

    def fail(self, error: BaseException) -> None:
        """No more bytes will come, because of *error*."""
        if isinstance(self.store, Window):
            self.store.fail(error, self.store.epoch)
        for _, _, part in self._parts:
            part.fail(error)

    def cancel(self) -> None:
        """No more bytes will come, because somebody said so."""
        if isinstance(self.store, Window):
            self.store.cancel()
        for _, _, part in self._parts:
            part.cancel()

    def close(self) -> None:
        self.store.close()  # type: ignore[attr-defined]


def resource(kind: str, length: int | None = None) -> Resource:
    """An empty resource; a file's is in an unlinked temporary file."""
    if kind == "memory":
        return MemoryResource(length)
    with tempfile.TemporaryFile() as file:
        return FileResource(os.dup(file.fileno()), length=length, io="pread" if kind == "pread" else "auto")


KINDS = ("mapped", "pread", "memory", "window", "chain")
Maker = Callable[..., Feed]


def filled(kind: str, content: bytes, *, known: bool = True) -> Feed:
    """A feed whose bytes are all here."""
    feed = Feed(kind, len(content) if known else None, len(content))
    feed.write(content)
    feed.end()
    return feed
