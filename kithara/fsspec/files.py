"""Files of the file system: one for threads, one for tasks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fsspec.asyn import AbstractAsyncStreamedFile
from fsspec.spec import AbstractBufferedFile

from .._core.memory_resource import MemoryResource
from .._core.reader import SyncReader
from ..file import FileSession
from ..io import read_chunk
from .facts import as_fsspec, file_info
from .spans import ENDLESS

if TYPE_CHECKING:
    from .filesystem import KitharaFileSystem

CHUNK = 1 << 20


class KitharaFile(AbstractBufferedFile):
    """A file of a `KitharaFileSystem`: a `SyncReader` with lines, and with what fsspec's users look at.

    Attributes:
        reader: The reader. It blocks, reads ahead, and belongs to the file.
        size: Bytes in all, or None where the server does not tell.
    """

    def __init__(self, fs: KitharaFileSystem, path: str, reader: SyncReader, block_size: int | None = None) -> None:
        self.fs: KitharaFileSystem = fs
        self.path: str = path
        self.mode: str = "rb"
        self.reader: SyncReader = reader
        self.blocksize: int = block_size or fs.blocksize
        self.autocommit: bool = True
        self.cache: None = None
        self.kwargs: dict[str, Any] = {}
        self._lines = io.BufferedReader(reader)
        self.details: dict[str, Any] = file_info(path, reader.length)
        self.closed: bool = False

    @property
    def loc(self) -> int:
        """The offset of the next byte."""
        return self._lines.tell()

    def tell(self) -> int:
        return self._lines.tell()

    def seek(self, loc: int, whence: int = 0) -> int:
        return self._lines.seek(loc, whence)

    def read(self, length: int | None = -1) -> bytes:
        """*length* bytes, all of them unless the end comes first."""
        return self._lines.read(length)

    def read1(self, length: int = -1) -> bytes:
        return self._lines.read1(length)

    def readinto(self, b: Any) -> int:
        return self._lines.readinto(b)

    def readinto1(self, b: Any) -> int:
        return self._lines.readinto1(b)

    def readline(self, size: int | None = -1) -> bytes:
        return self._lines.readline(size)

    def readlines(self, hint: int = -1) -> list[bytes]:
        return self._lines.readlines(hint)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        found: bytes = super().readuntil(char, blocks or 64 << 10)
        return found

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._lines.close()


class KitharaStream(AbstractAsyncStreamedFile):
    """A file of a `KitharaFileSystem` for a task. Closing it is awaited."""

    def __init__(self, fs: KitharaFileSystem, path: str, reader: SyncReader, session: FileSession | None) -> None:
        self.fs: KitharaFileSystem = fs
        self.path: str = path
        self.mode: str = "rb"
        self.details: dict[str, Any] = file_info(path, reader.length)
        self._reader = reader
        self._session = session
        self.closed: bool = False

    def tell(self) -> int:
        return self._reader.tell()

    def seek(self, loc: int, whence: int = 0) -> int:
        return self._reader.seek(loc, whence)

    async def read(self, length: int | None = -1) -> bytes:
        """*length* bytes, all of them unless the end comes first; everything if negative."""
        left = ENDLESS if length is None or length < 0 else length
        pieces = []
        with as_fsspec(self.path):
            while left > 0 and (piece := await read_chunk(self._reader, min(left, CHUNK))):
                pieces.append(piece)
                left -= len(piece)
        return b"".join(pieces)

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._reader.close()
            if self._session is not None:
                await self._session.stop()

    def __del__(self) -> None:
        if not self.closed:
            self._reader.close()  # the session ends with its last reference


def nothing() -> SyncReader:
    """A reader of an empty file."""
    store = MemoryResource(0)
    store.commit()
    return SyncReader(store)
