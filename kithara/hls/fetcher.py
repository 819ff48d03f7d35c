"""What fetching a segment takes besides the bytes: its key, its init section, and keeping what is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from .._core.resource import Resource
from ..errors import KitharaError, OfflineMiss
from ..net import HttpClient
from .catalogue import Catalogue
from .documents import Documents
from .keys import Decryptor, segment_decryptor, segment_iv
from .local import LocalTree, is_local
from .slots import InitSection, Slot
from .transfer import Transfer

COMMITTING = 2.0
"""Seconds that closing gives the disk to keep what is whole."""


class Fetcher:
    """Makes transfers. Lives on one loop.

    Args:
        headers: For the origin of the presentation's own URL.
        offline: Whether nobody may be asked.
        local: As for `Documents`.
        changed: Called when an init section has come, or cannot.
        failed: Called with an init section that cannot be had, and why; ends its store.
    """

    def __init__(
        self,
        client: HttpClient,
        documents: Documents,
        catalogue: Catalogue,
        *,
        headers: Mapping[str, str] | None,
        offline: bool,
        local: LocalTree | None,
        changed: Callable[[], None],
        failed: Callable[[InitSection, KitharaError], Awaitable[None]],
    ) -> None:
        self._client = client
        self._documents = documents
        self._catalogue = catalogue
        self._headers = headers
        self._offline = offline
        self._local = local
        self._changed = changed
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._commits: set[asyncio.Task[None]] = set()
        self._closed = False

    async def close(self) -> None:
        """Begin nothing more, and give the disk a moment to keep what is whole."""
        self._closed = True
        if self._commits:
            await asyncio.wait(self._commits, timeout=COMMITTING)

    async def transfer(self, slot: Slot) -> Transfer:
        """What brings the bytes of *slot*, once its key is here. Raises what keeps the key away, and OfflineMiss."""
        segment = slot.segment
        if self._offline and not is_local(segment.uri):
            raise OfflineMiss("offline, and the segment is not in the cache", url=segment.uri)
        decryptor = None
        trust = self._catalogue.trusts.get(slot.variant)
        if segment.key is not None:
            playlist_url = self._catalogue.timelines[slot.variant].playlist.url
            content = await self._documents.key(segment.key, playlist_url, trust=trust, refresh=slot.second)
            decryptor = segment_decryptor(content, segment)
        return Transfer(
            self._client,
            segment.uri,
            slot.store,
            byterange=segment.byterange,
            decryptor=decryptor,
            headers=self._headers,
            trust=trust,
            priority=0 if slot.taken else 1,
            local=self._local,
            commit=self._commit,
        )

    def begin_init(self, section: InitSection | None) -> None:
        """See to it that *section* is being fetched."""
        if section is not None and section.task is None and section.store.status == "active" and not self._closed:
            section.task = self._loop.create_task(self._fetch_init(section))

    async def have_init(self, section: InitSection | None) -> None:
        """Wait until *section* is here. Raises what keeps it away."""
        if section is None or section.store.status == "committed":
            return
        self.begin_init(section)
        if section.task is not None:
            await asyncio.shield(section.task)
        if section.store.status != "committed":
            section.store.wait_range(0, 1, 0)  # raises what it failed with

    async def _fetch_init(self, section: InitSection) -> None:
        try:
            if self._offline and not section.init.uri.startswith("data:") and not is_local(section.init.uri):
                raise OfflineMiss("offline, and the init section is not in the cache", url=section.init.uri)
            transfer = Transfer(
                self._client,
                section.init.uri,
                section.store,
                byterange=section.init.byterange,
                decryptor=await self._init_decryptor(section),
                headers=self._headers,
                trust=self._catalogue.trusts.get(section.variant),
                local=self._local,
                commit=self._commit,
            )
            await transfer.run()
        except KitharaError as exc:
            await self._failed(section, exc)
        except Exception as exc:
            section.store.fail(exc)  # a mistake of ours must not leave readers waiting
            raise
        finally:
            section.task = None
            self._changed()

    async def _init_decryptor(self, section: InitSection) -> Decryptor | None:
        key = section.init.key
        if key is None:
            return None
        playlist_url = self._catalogue.timelines[section.variant].playlist.url
        trust = self._catalogue.trusts.get(section.variant)
        content = await self._documents.key(key, playlist_url, trust=trust)
        return content.decryptor(segment_iv(key, 0), url=section.init.uri)

    async def _commit(self, store: Resource) -> None:
        """Commit *store* in a worker thread, to the end even if its reader has read all and left."""
        task = self._loop.create_task(asyncio.to_thread(store.commit))
        self._commits.add(task)
        task.add_done_callback(self._committed)
        await asyncio.shield(task)

    def _committed(self, task: asyncio.Task[None]) -> None:
        self._commits.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever waited; one who has left does not care
