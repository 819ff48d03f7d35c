"""Ogg with Opus, Vorbis or FLAC: pages whose granule positions are the clock, in one logical stream or a chain."""

from __future__ import annotations

import bisect
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from .._core.blocks import cut_sizes, opus_samples
from .._core.flac import flac_frames
from ..errors import DecodeError
from . import tags as tagging
from .locate import Point, locate
from .pages import Headers, Page, is_sound, largest, page_in, read_headers
from .track import Demuxer, Landing, Mark, Packet, Track
from .view import ByteView, Feed

__all__ = ["OggDemuxer"]

LOOK = 1 << 14
HEADER = 27 + 255
"""Bytes of a page's header, at most."""
TAIL = 1 << 16
MAX_HOLE = 60
"""Seconds that lost pages are taken for, at most: more is a clock that was set."""


@dataclass(slots=True)
class _Link:
    """One logical stream of a chain.

    Attributes:
        base: The tick of the physical stream at which its granule clock shows *origin*.
        origin: What that clock shows before its first packet: a recording cut from the middle starts late.
        end: Granules, counted from *origin*, at which its music ends; None while not known.
        stop: Where the next one begins; None while not known.
    """

    track: Track
    serial: int
    first: int
    base: int = 0
    origin: int = 0
    end: int | None = None
    stop: int | None = None

    @property
    def skip(self) -> int:
        return self.track.lead or 0


