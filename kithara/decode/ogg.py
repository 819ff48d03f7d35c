"""Ogg with Opus, Vorbis or FLAC: pages whose granule positions are the clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .._core.blocks import opus_samples
from .._core.frames import lacing, ogg_crc
from ..errors import DecodeError, UnsupportedMedia
from . import tags as tagging
from .flac import StreamInfo
from .locate import Point, locate
from .track import Demuxer, Landing, Packet, Track
from .view import ByteView, Feed

__all__ = ["OggDemuxer", "xiph_laced"]

LOOK = 1 << 14
MAX_HEADER = 1 << 25
TAIL = 1 << 16

class Page(NamedTuple):
    """An Ogg page: its place, flags, granule position, serial, packet sizes, and the span of its body."""

    offset: int
    flags: int
    granule: int
    serial: int
    sizes: list[int]
    open_size: int
    body: int
    stop: int


def xiph_laced(packets: list[bytes]) -> bytes:
    """Several headers as one, sizes in front, which is how FFmpeg wants Vorbis'."""
    sizes = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets[:-1])
    return bytes((len(packets) - 1,)) + sizes + b"".join(packets)


def _page(data: bytes, at: int, base: int) -> Page | None:
    """The page at ``data[at]``, or None when its header is not whole or no page."""
    if data[at : at + 4] != b"OggS" or len(data) < at + 27 or data[at + 4] != 0:
        return None
    count = data[at + 26]
    body = at + 27 + count
    if len(data) < body:
        return None
    sizes, rest = lacing(data[at + 27 : body])
    return Page(
        base + at,
        data[at + 5],
        int.from_bytes(data[at + 6 : at + 14], "little", signed=True),
        int.from_bytes(data[at + 14 : at + 18], "little"),
        sizes,
        rest if count and data[body - 1] == 255 else 0,
        base + body,
        base + body + sum(sizes) + rest,
    )


