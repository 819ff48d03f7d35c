"""What fsspec calls things: bare URLs, what is known of a file or a folder, and Python's errors for "not there"."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import Any

from ..errors import HttpStatus, redact_url


def bare_url(path: str | os.PathLike[str]) -> str:
    """The URL that *path* is, bare."""
    return os.fspath(path).removeprefix("kithara::").removeprefix("kithara://")


@contextlib.contextmanager
def as_fsspec(url: str) -> Iterator[None]:
    """Say "not there" and "not allowed" as everybody who works with files expects it."""
    try:
        yield
    except HttpStatus as exc:
        shown = redact_url(url)
        if exc.status in (404, 410):
            raise FileNotFoundError(errno.ENOENT, str(exc), shown) from exc
        if exc.status in (401, 403):
            raise PermissionError(errno.EACCES, str(exc), shown) from exc
        raise


def check_mode(mode: str, path: str) -> None:
    """Raise unless *mode* reads bytes."""
    if mode not in ("rb", "r"):
        raise io.UnsupportedOperation(f"mode {mode!r} on {redact_url(path)}: Kithara reads, it does not write")


def file_info(name: str, size: int | None) -> dict[str, Any]:
    """What fsspec wants to know of a file."""
    return {"name": name, "size": size, "type": "file"}


def folder_info(name: str) -> dict[str, Any]:
    """What fsspec wants to know of a folder."""
    return {"name": name, "size": 0, "type": "directory"}
