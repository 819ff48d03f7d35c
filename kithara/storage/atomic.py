"""A small file that is read and written as a whole."""

from __future__ import annotations

import os

from .files import Directory, store_error


class AtomicResource:
    """A small object at *path*: playlists, keys, metadata. Whoever reads sees one whole version or none.

    Writing waits for the disk (a few milliseconds): do it in a worker thread. Thread-safe; of two writers the
    later rename wins.

    Args:
        path: Where the file is; its directory is made with mode 0700 when first written.
        durable: Whether a version that `write` returned for survives a power cut.
        within: The directory that *path* is relative to. What lies between is then checked for planted links;
            otherwise the caller vouches for the parents.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, durable: bool = True, within: Directory | None = None
    ) -> None:
        self.path: str = os.fspath(path)
        self.durable = durable
        self._within = within

    def __repr__(self) -> str:
        return f"AtomicResource({self.path!r})"

    def _directory(self, *, create: bool) -> Directory:
        parent = os.path.dirname(self.path)
        if self._within is not None:
            return self._within.down(parent.split("/") if parent else (), create=create)
        return Directory.open(parent or ".", create=create)

    def read(self) -> bytes | None:
        """All of it, or None when it was never written.

        Raises:
            StoreError: It is there and cannot be read, or is no regular file.
        """
        try:
            with self._directory(create=False) as directory:
                return directory.read(os.path.basename(self.path))
        except FileNotFoundError:
            return None

    def write(self, data: bytes) -> None:
        """Replace what is there by *data*.

        Raises:
            StoreError: It could not be written; what was there before is still there.
        """
        try:
            with self._directory(create=True) as directory:
                directory.replace(os.path.basename(self.path), bytes(data), durable=self.durable)
        except FileNotFoundError as exc:
            raise store_error(exc, "writing a file", self.path) from exc

    def remove(self) -> None:
        """Remove it; nothing if it is not there."""
        try:
            with self._directory(create=False) as directory:
                directory.unlink(os.path.basename(self.path))
        except FileNotFoundError:
            return
