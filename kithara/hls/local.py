"""Presentations in a folder of this machine: what their playlists may name there, and reading it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ..errors import LocalFileError, PolicyDenied
from ..net.policy import Origin, Trust
from ..storage.local import local_path, open_regular

PIECE = 1 << 18
"""Bytes read at once."""

TRUST = Trust(origin=Origin("file", "", 0), private=False, secure=False)
"""What a local playlist may lead to in the network: public hosts, which see none of the caller's secrets."""


def is_local(url: str) -> bool:
    """Whether the absolute *url* of a playlist's entry is that of a file."""
    return url[:5].lower() == "file:"


class LocalTree:
    """The files in the folder of a presentation's first playlist and below; no other can be read through it.

    Args:
        path: The playlist.

    Attributes:
        url: Its ``file:`` URL.
    """

    def __init__(self, path: str) -> None:
        self._root = os.path.realpath(os.path.dirname(os.path.abspath(path)))
        self.url: str = Path(os.path.abspath(path)).as_uri()

    @classmethod
    def of(cls, url: str) -> LocalTree | None:
        """The tree that the playlist *url* stands in, or None where that is not a local file.

        Raises:
            PolicyDenied: neither a path nor a URL of a scheme that is supported.
        """
        path = local_path(url)
        return None if path is None else cls(path)

    def read(self, url: str, start: int, size: int) -> bytes:
        """*size* bytes from *start* of the file at *url*, fewer only at its end. For a worker thread.

        Raises:
            PolicyDenied: it lies outside the folder, by name or by a symbolic link.
            LocalFileError: it is not there, or cannot be read.
        """
        name = local_path(url) or ""
        if "\0" in name:
            raise LocalFileError("no file has a NUL in its name", url=url, operation="reading")
        path = os.path.realpath(name)
        if os.path.commonpath((self._root, path)) != self._root:
            raise PolicyDenied(
                f"a local playlist may name files in its own folder only, which is {self._root}",
                url=url,
                operation="reading",
            )
        fd = open_regular(path)
        try:
            return os.pread(fd, size, start)
        except OSError as exc:
            raise LocalFileError(f"cannot read: {exc.strerror}", errno=exc.errno, url=url, operation="reading") from exc
        finally:
            os.close(fd)


async def read_local(tree: LocalTree | None, url: str, start: int, size: int) -> bytes:
    """`LocalTree.read` in a worker thread. Raises PolicyDenied where there is no *tree*: the playlist is not local."""
    if tree is None:
        raise PolicyDenied("only a local playlist may name local files", url=url, operation="reading")
    return await asyncio.to_thread(tree.read, url, start, size)
