"""Where connections come from: names are looked up, and each connection is a `kithara.net.wire.Wire`."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from typing import Any, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.resolver import ThreadedResolver

from .policy import IsPrivate
from .wire import Wire

ROOM = 1 << 20
"""Bytes that are taken from a socket in one go, at most: one room of this size serves all connections of a loop."""


NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=None)
KEPT_ONLY = aiohttp.ClientTimeout(total=None, sock_connect=None)
"""Limits for `Connector.connect`, told apart by what they are: none, and no new connection."""


class ForbiddenAddress(Exception):
    """A name that leads only to private addresses, where those are off limits."""


class NoneKept(Exception):
    """There is no connection that was kept for such a request."""


class PublicResolver(AbstractResolver):
    """Resolves names to their public addresses only.

    What it returns is what is connected to, so a name server that answers differently the second time gains nothing.
    """

    def __init__(self, is_private: IsPrivate) -> None:
        self._resolver = ThreadedResolver()
        self._is_private = is_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if not self._is_private(ipaddress.ip_address(one["host"]))]
        if not allowed:
            raise ForbiddenAddress(f"{host} leads to a private address")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class Connector(aiohttp.TCPConnector):
    """A pool of `Wire` connections; how many may be open is not its business."""

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        super().__init__(limit=0, resolver=resolver or ThreadedResolver())
        # A piece is used up before the next one is read, whichever connection it comes from.
        factory = functools.partial(Wire, loop=asyncio.get_running_loop(), room=memoryview(bytearray(ROOM)))
        self._factory = cast("functools.partial[ResponseHandler]", factory)

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        if timeout is KEPT_ONLY:
            raise NoneKept
        return await super()._create_connection(req, traces, timeout)

    def kept(self, req: aiohttp.ClientRequest) -> Connection | None:
        """A connection that was kept for such a request, if there is one. Does not wait."""
        looking = self._get(req.connection_key, [])  # a coroutine that waits for nothing but traces
        try:
            looking.send(None)
        except StopIteration as done:
            kept: Connection | None = done.value
            return kept
        looking.close()
        raise RuntimeError("aiohttp waits for a connection that it has")

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Connection:
        """A connection; one that no request has used yet, where this request will not keep it.

        With `KEPT_ONLY` it does not wait: it answers with one that was kept, or raises `NoneKept`.
        """
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert isinstance(protocol, Wire)
            if req.headers.get("Connection") != "close" or protocol.uses == 0:
                return connection
            connection.close()
