"""Many segments as one stream of packets: a small demuxer for each, one clock and one codec across them.

Nothing is concatenated: a segment's end is no end, a new init section no surprise. The clock is the media's own: time
stamps, counted from the first of their run; a discontinuity begins a run, anchored where the playlist says it begins.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

from .._core.reader import SyncReader
from ..errors import DecodeError, Interrupted, KitharaError, WaitTimeout, WriterGone
from ..source import Priming, Renewing, Segment, SegmentSource, WaitOutcome
from . import boxes as iso
from . import tags as tagging
from .clocks import Clocks
from .formats import open_demuxer
from .fragments import FragmentedDemuxer
from .gapless import LOSSLESS
from .mpeg import Mp3Demuxer
from .track import Demuxer, Landing, Mark, Packet, Track, alike
from .view import ByteView

__all__ = ["SegmentsDemuxer"]

AGAIN = (Interrupted, WriterGone)
"""What a store tells whose segment is to be asked for again, where nobody on our side interrupted."""
PRIMING = 1
"""Seconds of packets that prime a new decoder: what the slowest codec, Opus, needs to forget where it began."""
PATIENCE = 1.0
"""Seconds for which a segment is waited for that is not to be heard, only to prime a decoder."""
NEAR = 0.6
"""Seconds before the end that the playlist tells from which on a segment may end: it may be rounded to seconds."""
AROUND = 0.1
"""Seconds behind a join that a seek goes back for: two codecs' clocks differ by what they put before the music."""
RESERVOIR = {"mp3"}
"""Codecs whose packets hold bits of those behind them: behind another variant's packets they are noise."""


