"""Matroska and WebM: blocks in clusters, timed to a millisecond; the codec's grid makes that exact."""

from __future__ import annotations

from collections.abc import Iterator

from .._core.blocks import cluster_packets, opus_samples
from .._core.flac import flac_frames
from ..errors import DecodeError, UnsupportedMedia
from . import tags as tagging
from .ebml import UNKNOWN, element_at, inside, real, unlaced, unsigned
from .flac import StreamInfo
from .locate import Point, locate
from .track import Demuxer, Landing, Mark, Packet, Track
from .view import ByteView, Feed

__all__ = ["MatroskaDemuxer"]

EBML, SEGMENT, SEEK_HEAD, INFO, TRACKS, CUES, CLUSTER, TAGS = (
    0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1F43B675, 0x1254C367,
)  # fmt: skip
TIMESTAMP = 0xE7
CLUSTER_MARK = CLUSTER.to_bytes(4, "big")
MAX_ELEMENT = 1 << 26
LOOK = 1 << 14

_CODECS = {
    "A_AAC": "aac", "A_OPUS": "opus", "A_VORBIS": "vorbis", "A_FLAC": "flac", "A_ALAC": "alac", "A_MPEG/L3": "mp3",
    "A_MPEG/L2": "mp2", "A_AC3": "ac3", "A_EAC3": "eac3",
}  # fmt: skip
_PCM = {
    ("A_PCM/INT/LIT", 8): "pcm_u8", ("A_PCM/INT/LIT", 16): "pcm_s16le", ("A_PCM/INT/LIT", 24): "pcm_s24le",
    ("A_PCM/INT/LIT", 32): "pcm_s32le", ("A_PCM/INT/BIG", 16): "pcm_s16be", ("A_PCM/INT/BIG", 24): "pcm_s24be",
    ("A_PCM/INT/BIG", 32): "pcm_s32be", ("A_PCM/FLOAT/IEEE", 32): "pcm_f32le", ("A_PCM/FLOAT/IEEE", 64): "pcm_f64le",
}  # fmt: skip
_PACKETS = {"aac": 1024, "mp3": 1152, "mp2": 1152, "ac3": 1536, "alac": 4096}


