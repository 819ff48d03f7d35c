"""MPEG transport streams: the first audio program's elementary stream, timed by its PES headers."""

from __future__ import annotations

from collections.abc import Iterator

from .._core.frames import ADTS_AUDIO, DOLBY_AUDIO, MPEG_AUDIO, split, ts_payload
from ..errors import DecodeError, UnsupportedMedia
from .dolby import dolby_header
from .locate import Point, locate
from .mpeg import adts_config, mpeg_header
from .track import Demuxer, Landing, Packet, Track
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
        self._pid, self._kind = _find_audio(view, offset)
        self._at = offset
        self._frame = 1024
        self._fixed = 0
        feed = Feed(view, offset, least=PACKET * 8)
        while True:
            found = self._first_frame(feed.data)
            if found is not None:
                break
            if feed.ended or len(feed.data) > MAX_HEAD:
                raise DecodeError("no audio in the transport stream", range=(offset, offset + len(feed.data)))
            feed.more(PACKET)
        head, pts = found
        self.pts: int = pts
        if self._kind == ADTS_AUDIO:
            rate, channels, _ = adts_config(head)
            codec = "aac"
        elif self._kind == DOLBY_AUDIO:
            dolby = dolby_header(head)
            if dolby is None:
                raise DecodeError("no AC-3 frame in the transport stream", range=(offset, None))
            codec, rate, channels, self._frame, _ = dolby
        else:
            header = mpeg_header(head)
            if header is None:
                raise DecodeError("no MPEG audio frame in the transport stream", range=(offset, None))
            rate, channels, self._frame = header.rate, header.channels, header.samples
            codec = "mp3" if header.layer == 3 else "mp2"
        self.track: Track = Track(codec=codec, container="mpegts", rate=rate, channels=channels, packet=self._frame)

    def _first_frame(self, data: bytes) -> tuple[bytes, int] | None:
        """The first frame's head and the time stamp of the PES it lies in."""
        stream, marks, _ = ts_payload(data, self._pid)
        stamp = next((pts for _, pts, _ in marks if pts is not None), None)
        frames, _, self._fixed, _ = split(stream, 0, self._kind, 0, False, False)
        if not frames:
            return None
        start = frames[0][0]
        return stream[start : start + 8], stamp or 0

    def packets(self) -> Iterator[Packet]:
        feed = Feed(self._view, self._at, least=0)
        rest, frame, synced = b"", self._frame, False
        while True:
            whole = len(feed.data) // PACKET * PACKET
            if whole:
                data = feed.data if whole == len(feed.data) else feed.data[:whole]
                if data[0] != 0x47 and (skip := _sync(feed.data)) > 0:
                    feed.drop(skip)
                    continue
                payload, _, _ = ts_payload(data, self._pid)
                stream = rest + payload if rest else payload
                ended = feed.ended
                frames, at, self._fixed, synced = split(stream, 0, self._kind, self._fixed, ended, synced)
                view = memoryview(stream)
                for start, size in frames:
                    yield view[start : start + size], frame
                rest = stream[at:]
                feed.drop(whole)
            if feed.ended:
                return
            feed.more(PACKET)

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        first = Point(self._base, 0)
        stop = self._view.length
        found = first
        if tick > 0 and self._view.seekable and stop:
            density = 20_000 / self.track.rate  # 160 kbit/s, until two places are known
            found = locate(first, stop, None, tick, self._probe, density=density, slack=LOOK)
        self._at = found.offset
        return Landing(found.tick)

    def _probe(self, offset: int, stop: int) -> Point | None:
        """The first PES of the audio with a time stamp, at or after *offset*."""
        at = self._base + -(-(offset - self._base) // PACKET) * PACKET
        while at < stop:
            self._view.plan(at, at + 2 * LOOK)  # should this be the place, its frames are on their way
            data = self._view.some(at, LOOK)
            _, marks, _ = ts_payload(data, self._pid)
            for _, pts, place in marks:
                if pts is not None and at + place < stop:
                    ticks = (unwrap(pts, self.pts) - self.pts) * self.track.rate
                    return Point(at + place, round(ticks / CLOCK))
            if len(data) < LOOK:
                return None
            at += len(data) // PACKET * PACKET
        return None


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
