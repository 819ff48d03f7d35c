"""Fragmented MP4: a header, then fragments that each tell their own packets and time."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .._core.blocks import cut, run_places
from ..errors import DecodeError
from . import boxes as iso
from . import tags as tagging
from .locate import Point, locate
from .timing import Timing
from .track import Demuxer, Landing, Packet, Track, need
from .view import CHUNK, ByteView

__all__ = ["Fragment", "FragmentedDemuxer", "read_fragment"]

MAX_MOOF = 1 << 24
LOOK = 1 << 14


class Fragment(NamedTuple):
    """A moof's packets of one track: its time, their places, sizes and durations."""

    tick: int | None
    samples: list[tuple[int, int, int]]
    last: int
    """Where the bytes of all of them end."""
    length: int
    """Ticks of all of them."""


def read_fragment(data: bytes, moof: iso.Box, offset: int, sound: iso.SoundTrack) -> Fragment:
    """The packets that *moof*, inside *data* and at *offset* of the file, tells for *sound*'s track.

    Raises:
        DecodeError: a table is damaged.
    """
    try:
        return _read_fragment(data, moof, offset, sound)
    except (struct.error, IndexError) as exc:
        raise DecodeError(f"a damaged fragment: {exc}", range=(offset, offset + len(data))) from exc


def _read_fragment(data: bytes, moof: iso.Box, offset: int, sound: iso.SoundTrack) -> Fragment:
    tick: int | None = None
    samples: list[tuple[int, int, int]] = []
    last = length = 0
    for traf in iso.children(data, moof, b"traf"):
        base = place = offset
        duration = size = -1  # no header yet
        for kind, at, stop in iso.boxes(data, traf.start, traf.stop):
            if kind == b"tfhd":
                flags, number = struct.unpack_from(">II", data, at)
                if number != sound.id:
                    break
                base, duration, size = _run_defaults(data, at + 8, flags, offset, sound.defaults)
                place = base
            elif kind == b"tfdt" and tick is None:
                tick = struct.unpack_from(">Q" if data[at] else ">I", data, at + 4)[0]
            elif kind == b"trun" and duration >= 0:
                place, ticks = _read_run(data, iso.Box(kind, at, stop), base, place, duration, size, samples)
                last, length = max(last, place), length + ticks
    return Fragment(tick, samples, last, length)


def _run_defaults(data: bytes, at: int, flags: int, base: int, defaults: tuple[int, int]) -> tuple[int, int, int]:
    """What the optional fields of a track fragment's header, from *at* on, say: base, a packet's duration and size."""
    duration, size = defaults
    if flags & 0x01:
        (base,) = struct.unpack_from(">Q", data, at)
        at += 8
    at += 4 if flags & 0x02 else 0
    if flags & 0x08:
        (duration,) = struct.unpack_from(">I", data, at)
        at += 4
    if flags & 0x10:
        (size,) = struct.unpack_from(">I", data, at)
    return base, duration, size


def _read_run(
    data: bytes, trun: iso.Box, base: int, place: int, duration: int, size: int, samples: list[tuple[int, int, int]]
) -> tuple[int, int]:
    """Append a track run's packets; returns where they end, and so the next run's begin, and their ticks."""
    flags, count = struct.unpack_from(">II", data, trun.start)
    flags &= 0xFFFFFF
    at = trun.start + 8
    if flags & 0x01:
        place = base + struct.unpack_from(">i", data, at)[0]
        at += 4
    at += 4 if flags & 0x04 else 0
    fields = [flags & 0x100, flags & 0x200, flags & 0x400, flags & 0x800]
    width = 4 * sum(1 for field in fields if field)
    if width and count > (trun.stop - at) // width:
        raise DecodeError(f"a track run of {count} packets in {trun.stop - trun.start} bytes")
    if not width and count > 1 << 20:
        raise DecodeError(f"a track run of {count} packets")
    duration_at, size_at = 0 if fields[0] else -1, (4 if fields[0] else 0) if fields[1] else -1
    duration_at, size_at = 0 if fields[0] else -1, (4 if fields[0] else 0) if fields[1] else -1
    found, place, ticks = run_places(data, at, count, width, duration_at, size_at, duration, size, place)
    samples += found
    return place, ticks


