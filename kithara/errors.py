"""Every error Kithara raises, in one tree.

::

    KitharaError                     .url .range .operation .attempt .retryable .category
    ├── NetError (OSError)
    │   ├── ConnectFailed            no connection: refused, unreachable, DNS, TLS
    │   ├── NetTimeout (TimeoutError)  .kind = connect | headers | idle | total | rate
    │   ├── HttpStatus               .status .retry_after
    │   ├── BodyTruncated            .expected .got
    │   ├── ProtocolViolation        an answer that HTTP does not allow
    │   │   └── EmptyBody            a success without a byte
    │   ├── RangeMismatch            a 206 for another interval than the one asked
    │   ├── RepresentationChanged    ETag or length is not what it was
    │   ├── ContentEncodingRejected  a coding where identity was asked
    │   ├── RedirectRejected         too many, or to where we must not go
    │   ├── PolicyDenied             a scheme, host or address that policy forbids
    │   ├── TooLarge                 over a limit on size
    │   └── RetryExhausted           the last cause is ``__cause__``
    ├── StoreError (OSError)
    │   ├── NoSpace                  disk or quota full
    │   ├── StoreIo                  another failing file call; ``errno`` is set
    │   ├── ReadOnlyStore
    │   ├── CacheCorrupt             cached bytes are not what was written
    │   ├── InvalidKey (ValueError)  a key that can name no file
    │   └── Busy                     a limit on runs, handles or writers
    ├── StreamError
    │   ├── SeekNotSupported (io.UnsupportedOperation)
    │   ├── InvalidSeek (ValueError)
    │   ├── UnknownLength (io.UnsupportedOperation)
    │   ├── ChannelClosed            the other end of a stream is gone
    │   ├── Closed (ValueError)      you closed it
    │   ├── Cancelled                somebody cancelled it
    │   ├── Interrupted              a seek made this wait stale
    │   ├── WaitTimeout (TimeoutError)
    │   ├── WriterGone               whoever should have written is gone
    │   ├── ForkedHandle             a handle from before fork(); open anew
    │   └── WouldDeadlock            waiting here would wait for oneself
    ├── LocalFileError (OSError)
    ├── HlsError
    │   ├── PlaylistInvalid (ValueError)  .line .reason
    │   ├── PlaylistTooLarge
    │   ├── KeyInvalid
    │   ├── DecryptFailed
    │   └── Unsupported
    ├── DecodeError (ValueError)
    │   └── UnsupportedMedia
    └── OfflineMiss (FileNotFoundError)

Messages and attributes hold redacted URLs only (see `redact_url`). All pickle and copy.
"""

from __future__ import annotations

import errno as _errno
import io
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

Category = Literal["recoverable", "fatal", "cancelled"]
Span = tuple[int, int | None]


def redact_url(url: str) -> str:
    """*url* fit to be shown: user info dropped, query and fragment replaced by ``…``."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if ":" in host:
            host = f"[{host}]"
        if parts.port is not None:
            host = f"{host}:{parts.port}"
    except ValueError:
        return "<unparsable URL>"
    query = "…" if parts.query else ""
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


class KitharaError(Exception):
    """Base of every error of this package.

    Attributes:
        url: The redacted URL or path concerned, or None.
        range: The byte range ``(start, stop)`` concerned, stop None for "to the end", or None.
        operation: What was being done, in a word or two, or None.
        attempt: Which try failed, counted from 1, or None.
        retryable: Whether doing the same again may succeed.
        category: ``"recoverable"``, ``"fatal"`` or ``"cancelled"``.
    """

    retryable: bool = False
    category: Category = "fatal"

    def __init__(
        self,
        message: str = "",
        *,
        url: str | None = None,
        range: Span | None = None,
        operation: str | None = None,
        attempt: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.url: str | None = None if url is None else redact_url(url)
        self.range = range
        self.operation = operation
        self.attempt = attempt
        if retryable is not None:
            self.retryable = retryable
            if self.category != "cancelled":
                self.category = "recoverable" if retryable else "fatal"

    def __str__(self) -> str:
        parts = [str(self.args[0]) if self.args else type(self).__name__]
        if self.operation:
            parts.append(f"while {self.operation}")
        if self.range is not None:
            start, stop = self.range
            parts.append(f"bytes {start}-{'' if stop is None else stop}")
        if self.attempt is not None:
            parts.append(f"attempt {self.attempt}")
        if self.url and self.url not in parts[0]:
            parts.append(self.url)
        return "; ".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if isinstance(self, OSError):
            state["errno"] = self.errno
            state["strerror"] = self.strerror
        return _rebuild, (type(self), self.args, state)

    def renewed(self) -> Self:
        """A fresh copy whose ``__cause__`` is this one, for one more reader of the same failure."""
        again: Self = _rebuild(type(self), self.args, self.__reduce__()[1][2])
        again.__cause__ = self
        return again


def _rebuild(cls: type[Any], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    again: Any = cls.__new__(cls)  # type: ignore[call-overload]
    again.args = args
    for name, value in state.items():
        setattr(again, name, value)
    return again


class NetError(KitharaError, OSError):
    """Something between us and the server went wrong."""


class ConnectFailed(NetError):
    """No connection could be made: refused, unreachable, name not found, TLS."""

    retryable = True
    category: Category = "recoverable"


class NetTimeout(NetError, TimeoutError):
    """The server took longer than a limit; *kind* says which one."""

    retryable = True
    category: Category = "recoverable"

    def __init__(self, message: str = "", *, kind: str = "total", **context: Any) -> None:
        super().__init__(message, **context)
        self.kind = kind


class HttpStatus(NetError):
    """An answer with a status that is not a success. 408, 429 and 5xx are retryable."""

    def __init__(
        self, message: str = "", *, status: int = 0, retry_after: float | None = None, **context: Any
    ) -> None:
        context.setdefault("retryable", status in (408, 425, 429) or 500 <= status < 600)
        super().__init__(message or f"HTTP status {status}", **context)
        self.status = status
        self.retry_after = retry_after


class BodyTruncated(NetError):
    """The connection ended before the body did."""

    retryable = True
    category: Category = "recoverable"

    def __init__(
        self, message: str = "", *, expected: int | None = None, got: int | None = None, **context: Any
    ) -> None:
        super().__init__(message or f"body ended after {got} of {expected} bytes", **context)
        self.expected = expected
        self.got = got


class ProtocolViolation(NetError):
    """The server's answer breaks HTTP."""


