"""ISO base media boxes: walking them, and what a sound track's boxes mean (ISO 14496-12, -14, -15)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError, UnsupportedMedia
from . import tags as tagging

__all__ = ["Box", "SoundTrack", "boxes", "child", "children", "itunes_gapless", "itunes_tags", "sound_track"]

MAX_SAMPLES = 1 << 23
"""Packets in one table: two days of AAC."""
MAX_DEPTH_BOXES = 100_000

Int64s = NDArray[np.int64]


class Box(NamedTuple):
    """A box inside a buffer: its type and the span of its body."""

    kind: bytes
    start: int
    stop: int


def boxes(data: bytes, start: int, stop: int) -> Iterator[Box]:
    """The boxes in ``data[start:stop]``; a damaged size ends the walk."""
    for _ in range(MAX_DEPTH_BOXES):
        if start + 8 > stop:
            return
        size = int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8]
        body = start + 8
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
            body = start + 16
        end = stop if size == 0 else start + size
        if end < body or end > stop:
            return
        yield Box(kind, body, end)
        start = end


def children(data: bytes, parent: Box, kind: bytes) -> Iterator[Box]:
    """The boxes of *kind* directly inside *parent*."""
    return (box for box in boxes(data, parent.start, parent.stop) if box.kind == kind)


def child(data: bytes, parent: Box, *path: bytes) -> Box | None:
    """The first box at *path* below *parent*, or None."""
    box: Box | None = parent
    for kind in path:
        box = None if box is None else next(children(data, box, kind), None)
    return box


@dataclass(slots=True)
class SoundTrack:
    """A sound track's header: what to decode, when, and where the samples lie."""

    id: int = 0
    timescale: int = 0
    codec: str = ""
    config: bytes = b""
    rate: int = 0
    channels: int = 0
    edit_start: int | None = None
    """Ticks of the media that the edit list skips, or None without one."""
    edit_length: float | None = None
    """Ticks that the edit list plays, as exact as the movie's timescale; None or 0 when it does not limit."""
    edit_grain: float = 0.0
    """One tick of the movie's timescale, in ours."""
    duration: int = 0
    durations: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    offsets: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    defaults: tuple[int, int] = (0, 0)
    """Duration and size that fragments without their own take (trex)."""


def sound_track(data: bytes, moov: Box) -> SoundTrack:
    """The first track of *moov* that is sound and has a known codec.

    Raises:
        UnsupportedMedia: there is none.
    """
    movie_scale = 1000
    if (mvhd := child(data, moov, b"mvhd")) is not None:
        at = mvhd.start + (20 if data[mvhd.start] else 12)
        movie_scale = int.from_bytes(data[at : at + 4], "big") or 1000
    seen: list[str] = []
    for trak in children(data, moov, b"trak"):
        handler = child(data, trak, b"mdia", b"hdlr")
        if handler is None or data[handler.start + 8 : handler.start + 12] != b"soun":
            continue
        track = SoundTrack()
        try:
            _track_header(data, trak, track, movie_scale)
        except (struct.error, IndexError) as exc:
            raise DecodeError(f"a damaged sound track header: {exc}") from exc
        if track.codec:
            if (mvex := child(data, moov, b"mvex")) is not None:
                for trex in children(data, mvex, b"trex"):
                    number, _, duration, size = struct.unpack_from(">IIII", data, trex.start + 4)
                    if number == track.id:
                        track.defaults = (duration, size)
            return track
        seen.append(track.config.decode("latin-1"))
    if seen:
        raise UnsupportedMedia(f"no known codec among {', '.join(seen)}")
    raise UnsupportedMedia("no sound track")


def _track_header(data: bytes, trak: Box, track: SoundTrack, movie_scale: int) -> None:
    if (tkhd := child(data, trak, b"tkhd")) is not None:
        at = tkhd.start + (20 if data[tkhd.start] else 12)
        track.id = int.from_bytes(data[at : at + 4], "big")
    mdhd = child(data, trak, b"mdia", b"mdhd")
    table = child(data, trak, b"mdia", b"minf", b"stbl")
    if mdhd is None or table is None:
        raise DecodeError("a sound track without mdhd or stbl")
    if data[mdhd.start]:
        track.timescale, track.duration = struct.unpack_from(">IQ", data, mdhd.start + 20)
    else:
        track.timescale, track.duration = struct.unpack_from(">II", data, mdhd.start + 12)
    if not track.timescale:
        raise DecodeError("a sound track with a timescale of 0")
    stsd = child(data, table, b"stsd")
    if stsd is None:
        raise DecodeError("a sound track without stsd")
    entry = next(boxes(data, stsd.start + 8, stsd.stop), None)
    if entry is None:
        raise DecodeError("a sound track with an empty stsd")
    _sample_entry(data, entry, track)
    if (elst := child(data, trak, b"edts", b"elst")) is not None:
        _edit_list(data, elst, track, movie_scale)
    _sample_tables(data, table, track)


