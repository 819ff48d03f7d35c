"""What a caller may choose about HTTP."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from ..errors import redact_url

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Limits and choices of an `HttpClient`. Times are in seconds.

    Attributes:
        connect: Until a connection stands, TLS included.
        headers: From there until the headers of the answer are whole: a deadline, not a pause between bytes.
        idle: The longest wait for the next bytes of a body.
        total: The longest a call may take in all, body included; None for no limit.
        min_rate: Bytes per second below which a body counts as stalled, measured over *idle*; None for no minimum.
        retries: How often a failure is tried again before the next byte of progress.
        redirects: How many redirects are followed.
        connections: How many ranged transfers and small bodies are under way at once; who waits is served by priority.
        proxy: URL of an HTTP proxy. The environment is never asked.
        tls: An `ssl.SSLContext`, None for the platform's certificates, False to trust anybody.
        allow_private: Whether private, loopback and link-local addresses may be fetched. None: when the caller's own
            URL is there, or a document that is there leads there. True: always. False: never.
        allow_downgrade: Whether https may lead to http.
        max_resource_bytes: The longest body that is believed; longer ones are `TooLarge`.
    """

    connect: float = 10.0
    headers: float = 10.0
    idle: float = 15.0
    total: float | None = None
    min_rate: float | None = None
    retries: int = 4
    redirects: int = 5
    connections: int = 6
    proxy: str | None = None
    tls: ssl.SSLContext | bool | None = None
    allow_private: bool | None = None
    allow_downgrade: bool = False
    max_resource_bytes: int = 64 * GIB

    def __post_init__(self) -> None:
        for name in ("connect", "headers", "idle", "total", "min_rate"):
            value = getattr(self, name)
            optional = name in ("total", "min_rate")
            if value is None and optional:
                continue
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number{' or None' if optional else ''}, not {value!r}")
        for name, least in (("retries", 0), ("redirects", 0), ("connections", 1), ("max_resource_bytes", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
        if self.tls is not None and not isinstance(self.tls, (bool, ssl.SSLContext)):
            raise ValueError("tls must be an ssl.SSLContext, True, False or None")
        if self.proxy is not None and urlsplit(self.proxy).scheme not in ("http", "https"):
            raise ValueError("proxy must be an http or https URL")

    def __repr__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        shown["proxy"] = None if self.proxy is None else redact_url(self.proxy)
        return f"HttpOptions({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
