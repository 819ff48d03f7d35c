"""Playlists and keys: fetched when needed, kept in the cache, asked for once however many want them."""

from __future__ import annotations

import asyncio
import inspect
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from ..assets import AssetId, AssetStore, ResourceKey
from ..assets.backend import Atomic
from ..errors import (
    HlsError,
    KeyInvalid,
    KitharaError,
    OfflineMiss,
    PlaylistInvalid,
    PlaylistTooLarge,
    StoreError,
    TooLarge,
    redact_url,
)
from ..net import HttpClient
from ..net.policy import Trust, parse
from .keys import BLOCK, MAX_KEY_BYTES, ContentKey, KeyContext, KeyProcessor, require_supported
from .local import TRUST, LocalTree, is_local, read_local
from .model import Key, MasterPlaylist, MediaPlaylist
from .names import key_name
from .playlist import MAX_BYTES, parse_playlist
from .uri import data_url_bytes

# Behind a cached playlist: whether its server was private, and where it came from in the end if not from where it was
# asked. What it may lead to must not depend on whether it came from the cache.
_ORIGIN_LINE = b"\n#KITHARA-ORIGIN:"


MOST_KEYS = 256
"""Keys that are held at once."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A playlist, and what it may lead to."""

    playlist: MasterPlaylist | MediaPlaylist
    trust: Trust


