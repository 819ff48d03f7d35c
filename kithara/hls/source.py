"""HLS by URL: a master or media playlist becomes an open session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Mapping
from dataclasses import replace
from types import TracebackType

from ..assets import AssetId, AssetStore, ResourceKey
from ..assets.shared import StoreChoice, named_store
from ..events import EventBus, Started
from ..net import HttpClient
from ..portal import portal
from ..source import OpenedSource
from .documents import Documents
from .engine import Engine
from .ladder import HlsVariant, ladder
from .local import LocalTree
from .model import MasterPlaylist
from .names import MASTER
from .options import HlsOptions, HlsParams
from .session import HlsSession
from .slots import Shelf
from .variant_bytes import VariantBytes

LOCAL_RATE = 1e9
"""Bits per second that reading a local presentation is taken to begin with."""


class HlsSource:
    """Opens HLS presentations."""

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        options: HlsOptions | None = None,
        store: StoreChoice = None,
        *,
        headers: Mapping[str, str] | None = None,
        offline: bool = False,
    ) -> Opening:
        """Open the master or media playlist at *url* (http, https, file: or a path): ``await`` it, or use it as an
        async context manager.

        Returns, once awaited, a `HlsSession` whose variants and duration are known.

        Args:
            store: The cache, or the directory of one that this process shares; None and False keep nothing. What a
                local playlist names is not kept.
            headers: Sent to the origin of *url*, and to no other.
            offline: Ask nobody: what is in the cache plays, the rest raises `OfflineMiss`.

        Raises:
            PlaylistInvalid, Unsupported: what is there cannot be played.
            KitharaError: a 404, policy, offline show here.
            ValueError: ``options.variant`` is no variant of it.
        """
        return Opening(os.fspath(url), options or HlsOptions(), named_store(store), headers, offline)

    open_with_cache = open


class Opening:
    """A session on its way: await it, or enter it."""

    def __init__(
        self,
        url: str,
        options: HlsOptions,
        store: AssetStore | None,
        headers: Mapping[str, str] | None,
        offline: bool,
    ) -> None:
        self._url = url
        self._options = options
        self._store = store
        self._headers = headers
        self._offline = offline
        self._session: HlsSession | None = None

    def __await__(self) -> Generator[object, None, HlsSession]:
        return portal().arun(self._open()).__await__()

    async def __aenter__(self) -> HlsSession:
        self._session = await self
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.stop()

    async def _open(self) -> HlsSession:
        options = self._options
        bus = options.bus or EventBus(options.event_capacity)
        client = options.http if isinstance(options.http, HttpClient) else HttpClient(options.http)
        local = LocalTree.of(self._url)
        url, store = (self._url, self._store) if local is None else (local.url, None)
        if local is None:
            key = ResourceKey.from_url(url, MASTER, query=options.query, credentials=_credentials(self._headers))
        else:
            key = ResourceKey(AssetId.named(local.url), MASTER, local.url)
            if options.abr.prior_rate is None:  # no link to be careful with
                options = replace(options, abr=replace(options.abr, prior_rate=LOCAL_RATE))
        lease = None if store is None else await asyncio.to_thread(store.lease, str(key.asset_id))
        engine: Engine | None = None

        async def release() -> None:
            home.forget(key_of_closer)
            if engine is not None:
                await engine.close()
            if client is not options.http:
                await client.close()
            if lease is not None:
                await asyncio.to_thread(lease.release)

        key_of_closer, home = object(), portal()
        documents = Documents(
            client,
            store,
            key.asset_id,
            home=url,
            headers=self._headers,
            offline=self._offline,
            key_processor=options.key_processor,
            store_keys=options.store_keys,
            local=local,
        )
        try:
            listing = await documents.playlist(url, MASTER)
            master = listing.playlist if isinstance(listing.playlist, MasterPlaylist) else None
            entry = None if isinstance(listing.playlist, MasterPlaylist) else listing.playlist
            variants = (
                (HlsVariant(index=0, uri=listing.playlist.url),) if master is None else ladder(master, options.language)
            )
            engine = Engine(
                variants,
                documents,
                client,
                Shelf(store, key.asset_id),
                options,
                bus.publish,
                headers=self._headers,
                offline=self._offline,
                master=master,
                trust=listing.trust,
                local=local,
            )
            await engine.start(entry)
        except BaseException:
            await release()
            raise
        home.at_close(key_of_closer, release)
        bus.publish(Started(url=key.label or "", cached=0))
        return HlsSession(engine, bus, asset_id=key.asset_id, url=self._url, release=release)


def _credentials(headers: Mapping[str, str] | None) -> str | None:
    """What of *headers* makes an answer somebody's own, as one text; None when nothing does."""
    told = {name.lower(): value for name, value in (headers or {}).items()}
    return "\n".join(f"{name}:{told[name]}" for name in ("authorization", "cookie") if name in told) or None


class Hls:
    """The factory of HLS sources: ``await StreamSource.open(kithara.Hls, url, HlsParams())``."""

    @staticmethod
    async def open(url: str, params: HlsParams | None = None) -> OpenedSource[VariantBytes]:
        """Open *url*; the source is the bytes of one variant, and keeps its session open until it is collected."""
        session = await HlsSource.open(url, params)
        return OpenedSource(session.bytes_source(), session.bus)
