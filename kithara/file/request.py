"""What somebody asks to open, and the place in the cache that this is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..assets import AssetStore, ResourceKey
from ..net import HttpClient
from .options import FileOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to open: everything that decides whether two sessions can share one download."""

    url: str
    options: FileOptions
    store: AssetStore | None
    headers: Mapping[str, str] | None = None
    offline: bool = False
    wait: bool = True
    """Whether opening waits for the first answer."""

    def __post_init__(self) -> None:
        if not isinstance(self.options, FileOptions):
            raise TypeError(f"options={self.options!r}: expected FileOptions")
        if self.headers is not None and not isinstance(self.headers, Mapping):
            raise TypeError(f"headers are a {type(self.headers).__name__}: expected a mapping of names to values")

    @property
    def key(self) -> ResourceKey:
        """The place in the cache. What is fetched with headers of the caller's is for those who send the same."""
        http = self.options.http
        headers = dict(http.headers) if isinstance(http, HttpClient) else {}
        headers.update(self.headers or {})
        told = sorted(f"{name.lower()}:{value}" for name, value in headers.items() if name.lower() not in IMPERSONAL)
        if told:  # user info alone is seen to by the key
            told.append(urlsplit(self.url).netloc.rpartition("@")[0])
        return ResourceKey.from_url(self.url, query=self.options.query, credentials="\n".join(told) or None)


IMPERSONAL = frozenset({"accept", "accept-language", "user-agent", "referer"})
"""Headers that prove nothing, so that whoever sends another value still gets what is cached."""
