"""Fetching with the HTTP client in tests: all that came, and how it ended."""

from __future__ import annotations

from typing import Any

from kithara.errors import KitharaError
from kithara.net import HttpClient, HttpOptions

QUICK = HttpOptions(connect=2.0, headers=0.3, idle=0.3, retries=2)
"""Limits so small that no test waits for long."""


async def fetch(client: HttpClient, url: str, start: int = 0, stop: int | None = None, **options: Any) -> bytes:
    """The bytes of one stream, to its end. Raises what it raises."""
    async with client.stream(url, start, stop, **options) as body:
        return b"".join([chunk async for chunk in body])


async def fetch_until_error(
    client: HttpClient, url: str, start: int = 0, stop: int | None = None, **options: Any
) -> tuple[bytes, KitharaError]:
    """The bytes that came before the stream failed, and the error. Fails when it does not."""
    data = bytearray()
    try:
        async with client.stream(url, start, stop, **options) as body:
            async for chunk in body:
                data += chunk
    except KitharaError as error:
        return bytes(data), error
    raise AssertionError(f"no error after {len(data)} bytes")