class OggDemuxer(Demuxer):
    """The first audio stream of a physical Ogg stream; a chained one ends where the next begins."""

    container = "ogg"

    def __init__(self, view: ByteView, offset: int) -> None:
        self._view = view
        heads, self._serial, self._first = self._headers(offset)
        self._comment = heads[1] if len(heads) > 1 else b""
        self._granule0 = 0
        self.track: Track = self._describe(heads)
        self._at = Point(self._first, 0)
        self._skip_packets = 0
        self._seen = self._at
        self._measured = False
        self._find_origin()

    # ── headers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _headers(self, offset: int) -> tuple[list[bytes], int, int]:
        """The header packets, the stream's serial number, and where the first page of audio begins."""
        view = self._view
        feed = Feed(view, offset, least=4096)
        serial, wanted, parts = None, 0, b""
        packets: list[bytes] = []
        while True:
            page = _page(feed.data, 0, feed.offset)
            if page is None or page.stop - feed.offset > len(feed.data):
                if feed.ended or len(feed.data) > MAX_HEADER:
                    raise DecodeError("no Ogg headers", range=(offset, feed.offset + len(feed.data)))
                feed.more()
                continue
            at = page.body - feed.offset
            if serial is None and page.flags & 2:
                wanted = _header_count(feed.data[at : page.stop - feed.offset])
                serial = page.serial if wanted else None
            if page.serial == serial:
                for size in page.sizes:
                    packets.append(parts + feed.data[at : at + size])
                    parts = b""
                    at += size
                parts += feed.data[at : page.stop - feed.offset]
                if len(parts) > MAX_HEADER:
                    raise DecodeError("an Ogg header without end", range=(offset, page.stop))
                if wanted > 1 and packets and packets[0][:5] == b"\x7fFLAC":
                    wanted = 1 + (int.from_bytes(packets[0][7:9], "big") or 1)
                if len(packets) >= wanted:
                    return packets, page.serial, page.stop
            elif serial is None and not page.flags & 2:
                raise UnsupportedMedia("an Ogg stream without Opus, Vorbis or FLAC")
            feed.drop(page.stop - feed.offset)
            if not feed.data:
                feed.more(27)

    def _describe(self, heads: list[bytes]) -> Track:
        head = heads[0]
        if head[:8] == b"OpusHead":
            if len(head) < 19 or not head[9]:
                raise DecodeError("a damaged OpusHead")
            skip = int.from_bytes(head[10:12], "little")
            return Track(
                codec="opus",
                container="ogg",
                config=head,
                rate=48000,
                channels=head[9],
                lead=skip,
                lead_source="opus-head",
            )
        if head[:7] == b"\x01vorbis":
            channels, rate = head[11], int.from_bytes(head[12:16], "little")
            nominal = int.from_bytes(head[20:24], "little", signed=True)
            if not channels or not rate or len(head) < 30:
                raise DecodeError("a damaged Vorbis header")
            return Track(
                codec="vorbis",
                container="ogg",
                config=xiph_laced(heads[:3]),
                rate=rate,
                channels=channels,
                lead=0,
                lead_source="vorbis",
                bitrate=nominal if nominal > 0 else None,
            )
        info = StreamInfo(head[17:51])
        self.end = info.samples or None
        return info.track("ogg")

    def _find_origin(self) -> None:
        """What the granule clock showed before the first packet: a recording cut from the middle starts late."""
        if self.track.codec != "opus":
            return
        page = self._page_at(self._first, whole=True)
        if page is None or page.granule < 0:
            return
        data = self._view.get(page.body, page.stop - page.body)
        at = count = 0
        for size in page.sizes:
            count += opus_samples(data[at : at + size])
            at += size
        if page.granule > count and not page.flags & 4:
            self._granule0 = page.granule - count
        if page.flags & 4:
            self._end_at(page)

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _page_at(self, offset: int, *, whole: bool = False) -> Page | None:
        """The page at *offset*; its header only, unless *whole*."""
        data = self._view.some(offset, 27 + 255)
        page = _page(data, 0, offset)
        if page is not None and whole:
            self._view.some(offset, page.stop - offset, page.stop - offset)
        return page

    def _end_at(self, page: Page) -> None:
        if page.granule >= 0 and self.end is None:
            self.end = page.granule - self._granule0

    def packets(self) -> Iterator[Packet]:
        feed = Feed(self._view, self._at.offset, least=0)
        skip, opus, parts = self._skip_packets, self.track.codec == "opus", b""
        fresh = True
        while True:
            page = _page(feed.data, 0, feed.offset)
            if page is None or page.stop - feed.offset > len(feed.data):
                if feed.ended:
                    return
                if page is None and len(feed.data) >= 27 + 255:  # lost: look for the next page
                    mark = feed.data.find(b"OggS", 1)
                    feed.drop(mark if mark > 0 else len(feed.data) - 3)
                    parts, fresh = b"", True
                    continue
                feed.more(1 if page is None else page.stop - feed.offset - len(feed.data))
                continue
            if page.serial != self._serial:
                if page.flags & 2 and page.offset > self._first:
                    return  # a chained stream begins
                feed.drop(page.stop - feed.offset)
                continue
            if page.granule - self._granule0 > self._seen.tick:
                self._seen = Point(page.stop, page.granule - self._granule0)
            if page.flags & 4:
                self._end_at(page)
            whole = memoryview(feed.data)
            at = page.body - feed.offset
            sizes = page.sizes
            if page.flags & 1 and fresh and sizes:  # the end of a packet whose start was not read
                at += sizes[0]
                sizes = sizes[1:]
                skip -= 1
            elif not page.flags & 1:
                parts = b""
            if skip <= 0 and not parts and sizes:  # the usual page: whole packets from here on
                batch = []
                for size in sizes:
                    if size:
                        batch.append(whole[at : at + size])
                    at += size
                sizes = []
                yield from (
                    [(packet, opus_samples(packet)) for packet in batch] if opus else [(packet, 0) for packet in batch]
                )
            for size in sizes:
                packet: bytes | memoryview = whole[at : at + size]
                at += size
                if parts:
                    packet, parts = parts + bytes(packet), b""
                if skip > 0:
                    skip -= 1
                    continue
                if len(packet):
                    yield packet, opus_samples(packet) if opus else 0
            if page.open_size:
                parts += feed.data[at : page.stop - feed.offset]
            fresh = False
            feed.drop(page.stop - feed.offset)

    # ── seeking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _probe(self, offset: int, stop: int) -> Point | None:
        """The first page at or after *offset* on which a packet ends; its tick is where that page ends."""
        at, limit = offset, min(stop, self._view.length or stop)
        while at < limit:
            self._view.plan(at, at + 3 * LOOK)  # should this be the place, its packets are on their way
            data = self._view.some(at, min(LOOK, max(limit - at, 1)))
            mark = data.find(b"OggS")
            while mark >= 0:
                page = _page(data, mark, at)
                if page is None and len(data) - mark < 27 + 255:
                    break
                # A serial number of 32 bits behind the mark makes it a page; one that is all here is checked as well.
                if page is not None and page.serial == self._serial and self._sound(page, data[mark:]):
                    if page.offset >= stop:
                        return None
                    if page.granule >= 0 and page.sizes:
                        return Point(page.offset, page.granule - self._granule0)
                mark = data.find(b"OggS", mark + 4)
            if mark > 0:
                at += mark
            elif len(data) < LOOK:
                return None
            else:
                at += len(data) - 3
        return None

    def _sound(self, page: Page, data: bytes) -> bool:
        """Whether the checksum of *page*, at the start of *data*, holds as far as that can be told."""
        size = page.stop - page.offset
        return len(data) < size or ogg_crc(data[:size]) == int.from_bytes(data[22:26], "little")

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        self._at, self._skip_packets = Point(self._first, 0), 0
        stop = self._view.length
        if tick <= 0 or not self._view.seekable or not stop:
            return Landing(0)
        track = self.track
        low = Point(self._first, 0)
        density = (track.bitrate or 128000) / 8 / track.rate
        if self._seen.tick > 4 * track.rate or (self._seen.tick and not track.bitrate):
            density = (self._seen.offset - low.offset) / self._seen.tick
        found = locate(low, stop, self.end, tick, self._probe, density=density, slack=2 * LOOK)
        if found == low:
            return Landing(0)
        page = self._page_at(found.offset)
        if page is None:
            return Landing(0)
        if track.codec == "vorbis" and not page.flags & 4:
            # The last packet that ends on the page primes the decoder: what comes out begins where the page ends.
            if len(page.sizes) == 1 and page.flags & 1:
                return self.seek(found.tick - 4096, exact=exact)
            self._at, self._skip_packets = found, len(page.sizes) - 1
            if page.open_size == 0 or page.sizes:
                return Landing(found.tick)
        self._at, self._skip_packets = found, len(page.sizes)
        return Landing(found.tick)

    def total(self, *, wait: bool = False) -> int | None:
        """The last page's granule. Reads the last 64 KiB if they are here, or if it may *wait*."""
        view = self._view
        if self.end is None and not self._measured and view.seekable and view.length:
            start = max(view.length - TAIL, self._first)
            if wait or view.here(start, view.length):
                self._measured = True
                data = view.get(start, view.length - start)
                mark = data.rfind(b"OggS")
                while mark >= 0:
                    page = _page(data, mark, start)
                    if page is not None and page.serial == self._serial and page.granule >= 0:
                        self._end_at(page)
                        break
                    mark = data.rfind(b"OggS", 0, mark)
        return self.end

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        body = self._comment
        return tagging.vorbis_comment(body[8 if body[:8] == b"OpusTags" else 7 if body[:7] == b"\x03vorbis" else 4 :])


def _header_count(head: bytes) -> int:
    if head[:8] == b"OpusHead":
        return 2
    if head[:7] == b"\x01vorbis":
        return 3
    return 2 if head[:5] == b"\x7fFLAC" else 0
