"""The segments of a session as decoders take them: those that are heard, and those of one variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..errors import Unsupported
from ..events import EventBus
from ..source import Segment
from .engine import Engine
from .ladder import HlsVariant
from .slots import Slot

if TYPE_CHECKING:
    from .session import HlsSession


class HlsSegments:
    """The segments of a session as a `kithara.source.SegmentSource`: for one decoder, in its thread. Never waits.

    A read in a segment's store that raises `Interrupted` although nobody sought means that the segment is to come from
    another variant, and `WriterGone` that another process has begun its file anew: take it with `again`, or with `next`
    of the one before, and leave out what was read already: the other one may begin earlier.

    Attributes:
        session: What it belongs to; kept open as long as this lives.
        variants: As the session's.
        events: As the session's bus.
    """

    def __init__(self, session: HlsSession, engine: Engine) -> None:
        self.session: HlsSession = session
        self.variants: tuple[HlsVariant, ...] = session.variants
        self.events: EventBus = session.bus
        self._engine = engine

    @property
    def duration(self) -> float | None:
        """Seconds in all, or None while that may grow."""
        return self.session.duration

    @property
    def start(self) -> float:
        """Second at which playing is to begin, see `HlsSession.start`."""
        return self.session.start

    def segment_at(self, seconds: float) -> Segment | None:
        """The segment that sounds at *seconds*, of a new epoch; None past the end."""
        return self._given(self._engine.at(seconds))

    def again(self, segment: Segment) -> Segment | None:
        """What is to be heard instead of *segment*, the last one given; see `kithara.source.Renewing`."""
        assert segment.variant is not None  # it came from here
        return self._given(self._engine.again(segment.variant, segment.index, segment.start))

    def next(self, segment: Segment) -> Segment | None:
        """The segment after *segment*, in the variant that is best now; None at the end."""
        assert segment.variant is not None
        return self._given(self._engine.following(segment.variant, segment.index, segment.start + segment.duration))

    def before(self, segment: Segment) -> Segment | None:
        """The segment before *segment*, the last one given, in its variant; see `kithara.source.Priming`."""
        assert segment.variant is not None
        slot = self._engine.before(segment.variant, segment.index)
        return None if slot is None else slot.as_segment(segment.epoch)

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        """Pin a variant from the next segment on, or let the network decide."""
        self._engine.set_mode(variant)

    def close(self) -> None:
        """Close the session. For who opened it for these segments alone."""
        self.session.close()

    def _given(self, slot: Slot | None) -> Segment | None:
        if slot is None:
            return None
        self.session.heard(slot.variant)
        return slot.as_segment(self._engine.epoch)


class VariantSegments:
    """The segments of one variant as a `kithara.source.SegmentSource`: for one decoder, beside whatever is heard.

    Attributes:
        session: What it belongs to; kept open as long as this lives.
        variants: Empty: there is no choice.
        events: As the session's bus.
        duration: Seconds in all.
    """

    def __init__(self, session: HlsSession, engine: Engine, variant: int) -> None:
        self.session: HlsSession = session
        self.variants: tuple[HlsVariant, ...] = ()
        self.events: EventBus = session.bus
        self._engine = engine
        self._variant = variant
        self._timeline = engine.catalogue.timelines[variant]
        self.duration: float | None = self._timeline.stop
        self._held: int | None = None
        self._epoch = 0

    def segment_at(self, seconds: float) -> Segment | None:
        """The segment that sounds at *seconds*, of a new epoch; None past the end."""
        self._epoch += 1
        return self._take(self._timeline.index_at(seconds) if seconds < self._timeline.stop else len(self._timeline))

    def next(self, segment: Segment) -> Segment | None:
        """The segment after *segment*; None at the end."""
        return self._take(segment.index + 1)

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        """Raises Unsupported: the bytes are those of one variant."""
        raise Unsupported("a reader of one variant's bytes plays no other", url=self.session.url)

    def close(self) -> None:
        """Give the last segment back."""
        held, self._held = self._held, None
        if held is not None:
            self._engine.leave(self._variant, held)

    def _take(self, index: int) -> Segment | None:
        timeline = self._timeline
        while index < len(timeline) and timeline.segment(index).gap:
            index += 1
        slot = None if index >= len(timeline) else self._engine.part(self._variant, index)
        self.close()
        if slot is None:
            return None
        self._held = index
        return slot.as_segment(self._epoch)
