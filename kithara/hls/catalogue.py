"""The media playlists of a presentation: loaded when needed, once however many ask, and reloaded while they grow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

from ..errors import PlaylistInvalid, Unsupported
from ..net.policy import Trust
from .documents import Documents
from .keys import require_supported
from .ladder import HlsVariant
from .model import MasterPlaylist, MediaPlaylist
from .names import variant_name
from .timeline import Timeline


class Catalogue:
    """The timelines of *variants*. Lives on one loop; `timelines` may be looked at from any thread, under *lock*.

    Attributes:
        timelines: Those that are here, by variant; never taken away, replaced when a live list has grown.
        trusts: What each playlist may lead to.

    Args:
        master: The list of *variants*; None where there is none.
    """

    def __init__(
        self,
        variants: Sequence[HlsVariant],
        documents: Documents,
        *,
        master: MasterPlaylist | None,
        trust: Trust | None,
        lock: threading.RLock,
    ) -> None:
        self.timelines: dict[int, Timeline] = {}
        self.trusts: dict[int, Trust | None] = {}
        self._variants = variants
        self._documents = documents
        self._master = master
        self._trust = trust
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, float] = {}
        self._tasks: dict[int, asyncio.Task[Timeline]] = {}

    def adopt(self, playlist: MediaPlaylist) -> None:
        """Take *playlist* for that of variant 0: the presentation has no master."""
        self._asked[0] = self._loop.time()
        self._accept(0, playlist, self._trust)

    def is_fresh(self, variant: int) -> bool:
        """Whether the timeline of *variant* is here, and young enough to choose from: complete, or asked for lately."""
        timeline = self.timelines.get(variant)
        if timeline is None or timeline.behind:
            return False
        playlist = timeline.playlist
        return playlist.ended or self._loop.time() - self._asked[variant] <= playlist.target_duration

    @property
    def loading(self) -> list[asyncio.Task[Timeline]]:
        """What is being loaded."""
        return list(self._tasks.values())

    async def load(self, variant: int) -> Timeline:
        """The timeline of *variant*, fresh. Raises what keeps it from being played."""
        if self.is_fresh(variant):
            return self.timelines[variant]
        return await self.reload(variant)

    async def reload(self, variant: int) -> Timeline:
        """The timeline of *variant* after asking for its playlist. Raises what keeps it from being played."""
        task = self._tasks.get(variant)
        if task is None:
            task = self._tasks[variant] = self._loop.create_task(self._load(variant))
            task.add_done_callback(lambda done: self._loaded(variant, done))
        return await asyncio.shield(task)

    def _loaded(self, variant: int, task: asyncio.Task[Timeline]) -> None:
        self._tasks.pop(variant, None)
        if not task.cancelled():
            task.exception()  # told to whoever waited; one who could not wait so long does not care

    async def recall(self) -> None:
        """Take from the cache the playlists that are there."""
        missing = [variant for variant in range(len(self._variants)) if variant not in self.timelines]
        await asyncio.gather(*(self._load(variant, ask=False) for variant in missing), return_exceptions=True)

    async def _load(self, variant: int, *, ask: bool = True) -> Timeline:
        self._asked[variant] = self._loop.time()
        uri = self._variants[variant].uri
        listing = await self._documents.playlist(
            uri,
            variant_name(variant),
            trust=self._trust,
            variables=None if self._master is None else self._master.variables,
            refresh=variant in self.timelines,
            ask=ask,
        )
        if isinstance(listing.playlist, MasterPlaylist):
            raise PlaylistInvalid("a master playlist inside a master playlist", url=uri)
        return self._accept(variant, listing.playlist, listing.trust)

    def _accept(self, variant: int, playlist: MediaPlaylist, trust: Trust | None) -> Timeline:
        _require_playable(playlist)
        master = self._master
        if master is not None and master.start is not None:  # counts more than a list's own (RFC 8216, 4.3.5)
            playlist = replace(playlist, start=master.start, start_precise=master.start_precise)
        with self._lock:
            held = self.timelines.get(variant)
            other = next(iter(self.timelines.values()), None)
            if held is not None:
                timeline = held.updated(playlist, self.timelines.values())
            else:
                timeline = Timeline(playlist) if other is None else other.aligned(playlist)
            self.timelines[variant] = timeline
            self.trusts[variant] = trust
        return timeline


def _require_playable(playlist: MediaPlaylist) -> None:
    if playlist.iframes_only:
        raise Unsupported("a playlist of pictures", url=playlist.url)
    for segment in playlist.segments:
        for key in (segment.key, None if segment.init is None else segment.init.key):
            if key is not None:
                require_supported(key, url=playlist.url)
    if not playlist.segments:
        raise PlaylistInvalid("a playlist without segments", url=playlist.url)