class SegmentsDemuxer(Demuxer):
    """The packets of *source*'s segments, with a `Mark` where one begins. Owned by one thread, but for `interrupt`.

    Args:
        start: Second from which on they will be wanted: nothing before it is taken, but for what primes a decoder.
    """

    container = "hls"
    eager = True  # a segment is always fetched whole

    def __init__(self, source: SegmentSource, start: float = 0.0) -> None:
        self._source = source
        self._interrupted = False
        self._view: ByteView | None = None
        self._reader: SyncReader | None = None
        self._inits: dict[int, tuple[Any, bytes, iso.Box, iso.SoundTrack]] = {}
        self.variants: Sequence[Any] = source.variants
        self._opened: tuple[Segment, Demuxer] | None = None
        self._lead: tuple[int | None, str] = None, ""  # of MP3: frames before the music, and who tells
        self._priming: list[Packet] = []
        # Of the segment that was left for another track: its start and stop by the playlist, and where it really ended.
        self._join: tuple[float, float, float] | None = None
        try:
            self.track: Track = self._begin(start)
        except BaseException:
            self._leave()
            raise
        began = 0.0 if self._opened is None else self._opened[0].start
        self._clocks = Clocks(self.track.rate, began, self.variant)
        if self._opened is not None and began > 0 and not self.aside:
            segment, inner = self._opened
            place = self._place(inner, segment)
            self.first: int = round(segment.start * self.track.rate) if place is None else place
            self.joined: bool = source.duration is None
        # Of the segment that packets are from: the tick of its first packet, how many ticks were given, what of.
        self._given: tuple[int, int, Track] = 0, 0, self.track

    def _begin(self, start: float) -> Track:
        """Open the segment for *start*, the first one where nothing else tells enough; what it holds."""
        opened = self._take_at(max(start - AROUND, 0.0))
        if start and opened is not None:
            segment, inner = opened
            if segment.start + segment.duration <= start and inner.track.codec in LOSSLESS:  # needs no priming
                opened = self._take_at(start)
            elif isinstance(inner, Mp3Demuxer) and segment.index:  # how it begins, only the first segment tells
                opened = None
        if start and opened is None:
            opened = self._take_at(0.0)
        if opened is None:
            raise DecodeError("the presentation has no segments")
        self._opened = segment, inner = opened
        self.aside = segment.start > 0 and start > 0 and self._source.duration is not None
        self.variant = segment.variant
        # How much there is in all, in bytes or packets, a segment cannot tell.
        return replace(inner.track, coded=None, bitrate=None, profile=None, told_duration=self._source.duration)

    # ── one segment ───────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, segment: Segment) -> Demuxer:
        """The demuxer of *segment*. Waits for its first bytes, and for all of its init section."""
        if segment.init is None:
            inner = open_demuxer(self._look(segment.store), segment.media)
            if isinstance(inner, Mp3Demuxer):
                self._set_lead(inner, segment)
            return inner
        init = self._init(segment.init)
        return FragmentedDemuxer(self._look(segment.store), *init[1:], 0)

    def _set_lead(self, inner: Mp3Demuxer, segment: Segment) -> None:
        """Only the first segment's Info frame tells what lies before the music: those of others, which packagers write
        into each, are about a file that began elsewhere.
        """
        track = inner.track
        if segment.index == 0:
            self._lead = track.lead, track.lead_source
        else:
            inner.track = replace(track, lead=self._lead[0], lead_source=self._lead[1])

    def _open_next(self, segment: Segment) -> tuple[Segment, Demuxer] | None:
        """What comes after *segment*, opened; past a segment that holds nothing, as packagers may write at the end."""
        while (following := self._source.next(segment)) is not None:
            try:
                self._priming = self._primer(following.before, following)
                inner = self._open(following)
                if self._is_stranger(segment, following, inner.track):
                    self._priming = self._found_primer(following)
                    inner = self._open(following)
                place, given, last = self._given
                if not alike(inner.track, last):
                    end = (place + given) / self.track.rate
                    self._join = segment.start, segment.start + segment.duration, end
                return following, inner
            except AGAIN:
                if self._interrupted:
                    raise
                # nobody sought: it was given up for another variant's, which is there when asked again
            except DecodeError:
                if not _is_empty(following):
                    raise
                segment = following
        return None

    def _is_stranger(self, segment: Segment, following: Segment, track: Track) -> bool:
        """Whether *following*, of *track*, begins a new decoder behind *segment* that neither it itself nor anything
        else primes, though it should.
        """
        last = self._given[2]
        if self._priming or following.variant == self.variant or self._goes_on(following, track):
            return False
        if track.codec == last.codec in LOSSLESS and track.rate == last.rate:
            return False
        return following.start + PRIMING > segment.start + segment.duration

    def _found_primer(self, segment: Segment) -> list[Packet]:
        """As `_primer`, of what nobody knew to be needed until *segment* was opened. Waits, but not for long."""
        source = self._source
        before = source.before(segment) if isinstance(source, Priming) else None
        try:
            return self._primer(before, segment) if before is not None and self._comes(before.store) else []
        except AGAIN:
            if self._interrupted:
                raise
            return []

    def _comes(self, store: Any) -> bool:
        """Whether all of *store* is here soon."""
        patience = time.monotonic() + PATIENCE
        while store.status == "active":
            if self._interrupted:
                raise Interrupted("something else is wanted", operation="decoding")
            if time.monotonic() > patience:
                return False
            at = store.covered_until(0)
            try:
                if store.wait_range(at, at + 1, 0.05) is WaitOutcome.EOF:
                    return True
            except WaitTimeout:
                pass  # somebody may want something else meanwhile
            except KitharaError:
                return False
        return bool(store.status == "committed")

    def _primer(self, before: Segment | None, segment: Segment) -> list[Packet]:
        """The last packets of *before*, which comes before *segment*, the next one, in its variant. Waits."""
        if before is None or before.variant == self.variant:
            return []
        try:
            inner = self._open(before)
            tick = self._place(inner, before)
            packets = list(inner.packets())
        except AGAIN:
            raise
        except KitharaError:
            return []  # it cannot be had: the join is as smooth as without
        if tick is None:
            count = sum(max(samples, 0) for _, samples in packets) * self.track.rate // inner.track.rate
            tick = self._clocks.counted(segment, inner.track, self._given[2]) - count
        need, first = PRIMING * inner.track.rate, len(packets)
        if min((samples for _, samples in packets), default=0) <= 0:
            need, first = 0, 0  # of unknown length: better all
        while first and need > 0:
            first -= 1
            need -= packets[first][1]
        tick += round(Fraction(sum(samples for _, samples in packets[:first]) * self.track.rate, inner.track.rate))
        return [(Mark(tick, inner.track, fresh=True), -1), *packets[first:]]

    def _init(self, store: Any) -> tuple[Any, bytes, iso.Box, iso.SoundTrack]:
        found = self._inits.get(id(store))
        if found is None or found[0] is not store:
            view = self._look(store)
            data, at = b"", 0
            while piece := view.some(at, 1):
                data += piece
                at += len(piece)
            moov = next((box for box in iso.boxes(data, 0, len(data)) if box.kind == b"moov"), None)
            if moov is None:
                raise DecodeError("an init section without a moov box")
            if len(self._inits) > 8:
                self._inits.clear()
            found = self._inits[id(store)] = (store, data, moov, iso.sound_track(data, moov))
        return found

    def _look(self, store: Any) -> ByteView:
        self._leave()
        self._reader = SyncReader(store)
        self._view = ByteView(self._reader)
        if self._interrupted:  # came between the last read and this one
            self._view.interrupt()
        return self._view

    def _leave(self) -> None:
        reader, self._reader, self._view = self._reader, None, None
        if reader is not None:
            reader.close()

    def _place(self, inner: Demuxer, segment: Segment) -> int | None:
        """The tick of the segment's first packet; None where only counting tells."""
        anew = self.aside and not segment.index  # from here on the media's clock tells, and not the playlist's
        place = self._clocks.place(inner, segment, self._view, anew=anew)
        if anew and place is not None:
            self.aside = False
        return place

    def _goes_on(self, segment: Segment, track: Track) -> bool:
        """Whether the decoder of what was given last can go on with *segment*, of *track*."""
        builds = track.codec in RESERVOIR and segment.variant != self._clocks.reached[2]
        return alike(track, self._given[2]) and not builds

    # ── the stream ────────────────────────────────────────────────────────────────────────────────────────────────

    def packets(self) -> Iterator[Packet]:
        opened, self._opened = self._opened, None
        again = False
        while opened is not None:
            segment, inner = opened
            try:
                primer, self._priming = self._priming, []
                for packet in primer:
                    yield packet
                    self._heard(segment)
                yield from self._inside(segment, inner, again, primed=bool(primer))
                opened = self._open_next(segment)
                again = False
            except AGAIN:
                opened = self._take(self._renewed(segment))
                again = True

    def _inside(self, segment: Segment, inner: Demuxer, again: bool, *, primed: bool) -> Iterator[Packet]:
        place, track = self._place(inner, segment), inner.track
        goes_on = self._goes_on(segment, track)
        tick = self._clocks.counted(segment, track, self._given[2]) if place is None else place
        told = place is not None or segment.variant != self._clocks.reached[2] or tick != self._clocks.reached[0]
        packets, count = inner.packets(), 0
        if again and goes_on:  # what was given of this piece of time already comes no second time
            before, given, _ = self._given  # else all of it: what was heard primes the new decoder
            packets, count = _from(packets, (given + before - tick) * track.rate // self.track.rate)
        passed = count * self.track.rate // track.rate
        fresh = not (goes_on or primed) and track.codec in RESERVOIR
        self._given = tick, passed, track
        self._clocks.reached = tick, segment.start, segment.variant
        yield Mark(tick + passed if told else None, track, again=again, fresh=fresh), -1
        self._heard(segment)
        choice, near = len(self.variants) > 1, (segment.duration - NEAR) * track.rate
        arriving = choice
        for data, samples in packets:
            # What is not here as a whole may be given up for another variant at any packet.
            arriving = arriving and segment.store.status != "committed"
            self.closing = arriving or (choice and count >= near)
            if track.container == "fmp4" and tick is not None and 0 < samples < track.packet:
                # Only the presentation's last packet is shorter than the others: padding follows its true part.
                self.end: int = tick + (count + samples) * self.track.rate // track.rate
            yield data, samples
            count += max(samples, 0)
            self._given = tick, count * self.track.rate // track.rate, track
        self._clocks.reached = tick + self._given[1], segment.start + segment.duration, segment.variant

    def _heard(self, segment: Segment) -> None:
        """Packets of *segment*'s variant come from now on: what came before the mark was given."""
        self.variant = segment.variant
        self.closing = False

    def _take(self, segment: Segment) -> tuple[Segment, Demuxer]:
        while True:
            try:
                return segment, self._open(segment)
            except AGAIN:
                segment = self._renewed(segment)

    def _renewed(self, segment: Segment) -> Segment:
        """The segment anew, after a read in it was interrupted: the source has a better variant of it.

        Raises:
            Interrupted: it was our own side that interrupted.
        """
        if self._interrupted:
            raise Interrupted("something else is wanted", operation="decoding")
        source = self._source
        renewed = source.again(segment) if isinstance(source, Renewing) else source.segment_at(segment.start)
        if renewed is None:
            raise DecodeError(f"segment {segment.index} is gone")
        return renewed

    def _take_at(self, seconds: float) -> tuple[Segment, Demuxer] | None:
        """The segment that sounds at *seconds*, or before that where it holds nothing; None past the end."""
        while (segment := self._source.segment_at(seconds)) is not None:
            try:
                return self._take(segment)
            except DecodeError:
                if not segment.index or not _is_empty(segment):
                    raise
                seconds = segment.start - 0.001
        return None

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        seconds = max(tick, 0) / self.track.rate
        self._opened, self._priming = None, []
        if self._join is not None:
            start, stop, end = self._join
            if stop <= seconds < end + AROUND:
                seconds = (start + stop) / 2  # what is heard there is made of both
        opened = self._take_at(seconds)
        if opened is None:
            return Landing(max(tick, 0))
        self._opened = segment, inner = opened
        place = self._place(inner, segment)
        sure = place is not None or segment.index == 0
        if tick <= 0 < segment.start and not self.joined:
            self.first = round(segment.start * self.track.rate) if place is None else place
        tick = round(segment.start * self.track.rate) if place is None else place
        self._clocks.reached = tick, segment.start, segment.variant
        return Landing(tick, sure, inner.track)

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        self._source.set_variant(variant)

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        return {}, ()

    # ── as a decoder's view ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def length(self) -> int | None:
        return None

    def interrupt(self) -> None:
        """As `ByteView.interrupt`. Any thread."""
        self._interrupted = True
        view = self._view
        if view is not None:
            view.interrupt()

    def resume(self) -> None:
        """As `ByteView.resume`."""
        self._interrupted = False
        view = self._view
        if view is not None:
            view.resume()

    def close(self) -> None:
        self._leave()


def _from(packets: Iterator[Packet], samples: int) -> tuple[Iterator[Packet], int]:
    """*packets* from the one that holds tick *samples* on, and how many ticks come before that. May wait."""
    passed = 0
    for data, length in packets:
        if length <= 0 or passed + length > samples:
            return itertools.chain(((data, length),), packets), passed
        passed += length
    return iter(()), passed


def _is_empty(segment: Segment) -> bool:
    """Whether *segment*, which is here as a whole, is of fragments and has none."""
    length = segment.store.length
    if segment.init is None or length is None or length > 1 << 12:
        return False
    data = bytearray(length)
    segment.store.read_at(0, data)
    return not any(box.kind in (b"moof", b"mdat") for box in iso.boxes(bytes(data), 0, length))