class MatroskaDemuxer(Demuxer):
    """The first audio track whose codec is known."""

    container = "matroska"

    def __init__(self, view: ByteView, offset: int) -> None:
        self._view = view
        self._scale, self._duration, self._title = 1_000_000, 0.0, ""
        self._places: dict[int, int] = {}
        self._cues: list[Point] | None = None
        self._number = 0
        self._info: StreamInfo | None = None
        self._origin = 0
        self._read_header(offset)
        self._origin = self._first_stamp()
        self._at = self._cluster

    # ── header ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_header(self, offset: int) -> None:
        view, at = self._view, offset
        track: Track | None = None
        self._segment = 0
        for _ in range(10_000):
            head = view.some(at, 12, 4096)
            element = element_at(head, 0)
            if element is None:
                break
            size = element.stop - element.start if element.stop != UNKNOWN else UNKNOWN
            body = at + element.start
            if element.id == SEGMENT:
                self._segment, at = body, body
                continue
            if element.id == CLUSTER:
                if track is None:
                    break
                self.track: Track = track
                self._cluster = at
                return
            if size == UNKNOWN or (size > MAX_ELEMENT and element.id in (INFO, TRACKS, SEEK_HEAD)):
                raise DecodeError(f"an EBML element {element.id:#x} of {size} bytes", range=(at, body))
            if element.id in (INFO, TRACKS, SEEK_HEAD):
                data = view.get(body, size)
                if len(data) < size:
                    break
                if element.id == INFO:
                    self._read_info(data)
                elif element.id == SEEK_HEAD:
                    self._read_seek_head(data)
                else:
                    track = self._read_tracks(data)
            self._places.setdefault(element.id, at)
            at = body + size
        raise DecodeError("no audio track before the end of the Matroska header", range=(offset, at))

    def _read_info(self, data: bytes) -> None:
        for element in inside(data, 0, len(data)):
            if element.id == 0x2AD7B1:
                self._scale = unsigned(data, element) or 1_000_000
            elif element.id == 0x4489:
                self._duration = real(data, element)
            elif element.id == 0x7BA9:
                self._title = data[element.start : element.stop].decode("utf-8", "replace")

    def _read_seek_head(self, data: bytes) -> None:
        for seek in inside(data, 0, len(data)):
            found = {element.id: unsigned(data, element) for element in inside(data, seek.start, seek.stop)}
            if 0x53AB in found and 0x53AC in found:
                self._places[found[0x53AB]] = self._segment + found[0x53AC]

    def _read_tracks(self, data: bytes) -> Track:
        names = []
        for entry in inside(data, 0, len(data)):
            number = kind = delay = 0
            name, private, rate, channels, depth = "", b"", 8000.0, 1, 16
            for element in inside(data, entry.start, entry.stop):
                if element.id == 0xD7:
                    number = unsigned(data, element)
                elif element.id == 0x83:
                    kind = unsigned(data, element)
                elif element.id == 0x86:
                    name = data[element.start : element.stop].rstrip(b"\0").decode("latin-1")
                elif element.id == 0x63A2:
                    private = data[element.start : element.stop]
                elif element.id == 0x56AA:
                    delay = unsigned(data, element)
                elif element.id == 0xE1:
                    for audio in inside(data, element.start, element.stop):
                        if audio.id == 0xB5:
                            rate = real(data, audio)
                        elif audio.id == 0x9F:
                            channels = unsigned(data, audio)
                        elif audio.id == 0x6264:
                            depth = unsigned(data, audio)
            codec = _CODECS.get(name) or _PCM.get((name, depth), "")
            if kind == 2 and codec:
                self._number = number
                return self._track(codec, private, round(rate), channels, delay)
            names.append(name)
        raise UnsupportedMedia(f"no known audio codec among {', '.join(names) or 'no tracks'}")

    def _track(self, codec: str, private: bytes, rate: int, channels: int, delay: int) -> Track:
        lead, source, packet = None, "", _PACKETS.get(codec, 0)
        if not 1 <= rate <= 1_000_000:
            raise DecodeError(f"a Matroska track of {rate} Hz")
        if codec == "opus":
            rate = 48000
            lead, source = int.from_bytes(private[10:12], "little"), "opus-head"
        elif codec == "flac":
            self._info = StreamInfo(private[8:42])
            private, lead, source, packet = self._info.data, 0, "flac", self._info.fixed_block
            self.end = self._info.samples or None
        elif codec in ("vorbis", "alac") or codec.startswith("pcm"):
            lead, source = 0, codec
            if codec == "alac":
                private = (len(private) + 12).to_bytes(4, "big") + b"alac\0\0\0\0" + private
        elif delay:
            lead, source = round(delay * rate / 1e9), "codec-delay"
        if codec == "mp3" and rate < 32000:
            packet = 576
        return Track(
            codec=codec,
            container="matroska",
            config=private,
            rate=rate,
            channels=channels if codec != "aac" else 0,
            lead=lead,
            lead_source=source,
            packet=packet,
            told_duration=self._duration * self._scale / 1e9 if self._duration > 0 else None,
        )

    # ── packets ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _runs(self, at: int) -> Iterator[tuple[list[tuple[bytes, int]], int, memoryview | None, int]]:
        """Packets of our track from *at* on, in runs; each ends with a block that needs a look, or with None.

        A block comes as its time stamp (in the segment's unit), its body and its discarded nanoseconds.
        """
        number, nominal, opus = self._number, self.track.packet, self.track.codec == "opus"
        feed = Feed(self._view, at, least=12)
        at, cluster, fresh = 0, 0, True
        while True:
            data = feed.data
            packets, at, cluster, fresh, missing, block = cluster_packets(
                data, at, number, cluster, fresh, nominal, opus
            )
            if block is not None:
                stamp, start, stop, discard = block
                yield packets, stamp, memoryview(data)[start:stop], discard
                continue
            if packets:
                yield packets, 0, None, 0
            if missing < 0:
                if not _find_cluster(feed, at + 1):
                    return
                at = 0
                continue
            if missing and feed.ended:
                return
            feed.drop(at)
            at = 0
            feed.more(max(missing, 1))
            if not feed.data:
                return

    def packets(self) -> Iterator[Packet]:
        opus, nominal, track = self.track.codec == "opus", self.track.packet, self.track
        for batch, stamp, body, discard in self._runs(self._at):
            yield from batch
            if body is None:
                continue
            packets = unlaced(body)
            tick = self._tick(stamp)
            if discard > 0 and opus and self.end is None:
                whole = sum(opus_samples(packet) for packet in packets)
                start = round(tick / 120) * 120  # Opus' shortest frame is 2.5 ms
                self.end = max(start + whole - round(discard * 48000 / 1e9), 0)
            yield Mark(tick, track), -1
            for packet in packets:
                yield packet, opus_samples(packet) if opus else nominal

    def _first_block(self, at: int) -> tuple[int, memoryview] | None:
        """Time stamp and body of our track's first block of a cluster from *at* on."""
        return next(((stamp, body) for _, stamp, body, _ in self._runs(at) if body is not None), None)

    def _tick(self, stamp: int) -> int:
        return round((stamp - self._origin) * self._scale * self.track.rate / 1_000_000_000)

    def _first_stamp(self) -> int:
        found = self._first_block(self._cluster)
        return found[0] if found is not None else 0

    # ── seeking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        self._at = self._cluster
        codec = self.track.codec
        # A millisecond cannot place packets of varying length: those are counted from the start.
        countable = bool(self.track.packet) or codec == "opus"
        if tick <= 0 or not self._view.seekable or (exact and not countable):
            return Landing(0)
        points = self._cue_points()
        low = Point(self._cluster, 0)
        for point in points:
            if point.tick > tick:
                break
            low = point
        if not points and self._view.length:
            told = self.track.told_duration
            total = round(told * self.track.rate) if told else None
            density = 20_000 / self.track.rate
            low = locate(low, self._view.length, total, tick, self._probe, density=density, slack=1 << 17)
        self._at = low.offset
        return self._label(low.tick, exact=exact and countable)

    def _label(self, tick: int, *, exact: bool) -> Landing:
        """The exact tick of the first block behind the landing place."""
        found = self._first_block(self._at)
        if found is None:
            self._at = self._cluster
            return Landing(0)
        stamp, body = found
        tick = self._tick(stamp)
        packet = self.track.packet
        if self._info is not None and (packets := unlaced(body)):
            frames, _ = flac_frames(packets[0], 0, self._info.fixed_block, 0, 0, True)
            return Landing(frames[0][2], True) if frames else Landing(tick, False)
        if self.track.codec == "opus":
            return Landing(round(tick / 120) * 120)
        return Landing(round(tick / packet) * packet if packet else tick, exact)

    def _place_of(self, element: int) -> int | None:
        """Where *element* lies. Of a body of unknown length what lies at its end comes last: only once it is here."""
        place = self._places.get(element)
        there = place is not None and (self._view.length is not None or self._view.here(place, place + 12))
        return place if there else None

    def _cue_points(self) -> list[Point]:
        if self._cues is None:
            self._cues = []
            place = self._place_of(CUES)
            if place is not None:
                head = self._view.get(place, 12)
                element = element_at(head, 0)
                if element is not None and element.id == CUES and 0 <= element.stop - element.start <= MAX_ELEMENT:
                    self._read_cues(self._view.get(place + element.start, element.stop - element.start))
        return self._cues

    def _read_cues(self, data: bytes) -> None:
        points = set()
        for cue in inside(data, 0, len(data)):
            time, place = 0, None
            for element in inside(data, cue.start, cue.stop):
                if element.id == 0xB3:
                    time = unsigned(data, element)
                elif element.id == 0xB7:
                    found = {inner.id: unsigned(data, inner) for inner in inside(data, element.start, element.stop)}
                    if found.get(0xF7, self._number) == self._number:
                        place = found.get(0xF1)
            if place is not None:
                points.add(Point(self._segment + place, self._tick(time)))
        self._cues = sorted(points)

    def _probe(self, offset: int, stop: int) -> Point | None:
        """The first cluster at or after *offset*."""
        at = offset
        while at < stop:
            data = self._view.some(at, LOOK)
            mark = data.find(CLUSTER_MARK)
            while mark >= 0 and at + mark < stop:
                element = element_at(data, mark)
                first = None if element is None else element_at(data, element.start)
                if first is not None and first.id == TIMESTAMP and first.stop <= len(data):
                    return Point(at + mark, self._tick(unsigned(data, first)))
                mark = data.find(CLUSTER_MARK, mark + 4)
            if len(data) < LOOK:
                return None
            at += len(data) - 32
        return None

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        tags: tagging.Tags = {}
        tagging.put(tags, "title", self._title)
        place = self._place_of(TAGS)
        head = b"" if place is None else self._view.get(place, 12)
        element = element_at(head, 0)
        if place is None or element is None or element.id != TAGS or element.stop - element.start > MAX_ELEMENT:
            return tags, ()
        data = self._view.get(place + element.start, element.stop - element.start)
        for tag in inside(data, 0, len(data)):
            for simple in inside(data, tag.start, tag.stop):
                if simple.id == 0x67C8:
                    found = {inner.id: inner for inner in inside(data, simple.start, simple.stop)}
                    if 0x45A3 in found and 0x4487 in found:
                        name, text = (
                            data[found[key].start : found[key].stop].decode("utf-8", "replace")
                            for key in (0x45A3, 0x4487)
                        )
                        tagging.put(tags, tagging.common_name(name), text)
        return tags, ()


def _find_cluster(feed: Feed, at: int) -> bool:
    """Go on where a cluster's mark stands at or after *at*: it is four bytes that nothing else looks like."""
    while (mark := feed.data.find(CLUSTER_MARK, at)) < 0:
        if feed.ended:
            return False
        feed.drop(max(len(feed.data) - 3, 0))
        at = 0
        feed.more()
    feed.drop(mark)
    return True