class EmptyBody(ProtocolViolation):
    """The answer is a success, and has no byte. HTTP allows it; media it is not."""


class RangeMismatch(NetError):
    """A partial answer is for another interval than the one asked."""


class RepresentationChanged(NetError):
    """The resource is no longer the one whose first bytes are held."""


class ContentEncodingRejected(NetError):
    """The body is encoded although identity was asked."""


class RedirectRejected(NetError):
    """A redirect that must not be followed: too many, another scheme, a downgrade."""


class PolicyDenied(NetError):
    """Policy forbids this scheme, host or address."""


class TooLarge(NetError):
    """The body is larger than allowed."""


class RetryExhausted(NetError):
    """Every attempt failed; the last failure is ``__cause__``."""

    category: Category = "recoverable"


class StoreError(KitharaError, OSError):
    """The cache or its file system could not do what was asked."""

    default_errno: int | None = None

    def __init__(self, message: str = "", *, errno: int | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        code = self.default_errno if errno is None else errno
        if code is not None:
            self.errno: int | None = code


class NoSpace(StoreError):
    """The disk or the quota is full."""

    default_errno: int | None = _errno.ENOSPC


class StoreIo(StoreError):
    """A file call failed; ``errno`` says how."""


class ReadOnlyStore(StoreError):
    """The cache cannot be written."""

    default_errno: int | None = _errno.EROFS


class CacheCorrupt(StoreError):
    """Cached bytes are not those that were written."""


class InvalidKey(StoreError, ValueError):
    """A key that cannot name a file in the cache."""


class Busy(StoreError):
    """A limit is reached: runs of one resource, open handles, or another writer holds it."""

    default_errno: int | None = _errno.EBUSY
    retryable = True
    category: Category = "recoverable"


class StreamError(KitharaError):
    """A reader, a wait or a stream cannot go on."""


class SeekNotSupported(StreamError, io.UnsupportedOperation):
    """The source can only be read forwards."""


class InvalidSeek(StreamError, ValueError):
    """A position that the source does not have."""


class UnknownLength(StreamError, io.UnsupportedOperation):
    """The end is not known yet, so nothing can be counted from it."""


class ChannelClosed(StreamError):
    """The other end of the stream is gone."""


class Closed(StreamError, ValueError):
    """The object was closed."""

    category: Category = "cancelled"


class Cancelled(StreamError):
    """Somebody cancelled the transfer or the wait."""

    category: Category = "cancelled"


class Interrupted(StreamError):
    """A seek or an interrupt made this wait stale."""

    category: Category = "cancelled"


class WaitTimeout(StreamError, TimeoutError):
    """The bytes did not come in the time given. Waiting again is allowed."""

    retryable = True
    category: Category = "recoverable"


class WriterGone(StreamError):
    """Whoever should have written the missing bytes is gone."""


class ForkedHandle(StreamError):
    """A handle opened before fork() was used after it; open the resource anew in the child."""


class WouldDeadlock(StreamError):
    """Waiting in this thread would wait for the thread itself."""


class LocalFileError(KitharaError, OSError):
    """A local path cannot be opened or read."""

    def __init__(self, message: str = "", *, errno: int | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        if errno is not None:
            self.errno: int | None = errno


class HlsError(KitharaError):
    """An HLS presentation cannot be played."""


class PlaylistInvalid(HlsError, ValueError):
    """A playlist breaks RFC 8216 beyond what can be read leniently: *line* counts from 1, *reason* is what is wrong."""

    def __init__(self, message: str = "", *, line: int | None = None, **context: Any) -> None:
        super().__init__(message if line is None else f"line {line}: {message}", **context)
        self.line = line
        self.reason = message


class PlaylistTooLarge(HlsError):
    """A playlist is over the limit on bytes, segments or variants."""


class KeyInvalid(HlsError):
    """A decryption key is not 16 bytes."""


class DecryptFailed(HlsError):
    """A segment does not decrypt to media."""


class Unsupported(HlsError):
    """A feature that is not supported: SAMPLE-AES, a DRM key format."""


class DecodeError(KitharaError, ValueError):
    """The bytes are not media that can be decoded."""


class UnsupportedMedia(DecodeError):
    """Media of a kind that is not supported."""


class OfflineMiss(KitharaError, FileNotFoundError):
    """Offline, and the cache does not hold what is needed."""
