"""Where each segment of a presentation lies on the one raw clock: by its own time stamps, else by counting."""

from __future__ import annotations

from fractions import Fraction

from ..media import id3_size
from ..source import Segment
from .fragments import FragmentedDemuxer
from .track import Demuxer, Track, alike
from .transport import CLOCK, WRAP, TransportDemuxer, unwrap
from .view import ByteView

__all__ = ["Clocks"]

AT_ZERO = Fraction(1, 500)
"""Seconds by which a clock that begins with the playlist may seem to be off: durations are written rounded."""
TIMESTAMP_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"


class Clocks:
    """The clocks of a presentation's segments, tied to each other and to the playlist. Ticks are those of *rate*.

    Attributes:
        reached: A tick that was reached, the second there by the playlist, and the variant that this is of.
    """

    def __init__(self, rate: int, seconds: float, variant: int | None) -> None:
        self.reached: tuple[int, float, int | None] = round(seconds * rate), seconds, variant
        self._rate = rate
        # Seconds on the media's clock at raw 0, by discontinuity number and variant: those of one programme should
        # have one clock (RFC 8216, 6.2.4), those of different packagers or containers do not.
        self._origins: dict[tuple[int, int | None], Fraction] = {}
        self._drift = Fraction(0)  # seconds by which the last segment's clock was ahead of the playlist's

    def place(self, inner: Demuxer, segment: Segment, view: ByteView | None, *, anew: bool = False) -> int | None:
        """The tick of the first packet of *segment*, opened as *inner* over *view*; None where only counting tells.

        *anew*: what was known of the clocks does not count.
        """
        clock = _clock(inner, view)
        if clock is None:
            return None
        if anew:
            self._origins.clear()
        start = Fraction(segment.start).limit_denominator(1 << 20)
        known = self._origins.get((segment.discontinuity, segment.variant))
        if known is None:
            others = [origin for (number, _), origin in self._origins.items() if number == segment.discontinuity]
            drift = self._drift if others else Fraction(0)
            there = start + drift
            shared = [origin for origin in others if abs(_near(clock, origin + there, inner) - origin - there) < 1]
            # The first look at this run: its clock is tied to that of another variant, else to the playlist's.
            known = shared[0] if shared else clock - there
            if abs(known) < AT_ZERO:
                known = Fraction(0)
            self._origins[segment.discontinuity, segment.variant] = known
        place = _near(clock, known + start, inner) - known
        self._drift = place - start
        return round(place * self._rate)

    def counted(self, segment: Segment, track: Track, last: Track) -> int:
        """The tick of the first packet of *segment*, of *track* behind *last*, which has no clock: by what was reached,
        and by how far the playlist goes on or back from there.
        """
        tick, seconds, _ = self.reached
        ahead = (segment.start - seconds) * self._rate
        packet = track.packet * self._rate / track.rate
        return tick + round(round(ahead / packet) * packet if packet and alike(track, last) else ahead)


def _clock(inner: Demuxer, view: ByteView | None) -> Fraction | None:
    """Seconds on the media's clock at the segment's first packet, or None where it has none."""
    if isinstance(inner, FragmentedDemuxer):
        return Fraction(inner.origin, inner.track.rate)
    if isinstance(inner, TransportDemuxer):
        return Fraction(inner.pts, CLOCK)
    stamp = None if view is None else _packed_timestamp(view)
    return None if stamp is None else Fraction(stamp, CLOCK)


def _near(clock: Fraction, expected: Fraction, inner: Demuxer) -> Fraction:
    """*clock* as the playlist tells it: 33 bits of 90 kHz start over after a day."""
    if isinstance(inner, FragmentedDemuxer):
        return clock
    return Fraction(unwrap(round(clock * CLOCK), round(expected * CLOCK)), CLOCK)


def _packed_timestamp(view: ByteView) -> int | None:
    """The 33-bit time stamp in the ID3 tag in front of packed audio (RFC 8216, 3.4), or None."""
    head = view.get(0, 10)
    size = id3_size(head)
    if not size or size > 1 << 16:
        return None
    tag = view.get(0, size)
    at = tag.find(TIMESTAMP_OWNER)
    stamp = tag[at + len(TIMESTAMP_OWNER) :][:8]
    return int.from_bytes(stamp, "big") % WRAP if at >= 0 and len(stamp) == 8 else None
