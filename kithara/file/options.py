"""How a file is streamed: one frozen value, validated when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..events import EventBus
from ..net import HttpClient, HttpOptions

Revalidate = Literal["never", "always"] | float


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """How a file is streamed.

    Attributes:
        enable_range_seek: Whether a seek may ask the server for the bytes there. If not, a forward seek reads through.
        look_ahead: How many bytes beyond a reader are fetched at most.
        complete: Whether, when nothing wanted is missing, the rest is fetched too as long as a session is open. Without
            a cache it never is.
        sha256: The digest in hexadecimal that the whole must have. Nobody gets the last byte of another, but
            `CacheCorrupt`, and it is not kept.
        revalidate: When a cached whole is asked about at the server: never, always, or when older than so many seconds.
        bus: Where events are published; None: a bus of its own.
        event_capacity: How many events a slow listener keeps.
        http: Limits of the HTTP client, or the client itself.
        query: Names of query parameters that choose another file and so are part of its name in the cache; ``("*",)``
            for all. By default none is: a signed URL names the same file tomorrow.
    """

    enable_range_seek: bool = True
    look_ahead: int = 8 << 20
    complete: bool = True
    sha256: str | None = None
    revalidate: Revalidate = "never"
    bus: EventBus | None = None
    event_capacity: int = 64
    http: HttpOptions | HttpClient | None = None
    query: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.look_ahead < 1:
            raise ValueError(f"look_ahead={self.look_ahead}: must be positive")
        if self.event_capacity < 1:
            raise ValueError(f"event_capacity={self.event_capacity}: must be positive")
        if isinstance(self.revalidate, str):
            if self.revalidate not in ("never", "always"):
                raise ValueError(f"revalidate={self.revalidate!r}: expected 'never', 'always' or seconds")
        elif not self.revalidate >= 0:
            raise ValueError(f"revalidate={self.revalidate!r}: seconds cannot be negative")
        if isinstance(self.query, str):
            raise ValueError(f"query={self.query!r}: expected a tuple of names, ('*',) for all")
        if self.http is not None and not isinstance(self.http, (HttpOptions, HttpClient)):
            raise TypeError(f"http={self.http!r}: expected HttpOptions or an HttpClient")
        if self.sha256 is not None and (len(self.sha256) != 64 or not _is_hex(self.sha256)):
            raise ValueError("sha256 takes 64 hexadecimal digits")


FileParams = FileOptions


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in text)