class OggDemuxer(Demuxer):
    """The first audio stream of a physical Ogg stream, and what is chained to it.

    Streams after the first begin without their priming, and go on at the first one's clock.
    """

    container = "ogg"

    def __init__(self, view: ByteView, offset: int) -> None:
        self._view = view
        heads = read_headers(Feed(view, offset, least=4096))
        self._comment = heads.comment
        self.track: Track = heads.track
        self.end = heads.samples
        self._links = [_Link(heads.track, heads.serial, heads.first)]
        self._link = self._links[0]
        self._at = heads.first
        self._skip_packets = 0
        self._seen = Point(heads.first, 0)
        self._measured = False
        self._by_tail = False  # the end is what the last page told
        self._alike = False  # links share a serial number, so that only reading tells them apart
        self._find_origin()

    def _find_origin(self) -> None:
        if self.track.codec != "opus":
            return
        link = self._link
        page = self._page_at(link.first, whole=True)
        if page is not None and page.granule >= 0:
            _set_origin(link, page, self._view.get(page.body, page.stop - page.body))
            if page.ends:
                self._end_at(link, page, last=not self._chain_follows(page))

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _page_at(self, offset: int, *, whole: bool = False) -> Page | None:
        """The page at *offset*; its header only, unless *whole*."""
        data = self._view.some(offset, HEADER)
        page = page_in(data, 0, offset)
        if page is not None and whole:
            self._view.some(offset, page.stop - offset, page.stop - offset)
        return page

    def _chain_follows(self, page: Page) -> bool:
        """Whether another logical stream begins behind *page*. Waits for what comes there."""
        head = self._view.get(page.stop, 6)
        return head[:4] == b"OggS" and bool(head[5:] and head[5] & 2)

    def _end_at(self, link: _Link, page: Page, *, last: bool) -> None:
        if page.granule >= 0 and link.end is None:
            link.end = page.granule - link.origin
            if last and self.end is None:
                self.end = link.base + self._session(link, link.end)

    def _session(self, link: _Link, granules: int) -> int:
        """Granules of *link* as ticks of the first one's clock."""
        mine, first = link.track.rate, self.track.rate
        return granules if mine == first else (granules * first + mine // 2) // mine

    def packets(self) -> Iterator[Packet]:
        link, feed = self._link, Feed(self._view, self._at, least=0)
        skip = self._skip_packets
        if link is not self._links[0] and self._at == link.first:
            yield Mark(track=link.track, fresh=True, skip=link.skip), -1
        while (yield from self._inside(feed, link, skip)):
            following = self._next(feed, link)
            if following is None:
                return
            link, skip = following, 0
            yield Mark(track=link.track, fresh=True, skip=link.skip), -1

    def _next(self, feed: Feed, link: _Link) -> _Link | None:
        """The stream that begins where *feed* is, behind *link*; None where that is no audio."""
        link.stop = feed.offset
        try:
            heads: Headers = read_headers(feed)
        except DecodeError:
            return None
        place = bisect.bisect_left(self._links, heads.first, key=lambda known: known.first)
        if place < len(self._links):
            return self._links[place]
        self._alike |= any(known.serial == heads.serial for known in self._links)
        base = link.base + self._session(link, link.end or 0)
        track = replace(heads.track, container=self.track.container)
        found = _Link(track, heads.serial, heads.first, origin=-1 if track.codec == "opus" else 0)
        found.base = base - self._session(found, found.skip)
        self._links.append(found)
        return found

    def _inside(self, feed: Feed, link: _Link, skip: int) -> Generator[Packet, None, bool]:
        """The packets of *link* from where *feed* is, behind *skip* of them; returns whether another stream begins."""
        opus, parts, fresh = link.track.codec == "opus", b"", True
        number, clock = -1, -1  # that the next page has, and what the granule clock shows before it
        while True:
            page = page_in(feed.data, 0, feed.offset)
            if page is None or page.stop - feed.offset > len(feed.data):
                if feed.ended:
                    return False
                if page is None and len(feed.data) >= HEADER:  # lost: look for the next page
                    mark = feed.data.find(b"OggS", 1)
                    feed.drop(mark if mark > 0 else len(feed.data) - 3)
                    parts, fresh = b"", True
                    continue
                feed.more(1 if page is None else page.stop - feed.offset - len(feed.data))
                continue
            if page.begins and page.offset > link.first:
                if link.end is None and clock >= 0:
                    link.end = clock - link.origin
                return True
            if page.serial != link.serial:
                feed.drop(page.stop - feed.offset)
                continue
            if link.origin < 0:
                _set_origin(link, page, feed.data[page.body - feed.offset :])
            if link is self._links[0] and page.granule - link.origin > self._seen.tick:
                self._seen = Point(page.stop, page.granule - link.origin)
            if page.ends:
                chained = self._chain_follows(page)
                if chained and self._by_tail:  # the last page is another's that has the same serial number
                    self.end, link.end, self._by_tail = None, None, False
                self._end_at(link, page, last=not chained)
                if chained and clock >= 0 and page.granule >= 0:
                    yield Mark(limit=max(page.granule - clock, 0)), -1
            whole = memoryview(feed.data)
            at, sizes = page.body - feed.offset, page.sizes
            lost = -1 < number != page.number
            if lost:
                parts, fresh = b"", True
            if page.continues and fresh and sizes:  # the end of a packet whose start was not read
                at += sizes[0]
                sizes = sizes[1:]
                skip -= 1
            elif not page.continues:
                parts = b""
            if lost and sizes and page.granule >= 0:
                at, sizes, hole = _hole(link, page, sizes, whole, at, clock)
                if hole.lost > 0 or hole.fresh:
                    yield hole, -1
            if page.granule >= 0:
                clock = page.granule
            if not lost or sizes:
                number = page.number + 1 & 0xFFFFFFFF
            if skip <= 0 and not parts:  # the usual page: whole packets from here on
                yield from cut_sizes(feed.data, at, sizes, opus)
                at += sum(sizes)
                sizes = []
            for size in sizes:
                packet: bytes | memoryview = whole[at : at + size]
                at += size
                if parts:
                    packet, parts = parts + bytes(packet), b""
                if skip > 0:
                    skip -= 1
                elif len(packet):
                    yield packet, opus_samples(packet) if opus else 0
            if page.open_size:
                parts += feed.data[at : page.stop - feed.offset]
            fresh = False
            feed.drop(page.stop - feed.offset)

    # ── seeking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _probe(self, link: _Link, offset: int, stop: int, ahead: int) -> Point | None:
        """The first page at or after *offset* on which a packet of *link* ends; its tick is where that page ends.

        Should this be the place, *ahead* bytes from there on will be read.
        """
        at, limit = offset, min(stop, self._view.length or stop)
        while at < limit:
            self._view.plan(at, at + ahead)
            data = self._view.some(at, min(LOOK, max(limit - at, 1)))
            mark = data.find(b"OggS")
            while mark >= 0:
                page = page_in(data, mark, at)
                if page is None and len(data) - mark < HEADER:
                    break
                # A serial number of 32 bits behind the mark makes it a page; one that is all here is checked as well.
                if page is not None and page.serial == link.serial and is_sound(page, data[mark:]):
                    if page.offset >= stop:
                        return None
                    if page.granule >= 0 and page.sizes:
                        return Point(page.offset, page.granule - link.origin)
                elif page is not None and page.begins and is_sound(page, data[mark:]):
                    return None  # another stream: this one ended before
                mark = data.find(b"OggS", mark + 4)
            if mark > 0:
                at += mark
            elif len(data) < LOOK:
                return None
            else:
                at += len(data) - 3
        return None

    def _nearer(self, link: _Link, page: Page, granules: int) -> Page:
        """The last page up to *granules* from *page* on that is found without waiting: less to be decoded."""
        at = page.stop
        while self._view.here(at, at + HEADER):
            following = self._page_at(at)
            if following is None or following.begins or following.ends:
                break
            if following.serial == link.serial and following.granule >= 0:
                if following.granule - link.origin > granules:
                    break
                if len(following.sizes) > following.continues:  # packets begin here, and not only end
                    page = following
            at = following.stop
        return page

    def _spared(self, link: _Link, page: Page, granules: int) -> tuple[int, int]:
        """How many packets behind *page* end within *granules*, and what they last; none where they are not here."""
        view, at = self._view, page.stop
        following = self._page_at(at) if view.here(at, at + HEADER) else None
        if following is None or page.open_size or following.continues or following.serial != link.serial:
            return 0, 0
        if not view.here(following.body, following.stop):
            return 0, 0
        data, at = view.get(following.body, following.stop - following.body), 0
        count = spared = 0
        for size in following.sizes:
            lasts = opus_samples(data[at : at + size])
            if spared + lasts > granules:
                break
            count, spared, at = count + 1, spared + lasts, at + size
        return count, spared

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        self.total()
        place = bisect.bisect_right(self._links, tick, 1, key=lambda known: known.base + known.skip) - 1
        self._link = link = self._links[place]
        self._at, self._skip_packets = link.first, 0
        stop = link.stop or self._view.length
        start = link.base + (self._session(link, link.skip) if place else 0)
        track = link.track
        if tick <= start or not self._view.seekable or not stop or self._alike:
            return Landing(start, track=track, counted=True)
        granules = (tick - link.base) * track.rate // self.track.rate
        low = Point(link.first, 0)
        density = (track.bitrate or 128000) / 8 / track.rate
        seen = 0 if place else self._seen.tick
        if seen > 4 * track.rate or (seen and not track.bitrate):
            density = (self._seen.offset - low.offset) / seen
        ahead = 3 * LOOK
        if track.codec == "opus":  # its pre-roll takes a second, and so do most of its pages
            ahead += min(2 * int(density * track.rate), 8 * LOOK)
        looks = [] if seen > 4 * track.rate else [LOOK]  # a first guess is for finding out
        end = self.end if not place else link.end
        found = locate(
            low,
            stop,
            end,
            granules,
            lambda offset, limit: self._probe(link, offset, limit, looks.pop() if looks else ahead),
            density=density,
            slack=2 * LOOK,
        )
        page = None if found == low else self._page_at(found.offset)
        if page is None:
            return Landing(start, track=track, counted=True)
        page = self._nearer(link, page, granules)
        found = Point(page.offset, page.granule - link.origin)
        if track.codec == "vorbis" and not page.ends:
            # The last packet that ends on the page primes the decoder: what comes out begins where the page ends.
            if len(page.sizes) == 1 and page.continues:
                return self.seek(tick - self._session(link, granules - found.tick + 4096), exact=exact)
            self._at, self._skip_packets = found.offset, len(page.sizes) - 1
        else:
            count, granules = self._spared(link, page, granules - found.tick) if track.codec == "opus" else (0, 0)
            self._at, self._skip_packets = found.offset, len(page.sizes) + count
            found = Point(found.offset, found.tick + granules)
        return Landing(link.base + self._session(link, found.tick), track=track, counted=True)

    def total(self, *, wait: bool = False) -> int | None:
        """The last page's granule. Reads the last 64 KiB if they are here, or if it may *wait*."""
        view, link = self._view, self._links[0]
        if self.end is None and not self._measured and view.seekable and view.length:
            start = max(view.length - TAIL, link.first)
            if wait or view.here(start, view.length):
                self._measured = True
                data = view.get(start, view.length - start)
                mark = data.rfind(b"OggS")
                while mark >= 0:
                    page = page_in(data, mark, start)
                    if page is not None and page.granule >= 0 and page.stop <= view.length:
                        if (page.begins or (page.ends and page.serial != link.serial)) and is_sound(page, data[mark:]):
                            break  # of a chain's last stream: where that ends is known when it is reached
                        if page.serial == link.serial:
                            size = largest(data, link.serial)
                            if size is not None and not self._fits(page, size):
                                middle = (link.first + start) // 2
                                if not wait and not view.here(middle, middle + TAIL):
                                    self._measured = False
                                    break
                                there = largest(view.get(middle, TAIL), link.serial)
                                self._alike = not there or not self._fits(page, max(size, there))
                            if not self._alike:
                                self._end_at(link, page, last=True)
                                self._by_tail = True
                            break
                    mark = data.rfind(b"OggS", 0, mark)
        return self.end

    def _fits(self, page: Page, size: int) -> bool:
        """Whether all up to *page* can be as many pages as its number says, of about *size* bytes at most."""
        return page.stop - self._links[0].first <= 1.3 * size * (page.number + 1)

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        body = self._comment
        return tagging.vorbis_comment(body[8 if body[:8] == b"OpusTags" else 7 if body[:7] == b"\x03vorbis" else 4 :])


def _set_origin(link: _Link, page: Page, body: bytes) -> None:
    """Take over what the granule clock of *link* showed before *page*, its first of audio, at the start of *body*."""
    if page.granule < 0:
        return
    at = count = 0
    for size in page.sizes:
        count += opus_samples(body[at : at + size])
        at += size
    link.origin = max(page.granule - count, 0) if not page.ends else 0


def _hole(
    link: _Link, page: Page, sizes: list[int], whole: memoryview, at: int, clock: int
) -> tuple[int, list[int], Mark]:
    """Behind lost pages: which packets of *page*, *sizes* from *at* on, to go on with, and what is missing before them.

    The granule clock showed *clock* before the hole, and tells where *page* ends.
    """
    codec, most = link.track.codec, MAX_HOLE * link.track.rate
    begin = page.granule
    if codec == "vorbis":  # only the last packet's end is known, and the next builds on it
        at += sum(sizes[:-1])
        sizes = sizes[-1:]
    elif codec == "opus":
        start, lengths = at, []
        for size in sizes:
            lengths.append(opus_samples(whole[start : start + size]))
            start += size
        begin -= sum(lengths)
        if page.ends and lengths[0]:  # it may say to leave out some of what it holds
            begin = link.origin - (link.origin - begin) // lengths[0] * lengths[0]
    else:
        frames, _ = flac_frames(whole[at : at + sizes[0]], 0, link.track.packet, 0, 0, True)
        begin = frames[0][2] if frames else clock
    lost = begin - max(clock, 0)
    return at, sizes, Mark(lost=lost if 0 < lost <= most else 0, fresh=codec == "vorbis")
