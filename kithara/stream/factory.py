"""One way to open any kind of source: a factory, a URL and parameters give a source and its events."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..events import EventBus, Subscription
from ..source import OpenedSource, Source, SourceFactory

P = TypeVar("P")
S = TypeVar("S", bound=Source)


class StreamSource(Generic[S]):
    """An opened source and its events, whoever made it.

    Attributes:
        source: The source, for `kithara.SyncReader`, `kithara.Decoder` or a `ByteStream`.
        bus: Where the source publishes its events.
    """

    def __init__(self, opened: OpenedSource[S]) -> None:
        self.source = opened.source
        self.bus: EventBus = opened.events

    @staticmethod
    async def open(factory: SourceFactory[P, object], url: str, params: P) -> StreamSource[Source]:
        """Open *url* with *factory*: `kithara.File`, `kithara.Hls` or your own.

        Raises:
            Exception: what the factory raises.
        """
        return StreamSource(await factory.open(url, params))

    def events(self) -> Subscription:
        """The events from now on: ``async for event in source.events()``, or a plain ``for`` in a thread."""
        return self.bus.subscribe()

    def into_inner(self) -> S:
        """The very source, as `source`."""
        return self.source
