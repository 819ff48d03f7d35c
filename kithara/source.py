"""What a source of bytes is: the Protocols that user code may implement."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from .events import EventBus
    from .media import MediaInfo


class WaitOutcome(enum.Enum):
    """How a wait for a range ended."""

    READY = "ready"
    """The bytes are here."""
    EOF = "eof"
    """The range starts at or past the true end."""
    INTERRUPTED = "interrupted"
    """A seek or an interrupt made the wait stale."""


@runtime_checkable
class Source(Protocol):
    """Bytes at absolute offsets that arrive over time.

    Attributes:
        length: Bytes in all, or None while unknown.
        media: What is known of codec and container, or None.
        supports_seek: False for a source that can only be read forwards; True where absent.
    """

    length: int | None
    media: MediaInfo | None

    async def wait_range(self, start: int, stop: int) -> WaitOutcome:
        """Wait until ``[start, stop)`` is here, the end is known to lie before it, or the wait is stale."""
        ...

    async def read_at(self, offset: int, size: int) -> bytes:
        """1 to *size* bytes from *offset*, after `wait_range` answered READY."""
        ...


P_contra = TypeVar("P_contra", contravariant=True)
S_co = TypeVar("S_co", covariant=True)


@dataclass(frozen=True, slots=True)
class OpenedSource(Generic[S_co]):
    """What a `SourceFactory` gives: the source and the bus its events appear on."""

    source: S_co
    events: EventBus


class SourceFactory(Protocol[P_contra]):
    """Opens a source by URL. `kithara.File` and `kithara.Hls` are such factories."""

    async def open(self, url: str, params: P_contra) -> OpenedSource[Source]: ...
