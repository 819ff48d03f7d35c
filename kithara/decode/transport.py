"""MPEG transport streams: the first audio program's elementary stream, timed by its PES headers."""

from __future__ import annotations

from collections.abc import Iterator

from .._core.containers import ts_payload
from .._core.frames import ADTS_AUDIO, DOLBY_AUDIO, MPEG_AUDIO, split
from ..errors import DecodeError, UnsupportedMedia
from .dolby import dolby_track
from .elementary import ENOUGH, another_kind
from .locate import Point, locate
from .mpeg import adts_track, mpeg_track
from .track import Demuxer, Landing, Mark, Packet, Track
from .view import ByteView, Feed

__all__ = ["TransportDemuxer", "unwrap"]

PACKET = 188
LOOK = PACKET * 64
MAX_HEAD = PACKET * 20_000
CLOCK = 90_000
WRAP = 1 << 33
_KINDS = {0x03: MPEG_AUDIO, 0x04: MPEG_AUDIO, 0x0F: ADTS_AUDIO, 0x81: DOLBY_AUDIO, 0x87: DOLBY_AUDIO}
"""What the frames are by the stream type in a program map (ISO 13818-1, table 2-34; ATSC A/53-3, 6.7)."""
PRIVATE = 0x06
MAX_HOLE = 60
"""Seconds that lost packets are taken for, at most: more is a clock that was set."""
MAX_TWICE = 8
"""Frames that may be told to come twice behind a loss, at most: more is a clock that was set."""
MAX_HELD = 200
"""Frames behind a loss that wait for a time stamp."""
_DVB_KINDS = {0x6A: DOLBY_AUDIO, 0x7A: DOLBY_AUDIO}
"""What a private stream is by the tags of its descriptors (ETSI EN 300 468, 6.3)."""