class Documents:
    """The small bodies of one presentation. Lives on one loop.

    Args:
        client: Asks the servers.
        store: The cache, or None.
        asset: The asset that everything belongs to.
        home: The presentation's own URL: its origin may see the caller's secrets, and no other.
        headers: For the origin of the presentation's own URL.
        offline: Whether nobody may be asked.
        key_processor: See `HlsOptions`.
        store_keys: Whether keys go to the cache.
        local: The folder of a presentation on this machine; None for one that came over the network.
    """

    def __init__(
        self,
        client: HttpClient,
        store: AssetStore | None,
        asset: AssetId,
        *,
        home: str,
        headers: Mapping[str, str] | None,
        offline: bool,
        key_processor: KeyProcessor | None,
        store_keys: bool,
        local: LocalTree | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._asset = asset
        self._home = TRUST.origin if local is not None else parse(home).origin
        self._local = local
        self._label = redact_url(home)
        self._headers = headers
        self._offline = offline
        self._key_processor = key_processor
        self._store_keys = store_keys
        self._keys: dict[str, asyncio.Task[ContentKey]] = {}

    async def playlist(
        self,
        url: str,
        name: str,
        *,
        trust: Trust | None = None,
        variables: Mapping[str, str] | None = None,
        refresh: bool = False,
        ask: bool = True,
    ) -> Listing:
        """The playlist at *url*, from the cache where it is called *name* unless *refresh* says to ask.

        With *ask* False only from the cache.

        Only lists that cannot grow are cached. A cached one that does not parse is asked for again, once.

        Raises:
            PlaylistInvalid, PlaylistTooLarge: it is none, or too large.
            OfflineMiss: offline, and not in the cache.
            NetError: it cannot be had.
        """
        if is_local(url):
            too_much = PlaylistTooLarge(f"a playlist of more than {MAX_BYTES} bytes", url=url)
            body = await self._read(url, MAX_BYTES, too_much)
            return Listing(parse_playlist(_unpacked(body, url), url, variables), TRUST)
        if not refresh:
            held = await self._recall(name)
            if held is not None:
                try:
                    return self._cached(held, url, variables)
                except HlsError:
                    if self._offline:
                        raise
        if self._offline or not ask:
            raise OfflineMiss("offline, and the playlist is not in the cache", url=url)
        try:
            document = await self._client.get(
                url, headers=self._headers, limit=MAX_BYTES, accept_gzip=True, trust=trust
            )
        except TooLarge as exc:
            raise PlaylistTooLarge(f"a playlist of more than {MAX_BYTES} bytes", url=url) from exc
        body = _unpacked(document.body, url)
        playlist = parse_playlist(body, document.url, variables)
        if isinstance(playlist, MasterPlaylist) or playlist.ended:
            where = "" if document.url == url else redact_url(document.url).rstrip("…?")
            origin = f"{'private' if document.trust.private else 'public'} {where}".encode()
            await self._keep(name, body + _ORIGIN_LINE + origin)
        return Listing(playlist, document.trust)

    def _cached(self, data: bytes, url: str, variables: Mapping[str, str] | None) -> Listing:
        body, mark, origin = data.rpartition(_ORIGIN_LINE)
        if not mark:
            body = data
        reach, _, where = origin.decode("utf-8", "replace").partition(" ") if mark else ("", "", "")
        where = where or url
        trust = Trust(origin=self._home, private=reach == "private", secure=parse(where).origin.scheme == "https")
        return Listing(parse_playlist(body, where, variables), trust)

    async def key(
        self, key: Key, playlist_url: str, *, trust: Trust | None = None, refresh: bool = False
    ) -> ContentKey:
        """The key that *key* names. Each is fetched and processed once, or once more where that gave none.

        Args:
            refresh: Ask again, past cache and memory: what was held does not decrypt.

        Raises:
            KeyInvalid: it is not 16 bytes, or the key processor failed.
            Unsupported: SAMPLE-AES and the like.
            OfflineMiss, NetError: it cannot be had.
        """
        uri = require_supported(key).uri
        assert uri is not None  # a supported key has one
        if refresh:
            self._keys.pop(uri, None)
        task = self._keys.get(uri)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._obtain(key, uri, playlist_url, trust, refresh))
            self._keys[uri] = task
            self._forget_keys()
        try:
            return await asyncio.shield(task)
        except KitharaError:
            if self._keys.get(uri) is task:
                del self._keys[uri]  # the next who needs it may have more luck
            raise

    def _forget_keys(self) -> None:
        """Keep those that were asked for last: a broadcast may change its key as long as it lasts."""
        while len(self._keys) > MOST_KEYS and (oldest := next(iter(self._keys.items())))[1].done():
            del self._keys[oldest[0]]

    async def close(self) -> None:
        """Forget every key, and stop asking."""
        tasks = list(self._keys.values())
        self._keys.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _obtain(self, key: Key, uri: str, playlist_url: str, trust: Trust | None, refresh: bool) -> ContentKey:
        name = key_name(uri)
        if not refresh:
            held = await self._recall(name)
            if held is not None and len(held) == BLOCK:
                return ContentKey(held, url=uri)
        try:
            content = await self._asked(key, uri, playlist_url, trust)
        except KeyInvalid:
            if refresh or uri.startswith("data:") or is_local(uri):
                raise
            content = await self._asked(key, uri, playlist_url, trust)
        if self._store_keys:
            await self._keep(name, content.reveal())
        return content

    async def _asked(self, key: Key, uri: str, playlist_url: str, trust: Trust | None) -> ContentKey:
        secret = await self._process(await self._raw_key(uri, trust), key, uri, playlist_url)
        return ContentKey(secret, url=uri)

    async def _raw_key(self, uri: str, trust: Trust | None) -> bytes:
        if uri.startswith("data:"):
            try:
                return data_url_bytes(uri)
            except ValueError as exc:
                raise KeyInvalid("a key in a data URL that cannot be read") from exc
        if is_local(uri):
            too_much = KeyInvalid(f"a key of more than {MAX_KEY_BYTES} bytes", url=uri)
            return await self._read(uri, MAX_KEY_BYTES, too_much)
        if self._offline:
            raise OfflineMiss("offline, and the key is not in the cache", url=uri)
        try:
            return (await self._client.get(uri, headers=self._headers, limit=MAX_KEY_BYTES, trust=trust)).body
        except TooLarge as exc:
            raise KeyInvalid(f"a key of more than {MAX_KEY_BYTES} bytes", url=uri) from exc

    async def _read(self, url: str, limit: int, too_much: HlsError) -> bytes:
        """The local file at *url*. Raises *too_much* where it has more than *limit* bytes."""
        body = await read_local(self._local, url, 0, limit + 1)
        if len(body) > limit:
            raise too_much
        return body

    async def _process(self, raw: bytes, key: Key, uri: str, playlist_url: str) -> bytes:
        if self._key_processor is None:
            return raw
        context = KeyContext(url=uri, playlist_url=playlist_url, iv=key.iv)
        try:
            processed = await asyncio.to_thread(self._key_processor, raw, context)
            secret = await processed if inspect.isawaitable(processed) else processed
        except Exception as exc:
            raise KeyInvalid("the key processor failed", url=uri) from exc
        if not isinstance(secret, (bytes, bytearray, memoryview)):
            raise KeyInvalid(f"the key processor gave {type(secret).__name__} instead of bytes", url=uri)
        return bytes(secret)

    async def _recall(self, name: str) -> bytes | None:
        if self._store is None:
            return None
        return await asyncio.to_thread(self._atomic(self._store, name).read)

    async def _keep(self, name: str, data: bytes) -> None:
        if self._store is None:
            return
        try:
            await asyncio.to_thread(self._atomic(self._store, name).write, data)
        except StoreError:
            return  # a full or read-only disk does not stop the music

    def _atomic(self, store: AssetStore, name: str) -> Atomic:
        return store.open_atomic(ResourceKey(self._asset, name, self._label))


def _unpacked(body: bytes, url: str) -> bytes:
    """*body*, decompressed where a server sent a gzip file without saying so."""
    if body[:2] != b"\x1f\x8b":
        return body
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, MAX_BYTES + 1)
    except zlib.error as exc:
        raise PlaylistInvalid("a compressed playlist that cannot be read", line=1, url=url) from exc
    if len(plain) > MAX_BYTES:
        raise PlaylistTooLarge(f"a playlist of more than {MAX_BYTES} bytes", url=url)
    return plain