def _edit_list(data: bytes, elst: Box, track: SoundTrack, movie_scale: int) -> None:
    wide = data[elst.start] == 1
    count = int.from_bytes(data[elst.start + 4 : elst.start + 8], "big")
    form, step = (">Qq", 20) if wide else (">Ii", 12)
    for at in range(elst.start + 8, min(elst.stop - step + 1, elst.start + 8 + count * step), step):
        length, media_time = struct.unpack_from(form, data, at)
        if media_time >= 0:
            track.edit_start = media_time
            track.edit_length = length * track.timescale / movie_scale
            track.edit_grain = track.timescale / movie_scale
            return


def _sample_entry(data: bytes, entry: Box, track: SoundTrack) -> None:
    at = entry.start
    version = int.from_bytes(data[at + 8 : at + 10], "big")
    track.channels = int.from_bytes(data[at + 16 : at + 18], "big")
    depth = int.from_bytes(data[at + 18 : at + 20], "big")
    track.rate = int.from_bytes(data[at + 24 : at + 26], "big")
    inner = at + 28 + (16 if version == 1 else 36 if version == 2 else 0)
    inside = Box(entry.kind, inner, entry.stop)
    kind = entry.kind
    if (wave := child(data, inside, b"wave")) is not None:  # QuickTime's wrapping
        inside = wave
    if kind == b"mp4a" and (esds := child(data, inside, b"esds")) is not None:
        _elementary_descriptor(data[esds.start + 4 : esds.stop], track)
    elif kind == b"alac" and (alac := child(data, inside, b"alac")) is not None:
        body = data[alac.start : alac.stop]
        track.codec, track.config = "alac", (len(body) + 8).to_bytes(4, "big") + b"alac" + body
    elif kind == b"fLaC" and (dfla := child(data, inside, b"dfLa")) is not None:
        track.codec, track.config = "flac", data[dfla.start + 8 : dfla.start + 42]
    elif kind == b"Opus" and (dops := child(data, inside, b"dOps")) is not None:
        track.codec, track.config = "opus", _opus_head(data[dops.start : dops.stop])
    elif kind in (b".mp3", b"mp3 "):
        track.codec = "mp3"
    elif kind == b"ac-3":
        track.codec = "ac3"
    elif kind == b"ec-3":
        track.codec = "eac3"
    elif kind in (b"sowt", b"lpcm", b"ipcm") and depth in (16, 24, 32):
        track.codec = f"pcm_s{depth}le"
    else:
        track.config = kind


def _opus_head(body: bytes) -> bytes:
    """OpusHead, which Ogg and FFmpeg use, from a dOps box (big endian there, little here)."""
    if len(body) < 11:
        raise DecodeError("a dOps box of fewer than 11 bytes")
    version, channels, skip, rate, gain, family = struct.unpack_from(">BBHIhB", body)
    return struct.pack("<8sBBHIhB", b"OpusHead", 1 if version == 0 else version, channels, skip, rate, gain, family) + (
        body[11:] if family else b""
    )


def _elementary_descriptor(body: bytes, track: SoundTrack) -> None:
    """ISO 14496-1's ES descriptor: the object type, and the decoder's configuration."""
    at, limit = 0, len(body)
    while at + 2 <= limit:
        tag, at = body[at], at + 1
        size = 0
        for _ in range(4):
            byte, at = body[at], at + 1
            size = size << 7 | byte & 0x7F
            if byte < 0x80:
                break
        if tag == 3:
            flags = body[at + 2]
            at += (
                3 + (2 if flags & 0x80 else 0) + (body[at + 3] + 1 if flags & 0x40 else 0) + (2 if flags & 0x20 else 0)
            )
        elif tag == 4:
            kind = body[at]
            track.codec = {0x40: "aac", 0x66: "aac", 0x67: "aac", 0x68: "aac", 0x69: "mp3", 0x6B: "mp3"}.get(kind, "")
            if not track.codec:
                track.config = f"mp4a object type {kind:#x}".encode()
                return
            at += 13
        elif tag == 5:
            track.config = body[at : at + size]
            return
        else:
            at += size