def unwrap(pts: int, near: int) -> int:
    """The 33-bit *pts* as the clock value nearest to *near*."""
    return near + ((pts - near + WRAP // 2) % WRAP) - WRAP // 2


class TransportDemuxer(Demuxer):
    """AAC (ADTS), MPEG audio or AC-3 in a transport stream.

    Attributes:
        pts: The 90 kHz time stamp of the first packet.
    """

    container = "mpegts"

    def __init__(self, view: ByteView, offset: int) -> None:
        self._view = view
        self._base = offset
        self._pid, self.kind = _find_audio(view, offset)
        self._at, self._tick = offset, 0
        self.fixed: int = 0
        feed = Feed(view, offset, least=PACKET * 8)
        while True:
            found = self._first_frame(feed.data, feed.ended)
            if found is not None:
                break
            if feed.ended or len(feed.data) > MAX_HEAD:
                raise DecodeError("no audio in the transport stream", range=(offset, offset + len(feed.data)))
            feed.more(PACKET)
        head, pts = found
        self.pts: int = pts
        track = self.track_of(head)
        if track is None:
            raise DecodeError("no audio frame in the transport stream", range=(offset, None))
        self.track: Track = track

    def track_of(self, head: bytes) -> Track | None:
        """What frames are of that begin with the 8 bytes *head*."""
        if self.kind == ADTS_AUDIO:
            return adts_track(head, "mpegts")
        return dolby_track(head, "mpegts") if self.kind == DOLBY_AUDIO else mpeg_track(head, "mpegts")

    def _first_frame(self, data: bytes, ended: bool) -> tuple[bytes, int] | None:
        """The first frame's head and the time stamp of the PES it lies in; of *data* with which all has *ended*, one
        frame will do.
        """
        stream, marks, *_ = ts_payload(data, self._pid, -2)
        stamp = next((pts for _, pts, _ in marks if pts is not None), None)
        frames, _, self.fixed, _ = split(stream, 0, self.kind, 0, ended, False)
        if not frames:
            return None
        start = frames[0][0]
        return stream[start : start + 8], stamp or 0

    def packets(self) -> Iterator[Packet]:
        feed = Feed(self._view, self._at, least=0)
        run = _Run(self, self._tick)
        counter = -1
        while True:
            whole = len(feed.data) // PACKET * PACKET
            if whole:
                data = feed.data if whole == len(feed.data) else feed.data[:whole]
                if data[0] != 0x47 and (skip := _sync(feed.data)) > 0:
                    feed.drop(skip)
                    continue
                payload, marks, used, counter, sound = ts_payload(data, self._pid, counter)
                yield from run.take(payload, marks, last=not sound or feed.ended)
                if not sound:
                    run.lose()
                feed.drop(used)
                if not sound:
                    continue
            if feed.ended:
                yield from run.close()
                return
            feed.more(PACKET)

    def tick_of(self, pts: int, near: int) -> int:
        """The tick that the time stamp *pts* means, where *near* is about that."""
        clock = unwrap(pts, self.pts + near * CLOCK // self.track.rate)
        return round((clock - self.pts) * self.track.rate / CLOCK)

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        first = Point(self._base, 0)
        stop = self._view.length
        found = first
        if tick > 0 and self._view.seekable and stop:
            density = 20_000 / self.track.rate  # 160 kbit/s, until two places are known
            found = locate(first, stop, None, tick, self._probe, density=density, slack=LOOK)
        self._at, self._tick = found
        return Landing(found.tick, track=self.track)

    def _probe(self, offset: int, stop: int) -> Point | None:
        """The first PES of the audio with a time stamp, at or after *offset*."""
        at = self._base + -(-(offset - self._base) // PACKET) * PACKET
        while at < stop:
            self._view.plan(at, at + 2 * LOOK)  # should this be the place, its frames are on their way
            data = self._view.some(at, LOOK)
            _, marks, *_ = ts_payload(data, self._pid, -2)
            for _, pts, place in marks:
                if pts is not None and at + place < stop:
                    ticks = (unwrap(pts, self.pts) - self.pts) * self.track.rate
                    return Point(at + place, round(ticks / CLOCK))
            if len(data) < LOOK:
                return None
            at += len(data) // PACKET * PACKET
        return None


class _Run:
    """The frames of *demuxer*'s stream from *tick* on, counted; behind a loss, placed by a time stamp."""

    def __init__(self, demuxer: TransportDemuxer, tick: int) -> None:
        self._demuxer = demuxer
        self._frame = demuxer.track.packet
        self._fixed = demuxer.fixed
        self._tick = tick  # of the next frame
        self._rest = b""
        self._synced = False
        self._lost = False
        self._held: list[bytes] = []  # frames behind a loss, whose place is not known yet
        self._stamps: list[tuple[int, int]] = []  # (offset in the rest, PTS) that no frame was found for yet

    def take(self, payload: bytes, marks: list[tuple[int, int | None, int]], *, last: bool) -> Iterator[Packet]:
        """The packets in what goes on with *payload*, where PES begin at *marks*; *last*: nothing is to be joined."""
        base, kind = len(self._rest), self._demuxer.kind
        stream = self._rest + payload if base else payload
        frames, at, fixed, self._synced = split(stream, 0, kind, self._fixed, last, self._synced)
        strange = frames[-1][0] + frames[-1][1] if frames else 0  # from here on no such frame is
        changed = None
        if strange < at:
            changed = another_kind(stream, strange, kind, fixed, last)
            if changed is None and not last and len(stream) - strange < ENOUGH:
                at = strange  # too little to tell what it is
        view, ticks = memoryview(stream), self._frame
        if self._lost:
            self._stamps += [(base + offset, pts) for offset, pts, _ in marks if pts is not None]
            yield from self._place(view, frames, at)
        else:
            for start, size in frames:
                yield view[start : start + size], ticks
            self._tick += ticks * len(frames)
        if changed is not None and (track := self._demuxer.track_of(stream[changed[0] : changed[0] + 8])) is not None:
            yield from self._give()
            self._frame = round(track.packet * self._demuxer.track.rate / track.rate)
            self._fixed, self._synced, self._rest = changed[1], False, b""
            yield Mark(track=track, fresh=True), -1
            yield from self.take(stream[changed[0] :], [], last=last)
            return
        self._rest = b"" if last else stream[at:]

    def _place(self, view: memoryview, frames: list[tuple[int, int]], used: int) -> Iterator[Packet]:
        """*frames*, where one of them is the first of a PES whose time stamp tells its place; else they are held."""
        ticks = self._frame
        for offset, pts in self._stamps:
            number = next((index for index, (start, _) in enumerate(frames) if start >= offset), None)
            if number is None:
                break
            behind = len(self._held) + number
            begin = self._demuxer.tick_of(pts, self._tick + behind * ticks) - behind * ticks
            missing = round((begin - self._tick) / ticks)
            if 0 < missing <= MAX_HOLE * self._demuxer.track.rate // ticks:
                yield Mark(lost=missing * ticks), -1
                self._tick += missing * ticks
            twice = -missing if -MAX_TWICE <= missing < 0 else 0  # half a frame may have passed for a whole one
            self._held += [bytes(view[start : start + size]) for start, size in frames]
            self._held = self._held[twice:]
            yield from self._give()
            return
        self._held += [bytes(view[start : start + size]) for start, size in frames]
        self._stamps = [(offset - used, pts) for offset, pts in self._stamps]
        if len(self._held) > MAX_HELD:
            yield from self._give()

    def _give(self) -> Iterator[Packet]:
        self._lost = False
        self._stamps = []
        held, self._held = self._held, []
        self._tick += self._frame * len(held)
        for frame in held:
            yield frame, self._frame

    def lose(self) -> None:
        """Something is missing behind what was taken."""
        self._lost, self._synced, self._rest = True, False, b""
        self._stamps = []

    def close(self) -> Iterator[Packet]:
        """What is held at the end: a frame that none follows, too."""
        yield from self.take(b"", [], last=True)
        yield from self._give()


def _sync(data: bytes) -> int:
    """How many bytes to skip to sync bytes at the right distance."""
    for at in range(1, min(len(data), PACKET * 2)):
        if data[at] == 0x47 and (at + PACKET >= len(data) or data[at + PACKET] == 0x47):
            return at
    return min(len(data), PACKET * 2)


def _find_audio(view: ByteView, offset: int) -> tuple[int, int]:
    """PID and kind of the first audio stream that PAT and PMT list."""
    at, programs, kinds = offset, set[int](), set[int]()
    while at < offset + MAX_HEAD:
        data = view.some(at, PACKET, LOOK)
        if len(data) < PACKET:
            break
        for start in range(0, len(data) - PACKET + 1, PACKET):
            packet = data[start : start + PACKET]
            pid = (packet[1] & 0x1F) << 8 | packet[2]
            if packet[0] != 0x47 or not packet[1] & 0x40 or not (pid == 0 or pid in programs):
                continue
            body = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
            if body >= PACKET - 12:
                continue
            section = packet[body + 1 + packet[body] :]
            if len(section) < 12:
                continue
            size = min(((section[1] & 0x0F) << 8 | section[2]) + 3 - 4, len(section))
            if pid == 0 and section[0] == 0:
                for entry in range(8, size - 3, 4):
                    if section[entry] or section[entry + 1]:
                        programs.add((section[entry + 2] & 0x1F) << 8 | section[entry + 3])
            elif section[0] == 2:
                entry = 12 + ((section[10] & 0x0F) << 8 | section[11])
                while entry + 5 <= size:
                    kind = section[entry]
                    described = entry + 5 + ((section[entry + 3] & 0x0F) << 8 | section[entry + 4])
                    found = _described(section[entry + 5 : described]) if kind == PRIVATE else _KINDS.get(kind)
                    if found is not None:
                        return (section[entry + 1] & 0x1F) << 8 | section[entry + 2], found
                    kinds.add(kind)
                    entry = described
        at += len(data) // PACKET * PACKET
    if kinds:
        names = ", ".join(f"{kind:#x}" for kind in sorted(kinds))
        raise UnsupportedMedia(f"no known audio in the transport stream; stream types {names}")
    raise DecodeError("a transport stream without a program map", range=(offset, at))


def _described(descriptors: bytes) -> int | None:
    """The kind of audio that a private stream's *descriptors* tell of, or None."""
    at = 0
    while at + 2 <= len(descriptors):
        if (kind := _DVB_KINDS.get(descriptors[at])) is not None:
            return kind
        at += 2 + descriptors[at + 1]
    return None