def gathered(view: ByteView, places: list[tuple[int, int, int]], last: int) -> Iterator[Packet]:
    """The packets at *places* (offset, size, ticks), none behind *last*, read in runs; ends where the body does."""
    at, count = 0, len(places)
    while at < count:
        base, size, _ = places[at]
        data = view.some(base, size, min(max(size, last - base), CHUNK))
        if len(data) < size:
            return  # the file is shorter than its header says
        batch = cut(data, base, places, at)
        yield from batch
        at += len(batch)


class FragmentedDemuxer(Demuxer):
    """Packets by fragments: through the sidx where there is one, else by looking for the boxes.

    Attributes:
        origin: The tick on the track's own clock that is 0 here: the first fragment's.
    """

    container = "fmp4"

    def __init__(self, view: ByteView, data: bytes, moov: iso.Box, sound: iso.SoundTrack, first: int) -> None:
        self._view, self._data, self._moov, self._sound = view, data, moov, sound
        self._known = [Point(first, 0)]  # fragments met so far, in order
        self._sidx: list[Point] = []
        self.origin: int = 0
        self._at = Point(first, 0)
        total = self._read_sidx(first)
        found = self._fragment(first)
        if found is None:
            raise DecodeError("no fragment after the init section", range=(first, None))
        self._known = [Point(found[0], 0)]
        self.origin = found[1].tick or 0
        timing = Timing(sound, iso.itunes_gapless(data, moov), None)
        told = total or sound.duration or self._mehd()
        self.track: Track = timing.track(
            "fmp4",
            packet=max((length for _, _, length in found[1].samples), default=0),
            told_duration=told / sound.timescale if told else None,
        )
        self._total_told = told
        self._size = found[2] - found[0] + sum(size for _, size, _ in found[1].samples)
        self._density = self._size / max(found[1].length, 1)
        if timing.sbr_delay:
            self.end = timing.end
        elif len(self._sidx) > 1:
            # An index may count what is presented, so without the lead: the first fragment's own length shows it.
            missing = found[1].length - self._sidx[1].tick
            if missing in (0, timing.lead):
                self.end = total + missing

    def _mehd(self) -> int:
        mehd = iso.child(self._data, self._moov, b"mvex", b"mehd")
        mvhd = iso.child(self._data, self._moov, b"mvhd")
        if mehd is None or mvhd is None:
            return 0
        data = self._data
        length = int.from_bytes(data[mehd.start + 4 : mehd.start + (12 if data[mehd.start] else 8)], "big")
        at = mvhd.start + (20 if data[mvhd.start] else 12)
        scale = int.from_bytes(data[at : at + 4], "big")
        return length * self._sound.timescale // scale if scale else 0

    # ── boxes of the file ─────────────────────────────────────────────────────────────────────────────────────────

    def _box(self, at: int) -> tuple[bytes, int, int] | None:
        """Kind, header size and size of the box at *at*, or None at the end."""
        head = self._view.head(at, 16, LOOK)
        if len(head) < 8:
            return None
        size, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1 and len(head) >= 16:
            size, header = int.from_bytes(head[8:16], "big"), 16
        if size == 0:
            length = self._view.length
            size = length - at if length is not None else 1 << 62
        if size < header:
            raise DecodeError(f"a {kind!r} box of {size} bytes", range=(at, at + 8))
        return kind, header, size

    def _fragment(self, at: int) -> tuple[int, Fragment, int] | None:
        """The next fragment at or after *at*: where its moof is, what it says, where the box after it begins."""
        for _ in range(100_000):
            box = self._box(at)
            if box is None:
                return None
            kind, header, size = box
            if kind == b"moof":
                if size > MAX_MOOF:
                    raise DecodeError(f"a moof of {size} bytes", range=(at, at + size))
                data = need(self._view.get(at, size), size, "a moof box", at)
                return at, read_fragment(data, iso.Box(b"moof", header, size), at, self._sound), at + size
            at += size
        return None

    def _read_sidx(self, at: int) -> int:
        """Take over a segment index in front of the first fragment; returns the ticks it covers."""
        while (box := self._box(at)) is not None and box[0] in (b"sidx", b"free", b"styp", b"emsg", b"prft", b"skip"):
            kind, header, size = box
            if kind != b"sidx" or size > MAX_MOOF:
                at += size
                continue
            data = need(self._view.get(at, size), size, "the sidx box", at)
            version = data[header]
            _, scale = struct.unpack_from(">II", data, header + 4)
            form = ">QQ" if version else ">II"
            _, skip = struct.unpack_from(form, data, header + 12)
            body = header + 12 + struct.calcsize(form)
            (count,) = struct.unpack_from(">H", data, body + 2)
            offset, tick = at + size + skip, 0
            points = []
            for k in range(count):
                reference, length, _ = struct.unpack_from(">III", data, body + 4 + 12 * k)
                if reference >> 31:  # an index of indexes: found by looking instead
                    return 0
                points.append(Point(offset, tick * self._sound.timescale // (scale or 1)))
                offset += reference & 0x7FFFFFFF
                tick += length
            self._sidx = points
            return tick * self._sound.timescale // (scale or 1)
        return 0

    # ── packets ───────────────────────────────────────────────────────────────────────────────────────────────────

    def packets(self) -> Iterator[Packet]:
        view = self._view
        at, tick = self._at
        closed = False
        while True:
            found = self._fragment(at)
            if found is None:
                self._close(tick)
                return
            place, fragment, after = found
            if fragment.tick is not None:
                tick = fragment.tick - self.origin
            self._learn(place, tick)
            if (body := self._box(after)) is not None and body[0] == b"mdat":
                after += body[2]  # looked at now: a reader that only goes forward cannot come back for it
            places = fragment.samples
            last, length = fragment.last, fragment.length
            # A packet that is told to be shorter than the others is the last one: padding follows the truth.
            short = bool(places) and places[-1][2] < self.track.packet
            ends = view.length is not None and last + 8 > view.length
            if ends or not short:
                if ends:
                    self._close(tick + length)
                yield from gathered(view, places, last)
            else:
                yield from gathered(view, places[:-1], last)
                final = list(gathered(view, places[-1:], last))
                closed = self._fragment(last) is None
                if closed:
                    self._close(tick + length)
                yield from final
            if closed:
                return
            tick += length
            at = after

    def _close(self, tick: int) -> None:
        if self.end is None:
            self.end = tick

    def _learn(self, offset: int, tick: int) -> None:
        if not self._sidx:
            place = bisect.bisect_left(self._known, (offset,))
            if place == len(self._known) or self._known[place].offset != offset:
                self._known.insert(place, Point(offset, tick))

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        points = self._sidx or self._known
        index = max(bisect.bisect_right(points, tick, key=lambda point: point.tick) - 1, 0)
        self._at = low = points[index]
        following = points[index + 1] if index + 1 < len(points) else None
        if self._sidx:
            self._view.plan(low.offset, following.offset if following is not None else low.offset + self._size)
            found = self._fragment(low.offset)
            if found is not None and found[1].tick is not None:
                self._at = Point(found[0], found[1].tick - self.origin)  # the fragment's own word, to the sample
        elif tick > low.tick and self._view.seekable and self._view.length:
            self._at = self._search(low, following, tick)
        return Landing(self._at.tick)

    def _search(self, low: Point, high: Point | None, tick: int) -> Point:
        """The last fragment at or before *tick*, between the known ones *low* and *high*."""
        stop = high.offset if high is not None else self._view.length or 0
        stop_tick = high.tick if high is not None else self._total_told or None
        slack = max(LOOK, self._size * 5 // 4)
        low = locate(low, stop, stop_tick, tick, self._probe, density=self._density, slack=slack)
        while (found := self._following(low)) is not None and found.tick <= tick:
            low = found
        return low

    def _following(self, point: Point) -> Point | None:
        """The fragment after the one at *point*, if its place is told by what was read already."""
        box = self._box(point.offset)
        after = None if box is None else self._box(point.offset + box[2])
        if box is None or after is None:
            return None
        at = point.offset + box[2] + after[2]
        return None if not self._view.here(at, at + 16) else self._probe(at, at + 1)

    def _probe(self, offset: int, stop: int) -> Point | None:
        """The first moof at or after *offset*."""
        at = offset
        while at < stop:
            data = self._view.some(at, LOOK)
            mark = data.find(b"moof")
            while mark >= 4:
                size = int.from_bytes(data[mark - 4 : mark], "big")
                if 16 <= size <= MAX_MOOF and data[mark + 8 : mark + 12] == b"mfhd":
                    start = at + mark - 4
                    if start >= stop:
                        return None
                    whole = self._view.get(start, size)
                    fragment = read_fragment(whole, iso.Box(b"moof", 8, len(whole)), start, self._sound)
                    if fragment.tick is not None:
                        return Point(start, fragment.tick - self.origin)
                mark = data.find(b"moof", mark + 4)
            if len(data) < LOOK:
                return None
            at += len(data) - 16
        return None

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        return iso.itunes_tags(self._data, self._moov)