def _table(data: bytes, box: Box | None, dtype: str, header: int) -> NDArray[Any]:
    """The entries of a counted table whose count stands *header* bytes into it."""
    if box is None:
        return np.zeros((0,), np.int64)
    count = int.from_bytes(data[box.start + header : box.start + header + 4], "big")
    width = np.dtype(dtype).itemsize
    at = box.start + header + 4
    count = min(count, (box.stop - at) // width)
    return np.frombuffer(data, dtype, count, at)


def _sample_tables(data: bytes, table: Box, track: SoundTrack) -> None:
    stsz = child(data, table, b"stsz")
    if stsz is None:
        return
    same, count = struct.unpack_from(">II", data, stsz.start + 4)
    if not count:
        return
    chunk_offsets = _table(data, child(data, table, b"stco"), ">u4", 4).astype(np.int64)
    if not len(chunk_offsets):
        chunk_offsets = _table(data, child(data, table, b"co64"), ">u8", 4).astype(np.int64)
    runs = _table(data, child(data, table, b"stsc"), ">u4,>u4,>u4", 4)
    if not len(chunk_offsets) or not len(runs):
        raise DecodeError("a sound track without stco or stsc")
    first = runs["f0"].astype(np.int64) - 1
    per_run = runs["f1"].astype(np.int64)
    spans = np.diff(np.append(first, len(chunk_offsets)))
    if first[0] != 0 or (spans < 0).any():
        raise DecodeError("a sound track with a damaged stsc")
    per_chunk = np.repeat(per_run, spans)
    if track.codec.startswith("pcm") and same:  # each frame is a sample there: a chunk is the packet
        track.offsets, track.sizes, track.durations = chunk_offsets, per_chunk * same, per_chunk
        return
    if min(count, int(per_chunk.sum())) > MAX_SAMPLES or per_run.max() > MAX_SAMPLES:
        raise DecodeError(f"a sound track of {count} packets")
    sizes = np.full(min(count, int(per_chunk.sum())), same, np.int64)
    if not same:
        sizes = _table(data, stsz, ">u4", 8).astype(np.int64)
    total = min(int(per_chunk.sum()), len(sizes))
    sizes = sizes[:total]
    ends = np.cumsum(per_chunk)
    starts_in_chunk = np.repeat(ends - per_chunk, per_chunk)[:total]
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    track.offsets = np.repeat(chunk_offsets, per_chunk)[:total] + before[:total] - before[starts_in_chunk]
    track.sizes = sizes
    times = _table(data, child(data, table, b"stts"), ">u4,>u4", 4)
    counts = np.minimum(times["f0"].astype(np.int64), total) if len(times) else np.zeros(0, np.int64)
    if int(counts.sum()) > 2 * MAX_SAMPLES or len(counts) > total:
        raise DecodeError("a sound track with a damaged stts")
    durations = np.repeat(times["f1"].astype(np.int64), counts)[:total] if len(times) else np.zeros(0, np.int64)
    if len(durations) < total:
        filler = int(durations[-1]) if len(durations) else 0
        durations = np.concatenate((durations, np.full(total - len(durations), filler, np.int64)))
    track.durations = durations


# ── iTunes ────────────────────────────────────────────────────────────────────────────────────────────────────────

_ATOMS = {
    b"\xa9nam": "title", b"\xa9ART": "artist", b"\xa9alb": "album", b"aART": "album_artist", b"\xa9day": "date",
    b"\xa9gen": "genre", b"\xa9wrt": "composer", b"\xa9cmt": "comment", b"\xa9too": "encoder", b"cprt": "copyright",
    b"\xa9grp": "grouping", b"\xa9lyr": "lyrics",
}  # fmt: skip


def _item_list(data: bytes, moov: Box) -> Box | None:
    udta = child(data, moov, b"udta")
    for parent in (udta, moov):
        meta = None if parent is None else child(data, parent, b"meta")
        if meta is not None:
            for skip in (4, 0):  # QuickTime writes meta without version and flags
                ilst = child(data, Box(b"meta", meta.start + skip, meta.stop), b"ilst")
                if ilst is not None:
                    return ilst
    return None


def itunes_tags(data: bytes, moov: Box) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
    """What the iTunes item list says."""
    tags: tagging.Tags = {}
    pictures: list[tagging.Picture] = []
    ilst = _item_list(data, moov)
    for item in boxes(data, ilst.start, ilst.stop) if ilst is not None else ():
        for value in children(data, item, b"data"):
            form = int.from_bytes(data[value.start : value.start + 4], "big")
            body = data[value.start + 8 : value.stop]
            if item.kind in _ATOMS:
                tagging.put(tags, _ATOMS[item.kind], body.decode("utf-8", "replace"))
            elif item.kind in (b"trkn", b"disk") and len(body) >= 6:
                number, of = struct.unpack_from(">HH", body, 2)
                name = "track" if item.kind == b"trkn" else "disc"
                tagging.put(tags, name, f"{number}/{of}" if of else str(number))
            elif item.kind == b"covr" and len(pictures) < tagging.MAX_PICTURES:
                mime = {13: "image/jpeg", 14: "image/png"}.get(form, "image/jpeg")
                pictures.append(tagging.Picture(data=body, mime=mime))
    return tags, tuple(pictures)


def itunes_gapless(data: bytes, moov: Box) -> tuple[int, int, int] | None:
    """iTunSMPB's priming, padding and length, or None."""
    ilst = _item_list(data, moov)
    for item in children(data, ilst, b"----") if ilst is not None else ():
        name, value = child(data, item, b"name"), child(data, item, b"data")
        if name is None or value is None or data[name.start + 4 : name.stop] != b"iTunSMPB":
            continue
        words = data[value.start + 8 : value.stop].split()
        try:
            priming, padding, length = (int(word, 16) for word in words[1:4])
        except ValueError:
            return None
        return (priming, padding, length) if length else None
    return None
