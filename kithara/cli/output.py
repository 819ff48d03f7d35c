"""Files that commands write: whole or not at all, and every failure an error that names the file."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from ..errors import KitharaError, LocalFileError


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the system says while the block writes *path* into a `LocalFileError`."""
    try:
        yield
    except (KitharaError, BrokenPipeError):
        raise
    except OSError as error:
        raise LocalFileError(
            f"cannot write {path}: {error.strerror or error}", errno=error.errno, operation="writing"
        ) from error


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new empty file to write instead of *path*, which it becomes when the block ends well; else it goes."""
    temporary = path.parent / f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}"
    try:
        with translated(path):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        with translated(path):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def folder(path: Path) -> Path:
    """*path*, made if it is not there."""
    with translated(path):
        path.mkdir(parents=True, exist_ok=True)
    return path
