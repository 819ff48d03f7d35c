"""RIFF/WAVE, RF64 and BW64: a header, then samples whose place is arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DecodeError, UnsupportedMedia
from . import tags as tagging
from .track import Demuxer, Landing, Packet, Track, need
from .view import ByteView

__all__ = ["WavDemuxer"]

BLOCK = 4096
"""Frames in one packet."""
MAX_CHUNKS = 1000

_PCM = {8: "pcm_u8", 16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le"}
_FLOAT = {32: "pcm_f32le", 64: "pcm_f64le"}


class WavDemuxer(Demuxer):
    """PCM in a WAVE file: integer of 8 to 32 bits, float of 32 or 64, A-law and µ-law."""

    container = "wav"

    def __init__(self, view: ByteView, offset: int) -> None:
        self._view = view
        head = need(view.some(offset, 12, 4096), 12, "the RIFF header", offset)
        large = head[:4] != b"RIFF"
        at, sizes, form = offset + 12, 0, b""
        self._info: tuple[int, int] | None = None
        self._chunks_end = 0
        for _ in range(MAX_CHUNKS):
            chunk = need(view.some(at, 8, 4096), 8, "a chunk header", at)
            name, size = chunk[:4], int.from_bytes(chunk[4:8], "little")
            if name == b"data":
                break
            if name == b"ds64":
                sizes = int.from_bytes(view.get(at + 8, 24)[8:16], "little")
            elif name == b"fmt ":
                form = need(view.get(at + 8, min(size, 64)), 16, "the fmt chunk", at)
            elif name == b"LIST":
                self._info = (at + 8, size)
            at += 8 + size + (size & 1)
        else:
            raise DecodeError("no data chunk", range=(offset, at))
        if not form:
            raise DecodeError("no fmt chunk before the samples", range=(offset, at))
        if large and size == 0xFFFFFFFF:
            size = sizes
        self._first = at + 8
        self._open_format(form)
        known = None if view.length is None else max(view.length - self._first, 0)
        if size in (0, 0xFFFFFFFF):  # written by someone who could not seek back
            size = known if known is not None else -1
        elif known is not None:
            size = min(size, known)
        self._size = size
        self.end: int | None = size // self._align if size >= 0 else None
        self._frame = 0

    def _open_format(self, form: bytes) -> None:
        kind = int.from_bytes(form[:2], "little")
        channels = int.from_bytes(form[2:4], "little")
        rate = int.from_bytes(form[4:8], "little")
        self._align = int.from_bytes(form[12:14], "little")
        bits = int.from_bytes(form[14:16], "little")
        if kind == 0xFFFE and len(form) >= 26:
            kind = int.from_bytes(form[24:26], "little")
        width = (bits + 7) // 8
        codec = {1: _PCM.get(width * 8), 3: _FLOAT.get(bits), 6: "pcm_alaw", 7: "pcm_mulaw"}.get(kind)
        if codec is None:
            raise UnsupportedMedia(f"WAVE format {kind:#x} with {bits} bits")
        if not (1 <= channels <= 64 and 1 <= rate <= 1_000_000 and self._align == channels * width):
            raise DecodeError(f"WAVE format with {channels} channels at {rate} Hz in blocks of {self._align} bytes")
        self.track: Track = Track(
            codec=codec,
            container="wav",
            rate=rate,
            channels=channels,
            lead=0,
            lead_source="wav",
            packet=BLOCK,
            bitrate=rate * self._align * 8,
        )

    def packets(self) -> Iterator[Packet]:
        view, align = self._view, self._align
        at = self._first + self._frame * align
        stop = self._first + self._size if self._size >= 0 else None
        while True:
            most = BLOCK * align * 4 if stop is None else min(BLOCK * align * 4, stop - at)
            if most < align:
                return
            # `some` gives what is here: the first block of a slow link is a small one.
            data = view.some(at, align, most)
            frames = len(data) // align
            if not frames:
                return
            yield memoryview(data)[: frames * align], frames
            at += frames * align

    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        self._frame = max(tick, 0) if self.end is None else min(max(tick, 0), self.end)
        start = self._first + self._frame * self._align
        self._view.plan(start, start + 2 * BLOCK * self._align)
        return Landing(self._frame)

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        info = self._info
        if info is None and self._size >= 0:
            at = self._first + self._size + (self._size & 1)
            head = self._view.get(at, 12) if self._view.here(at, at + 12) else b""
            if head[:4] == b"LIST" and head[8:12] == b"INFO":
                info = (at + 8, int.from_bytes(head[4:8], "little"))
        if info is None:
            return {}, ()
        body = self._view.get(info[0], min(info[1], 1 << 20))
        return (tagging.riff_info(body[4:]) if body[:4] == b"INFO" else {}), ()
