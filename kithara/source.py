"""What a source of bytes is: the Protocols that user code may implement."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

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
E_co = TypeVar("E_co", covariant=True)


@dataclass(frozen=True, slots=True)
class OpenedSource(Generic[S_co]):
    """What a `SourceFactory` gives: the source and the bus its events appear on."""

    source: S_co
    events: EventBus


class SourceFactory(Protocol[P_contra, E_co]):
    """Opens a source by URL. `kithara.File` and `kithara.Hls` are such factories.

    Its parameters: what `open` takes besides the URL, and what the events on the bus are.
    """

    async def open(self, url: str, params: P_contra) -> OpenedSource[Source]:
        """The source behind *url*, and the bus of its events. Raises what keeps it from opening."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of one presentation that can be demultiplexed by itself: what a decoder eats.

    Attributes:
        index: Its place in the list, counted from 0; the same moment has the same index in every variant.
        start: Seconds from the presentation's start to its own, by the playlist.
        duration: Seconds, by the playlist.
        store: Its decrypted bytes, at offset 0 on; a `kithara._core.store.Store`, perhaps still empty.
        init: The store of its init section, or None where it needs none.
        media: What it is, as far as known.
        variant: Index of the variant it belongs to, or None where there is but one.
        discontinuity: Counts the discontinuities before it: at a new number the media's own clock starts anew.
        epoch: Of the seek it was taken after; an older one's bytes may stop coming at any time.
        before: The segment before it in the same variant, where the variant changes and the join is to be exact: a new
            decoder is primed with its last packets, and plays on as if it had always played this variant.
    """

    index: int
    start: float
    duration: float
    store: Any
    init: Any = None
    media: MediaInfo | None = None
    variant: int | None = None
    discontinuity: int = 0
    epoch: int = 0
    before: Segment | None = None


@runtime_checkable
class Segmented(Protocol):
    """A store whose bytes are segments one behind the other, so that a decoder may go by these."""

    def segments(self) -> SegmentSource:
        """The segments themselves, for one decoder, which closes them: ``close()`` gives the last one back."""
        ...


@runtime_checkable
class SegmentSource(Protocol):
    """Segments for a decoder's thread. No call waits: a segment may be pending, all waiting happens in its store.

    A segment is leased until the next one is taken. `interrupt` may be called from any thread.

    Attributes:
        duration: Seconds in all, or None while unknown (a live presentation).
        variants: What can be chosen, best described by the presentation's own objects; empty where there is no choice.
        events: The bus of what happens.
    """

    duration: float | None
    variants: Sequence[Any]
    events: EventBus

    def segment_at(self, seconds: float) -> Segment | None:
        """The segment that plays at *seconds*, of a new epoch; None past the end."""
        ...

    def next(self, segment: Segment) -> Segment | None:
        """The segment after *segment*, in the variant that is best now; None at the end."""
        ...

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        """Pin a variant from the next segment on, or let the bandwidth decide."""
        ...


@runtime_checkable
class Advising(Protocol):
    """A `SegmentSource` that says where playing is to begin.

    Attributes:
        start: That second; who plays begins there, unless told otherwise.
    """

    start: float


@runtime_checkable
class Renewing(Protocol):
    """A `SegmentSource` that lets other segments stand in for those it gave."""

    def again(self, segment: Segment) -> Segment | None:
        """What is to be heard instead of *segment*, the last one given, of which a read raised `Interrupted` although
        nobody sought, or `WriterGone`. It may begin earlier or later; None past the end. Never waits.

        Of a source without this, `segment_at` the start of *segment* is asked.
        """
        ...


@runtime_checkable
class Priming(Protocol):
    """A `SegmentSource` that can also say what comes before a segment where the variant changes."""

    def before(self, segment: Segment) -> Segment | None:
        """The segment before *segment*, which was given last, in its own variant; None where there is none to be had.

        Asked for where *segment* turns out to need a new decoder although nothing in the playlist told so. Never waits.
        """
        ...
