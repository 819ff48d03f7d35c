"""The bytes of one variant: init sections and segments one behind the other, as one store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._core.chain import Chain
from .._core.parts import Part
from .._core.store import Store
from ..io import wait_range
from ..media import MediaInfo
from ..source import WaitOutcome
from .engine import Engine
from .listening import VariantSegments
from .timeline import Timeline

if TYPE_CHECKING:
    from .session import HlsSession


class VariantBytes:
    """The bytes of one variant as a `kithara.source.Source`.

    Attributes:
        store: Init sections and segments, one behind the other.
        media: Codec and container, by codecs and suffix.
        supports_seek: True.
    """

    supports_seek = True

    def __init__(self, session: HlsSession, engine: Engine, variant: int) -> None:
        self.session: HlsSession = session
        timeline = engine.catalogue.timelines[variant]
        self.store: Store = _VariantChain(session, engine, variant, _parts(engine, timeline, variant))
        self.store.label = engine.variants[variant].uri
        first = timeline.segment(0)
        media = engine.variants[variant].media(first.uri)
        if media is not None and media.container == "mp4" and first.init is not None:
            media = MediaInfo(container="fmp4").over(media)
        self.media: MediaInfo | None = media

    @property
    def length(self) -> int | None:
        """Bytes in all, or None until every part's length is known."""
        return self.store.length

    async def wait_range(self, start: int, stop: int) -> WaitOutcome:
        """Wait until ``[start, stop)`` is here or cannot come; see `kithara.source.Source`."""
        return await wait_range(self.store, start, stop)

    async def read_at(self, offset: int, size: int) -> bytes:
        """1 to *size* bytes from *offset* that are here."""
        buffer = bytearray(size)
        return bytes(buffer[: self.store.read_at(offset, buffer)])


class _VariantChain(Chain):
    """The chain of a variant's parts, which knows where its segments are (see `kithara.source.Segmented`)."""

    def __init__(self, session: HlsSession, engine: Engine, variant: int, parts: list[Part]) -> None:
        super().__init__(parts)
        self._place = session, engine, variant

    def segments(self) -> VariantSegments:
        """The segments themselves, for one decoder."""
        return VariantSegments(*self._place)


def _parts(engine: Engine, timeline: Timeline, variant: int) -> list[Part]:
    parts = []
    init = None
    for index, segment in enumerate(timeline.playlist.segments):
        if segment.gap:
            continue
        if segment.init is not None and segment.init != init:
            parts.append(Part(_init_promise(engine, variant, index), _length(segment.init.byterange, segment.init.key)))
        init = segment.init
        parts.append(
            Part(
                _promise(engine, variant, index),
                _length(segment.byterange, segment.key),
                close=_leaving(engine, variant, index),
            )
        )
    return parts


def _length(byterange: tuple[int, int] | None, key: object) -> int | None:
    return None if byterange is None or key is not None else byterange[1] - byterange[0]


def _promise(engine: Engine, variant: int, index: int) -> Callable[[], Store]:
    return lambda: engine.part(variant, index).store


def _leaving(engine: Engine, variant: int, index: int) -> Callable[[object], None]:
    return lambda store: engine.leave(variant, index)


def _init_promise(engine: Engine, variant: int, index: int) -> Callable[[], Store]:
    def promise() -> Store:
        section = engine.init_of(variant, index)
        assert section is not None  # the playlist said so
        return section.store

    return promise
