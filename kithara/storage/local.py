"""Files of the caller's own: which one a path or URL means, and opening it as nothing but a regular file."""

from __future__ import annotations

import os
import stat
from urllib.parse import unquote, urlsplit

from ..errors import LocalFileError, PolicyDenied


def local_path(url: str) -> str | None:
    """The path of a local file that *url* names, or None for what goes over the network.

    Raises:
        PolicyDenied: another scheme, or no URL.
    """
    try:
        scheme = urlsplit(url).scheme.lower() if "://" in url or url.lower().startswith("file:") else ""
    except ValueError as exc:
        raise PolicyDenied(f"not a URL: {exc}", url=url, operation="opening") from None
    if scheme in ("http", "https"):
        return None
    if scheme == "file":
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise PolicyDenied(f"file: URL on another host {parts.netloc!r}", url=url, operation="opening")
        return unquote(parts.path)
    if scheme:
        raise PolicyDenied(
            f"scheme {scheme!r} is not supported; use http, https, file or a path", url=url, operation="opening"
        )
    return url


def open_regular(path: str) -> int:
    """A descriptor of the regular file at *path*, for reading. Never waits, as a FIFO would make it.

    Raises:
        LocalFileError: it is not there, not readable, or not a regular file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise LocalFileError(
            f"cannot open {path}: {exc.strerror}", errno=exc.errno, url=path, operation="opening"
        ) from exc
    except ValueError as exc:  # a NUL
        raise LocalFileError(f"no path: {exc}", url=path, operation="opening") from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        kind = "a directory" if os.path.isdir(path) else "not a regular file"
        os.close(fd)
        raise LocalFileError(f"{path} is {kind}; name a file", url=path, operation="opening")
    return fd
