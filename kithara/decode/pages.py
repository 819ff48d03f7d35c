"""Ogg's pages, and the header packets that describe a logical stream of Opus, Vorbis or FLAC."""

from __future__ import annotations

from typing import NamedTuple

from .._core.containers import lacing, ogg_crc
from ..errors import DecodeError, UnsupportedMedia
from .flac import StreamInfo
from .track import Track
from .view import Feed

__all__ = ["Headers", "Page", "is_sound", "largest", "page_in", "read_headers"]

MAX_HEADER = 1 << 25


class Page(NamedTuple):
    """An Ogg page: its place, flags, granule position, serial and number, packet sizes, and the span of its body."""

    offset: int
    flags: int
    granule: int
    serial: int
    number: int
    sizes: list[int]
    open_size: int
    body: int
    stop: int

    @property
    def continues(self) -> bool:
        """Its first bytes end a packet of the page before."""
        return bool(self.flags & 1)

    @property
    def begins(self) -> bool:
        """It is a logical stream's first."""
        return bool(self.flags & 2)

    @property
    def ends(self) -> bool:
        """It is a logical stream's last."""
        return bool(self.flags & 4)


def page_in(data: bytes, at: int, base: int) -> Page | None:
    """The page at ``data[at]``, *base* being where *data* lies; None when its header is not whole or no page."""
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
        int.from_bytes(data[at + 18 : at + 22], "little"),
        sizes,
        rest if count and data[body - 1] == 255 else 0,
        base + body,
        base + body + sum(sizes) + rest,
    )


def is_sound(page: Page, data: bytes) -> bool:
    """Whether the checksum of *page*, at the start of *data*, holds as far as that can be told."""
    size = page.stop - page.offset
    return len(data) < size or ogg_crc(data[:size]) == int.from_bytes(data[22:26], "little")


def largest(data: bytes, serial: int) -> int | None:
    """Bytes of the largest page in *data* of the stream *serial*; 0 where another begins, None where others go on."""
    size, mark = 0, data.find(b"OggS")
    while mark >= 0:
        page = page_in(data, mark, 0)
        if page is not None and is_sound(page, data[mark:]):
            if page.begins:
                return 0
            if page.serial != serial:
                return None
            size = max(size, page.stop - page.offset)
        mark = data.find(b"OggS", mark + 4)
    return size


class Headers(NamedTuple):
    """What a logical stream's header packets tell, and where its first page of audio lies."""

    track: Track
    serial: int
    first: int
    comment: bytes
    samples: int | None
    """Its length, where the headers tell it."""


def read_headers(feed: Feed) -> Headers:
    """The headers of the first audio stream that begins where *feed* is, which is led behind them. Waits for them.

    Raises:
        UnsupportedMedia: none there is Opus, Vorbis or FLAC.
        DecodeError: they are damaged.
    """
    packets, serial, first = _header_packets(feed)
    track, samples = _describe(packets)
    return Headers(track, serial, first, packets[1] if len(packets) > 1 else b"", samples)


def _header_packets(feed: Feed) -> tuple[list[bytes], int, int]:
    """The header packets, the stream's serial number, and where the first page of audio begins."""
    offset = feed.offset
    serial, wanted, parts = None, 0, b""
    packets: list[bytes] = []
    while True:
        page = page_in(feed.data, 0, feed.offset)
        if page is None or page.stop - feed.offset > len(feed.data):
            if feed.ended or len(feed.data) > MAX_HEADER:
                raise DecodeError("no Ogg headers", range=(offset, feed.offset + len(feed.data)))
            feed.more()
            continue
        at = page.body - feed.offset
        if serial is None and page.begins:
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
                feed.drop(page.stop - feed.offset)
                return packets, page.serial, page.stop
        elif serial is None and not page.begins:
            raise UnsupportedMedia("an Ogg stream without Opus, Vorbis or FLAC")
        feed.drop(page.stop - feed.offset)
        if not feed.data:
            feed.more(27)


def _describe(heads: list[bytes]) -> tuple[Track, int | None]:
    """The track, and its length where that is told."""
    head = heads[0]
    if head[:8] == b"OpusHead":
        if len(head) < 19 or not head[9]:
            raise DecodeError("a damaged OpusHead")
        skip = int.from_bytes(head[10:12], "little")
        opus = Track(
            codec="opus",
            container="ogg",
            config=head,
            rate=48000,
            channels=head[9],
            lead=skip,
            lead_source="opus-head",
        )
        return opus, None
    if head[:7] == b"\x01vorbis":
        channels, rate = head[11], int.from_bytes(head[12:16], "little")
        nominal = int.from_bytes(head[20:24], "little", signed=True)
        if not channels or not rate or len(head) < 30:
            raise DecodeError("a damaged Vorbis header")
        vorbis = Track(
            codec="vorbis",
            container="ogg",
            config=_xiph_laced(heads[:3]),
            rate=rate,
            channels=channels,
            lead=0,
            lead_source="vorbis",
            bitrate=nominal if nominal > 0 else None,
        )
        return vorbis, None
    info = StreamInfo(head[17:51])
    return info.track("ogg"), info.samples or None


def _xiph_laced(packets: list[bytes]) -> bytes:
    """Several headers as one, sizes in front, which is how FFmpeg wants Vorbis'."""
    sizes = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets[:-1])
    return bytes((len(packets) - 1,)) + sizes + b"".join(packets)


def _header_count(head: bytes) -> int:
    if head[:8] == b"OpusHead":
        return 2
    if head[:7] == b"\x01vorbis":
        return 3
    return 2 if head[:5] == b"\x7fFLAC" else 0
