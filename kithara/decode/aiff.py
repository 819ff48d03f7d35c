"""AIFF and AIFF-C: big-endian chunks, then samples (Apple's AIFF 1.3 and AIFF-C)."""

from __future__ import annotations

from ..errors import DecodeError, UnsupportedMedia
from . import tags as tagging
from .linear import LinearDemuxer
from .track import need
from .view import ByteView

__all__ = ["AiffDemuxer"]

MAX_CHUNKS = 1000
MAX_TEXT = 1 << 20
MAX_ID3 = 1 << 26

_BIG = {1: "pcm_s8", 2: "pcm_s16be", 3: "pcm_s24be", 4: "pcm_s32be"}
_LITTLE = {1: "pcm_s8", 2: "pcm_s16le", 3: "pcm_s24le", 4: "pcm_s32le"}
_FIXED = {
    b"fl32": ("pcm_f32be", 4), b"FL32": ("pcm_f32be", 4), b"fl64": ("pcm_f64be", 8), b"FL64": ("pcm_f64be", 8),
    b"alaw": ("pcm_alaw", 1), b"ALAW": ("pcm_alaw", 1), b"ulaw": ("pcm_mulaw", 1), b"ULAW": ("pcm_mulaw", 1),
    b"in24": ("pcm_s24be", 3), b"in32": ("pcm_s32be", 4), b"raw ": ("pcm_u8", 1),
}  # fmt: skip
_TEXTS = {b"NAME": "title", b"AUTH": "artist", b"ANNO": "comment", b"(c) ": "copyright"}


class AiffDemuxer(LinearDemuxer):
    """PCM in an AIFF file: integer of 8 to 32 bits in either order, float, A-law and µ-law."""

    container = "aiff"

    def __init__(self, view: ByteView, offset: int) -> None:
        super().__init__(view)
        need(view.some(offset, 12, 4096), 12, "the FORM header", offset)
        at, common, sound = offset + 12, b"", None
        self._chunks: dict[bytes, tuple[int, int]] = {}  # that may hold tags
        for _ in range(MAX_CHUNKS):
            head = view.some(at, 8, 4096)
            if len(head) < 8:
                break
            name, size = head[:4], int.from_bytes(head[4:8], "big")
            if name == b"COMM":
                common = need(view.get(at + 8, min(size, 64)), 18, "the COMM chunk", at)
            elif name == b"SSND":
                shift = int.from_bytes(need(view.get(at + 8, 8), 8, "the SSND chunk", at)[:4], "big")
                sound = (at + 16 + shift, max(size - 8 - shift, 0))
            else:
                self._chunks.setdefault(name, (at + 8, size))
            at += 8 + size + (size & 1)
            if common and sound is not None:
                break
        self._behind = at
        if not common or sound is None:
            raise DecodeError("no COMM chunk" if not common else "no SSND chunk", range=(offset, at))
        frames = self._open_format(common)
        first, size = sound
        if view.length is not None:
            size = min(size, max(view.length - first, 0))
        self.lie(first, min(size, frames * self._align) if frames else size)

    def _open_format(self, common: bytes) -> int:
        channels, bits = int.from_bytes(common[:2], "big"), int.from_bytes(common[6:8], "big")
        rate = _extended(common[8:18])
        kind = common[18:22] or b"NONE"
        width = (bits + 7) // 8
        if kind in _FIXED:
            codec, width = _FIXED[kind]
        else:
            order = {b"NONE": _BIG, b"twos": _BIG, b"sowt": _LITTLE}.get(kind)
            found = None if order is None else order.get(width)
            if found is None:
                raise UnsupportedMedia(f"AIFF-C compression {kind.decode('latin-1')!r} with {bits} bits")
            codec = found
        self._align = channels * width
        if not (1 <= channels <= 64 and 1 <= rate <= 1_000_000):
            raise DecodeError(f"AIFF with {channels} channels at {rate} Hz")
        self.describe("aiff", codec, rate, channels)
        return int.from_bytes(common[2:6], "big")

    def tags(self) -> tuple[tagging.Tags, tuple[tagging.Picture, ...]]:
        """What an ID3 chunk says, else the text chunks; those behind the samples as far as they are here."""
        view, at = self._view, self._behind
        while view.here(at, at + 8) and len(head := view.get(at, 8)) == 8 and len(self._chunks) < MAX_CHUNKS:
            size = int.from_bytes(head[4:8], "big")
            self._chunks.setdefault(head[:4], (at + 8, size))
            self._behind = at = at + 8 + size + (size & 1)
        for name in (b"ID3 ", b"id3 "):
            if name in self._chunks:
                place, size = self._chunks[name]
                if len(tag := view.get(place, min(size, MAX_ID3))) >= 10 and tag[:3] == b"ID3":
                    return tagging.id3(tag)
        tags: tagging.Tags = {}
        for name, (place, size) in self._chunks.items():
            if name in _TEXTS:
                tagging.put(tags, _TEXTS[name], view.get(place, min(size, MAX_TEXT)).decode("utf-8", "replace"))
        return tags, ()


def _extended(data: bytes) -> int:
    """An 80-bit float (IEEE 754 extended), rounded; 0 for what is no rate."""
    exponent, mantissa = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:10], "big")
    return round(mantissa / 2 ** (16446 - exponent)) if 16383 <= exponent < 16383 + 32 else 0
