"""RIFF/WAVE, RF64 and BW64: a header, then samples whose place is arithmetic."""

from __future__ import annotations

from ..errors import DecodeError, UnsupportedMedia
from . import tags as tagging
from .linear import LinearDemuxer
from .track import need
from .view import ByteView

__all__ = ["WavDemuxer"]

MAX_CHUNKS = 1000

_PCM = {8: "pcm_u8", 16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le"}
_FLOAT = {32: "pcm_f32le", 64: "pcm_f64le"}


class WavDemuxer(LinearDemuxer):
    """PCM in a WAVE file: integer of 8 to 32 bits, float of 32 or 64, A-law and µ-law."""

    container = "wav"

    def __init__(self, view: ByteView, offset: int) -> None:
        super().__init__(view)
        head = need(view.some(offset, 12, 4096), 12, "the RIFF header", offset)
        large = head[:4] != b"RIFF"
        at, sizes, form = offset + 12, 0, b""
        self._info: tuple[int, int] | None = None
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
        self.lie(self._first, size)

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
        self.describe("wav", codec, rate, channels)

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
