"""What a body is: codec and container, told by a type, a suffix or its first bytes.

The first bytes are the best witness, a Content-Type the next, a suffix the last: `sniff` over `from_content_type` over
`from_suffix`. Nothing here opens or reads anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["MediaInfo", "from_content_type", "from_suffix", "id3_size", "sniff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """Codec and container of a body, as far as known; what is not known is None.

    Attributes:
        codec: ``"mp3" "mp2" "aac" "alac" "flac" "opus" "vorbis" "ac3" "eac3" "pcm_s16le"…``
        container: ``"mp3" "adts" "ac3" "mp4" "fmp4" "flac" "ogg" "wav" "aiff" "mpegts" "matroska"``, or ``"hls"`` for a
            playlist.
        bitrate: Bits per second, where the container tells it or the sizes give it.
        profile: A finer name of the codec, such as ``"HE-AAC"`` or ``"LC"``.
        rate: Frames per second of the decoded audio.
        channels: Channels of the decoded audio.
        duration_estimate: Seconds, guessed from bitrate and size; a told duration is the decoder's `duration`.
    """

    codec: str | None = None
    container: str | None = None
    bitrate: int | None = None
    profile: str | None = None
    rate: int | None = None
    channels: int | None = None
    duration_estimate: float | None = None

    def over(self, other: MediaInfo | None) -> MediaInfo:
        """This, with what is missing taken from *other*."""
        if other is None:
            return self
        gaps = {
            name: getattr(other, name)
            for name in self.__slots__
            if getattr(self, name) is None and getattr(other, name) is not None
        }
        return replace(self, **gaps)


_MP3 = MediaInfo(codec="mp3", container="mp3")
_MP2 = MediaInfo(codec="mp2", container="mp3")
_ADTS = MediaInfo(codec="aac", container="adts")
_AC3 = MediaInfo(codec="ac3", container="ac3")
_EAC3 = MediaInfo(codec="eac3", container="ac3")
_MP4 = MediaInfo(container="mp4")
_FLAC = MediaInfo(codec="flac", container="flac")
_OGG = MediaInfo(container="ogg")
_WAV = MediaInfo(container="wav")
_AIFF = MediaInfo(container="aiff")
_TS = MediaInfo(container="mpegts")
_MATROSKA = MediaInfo(container="matroska")
_HLS = MediaInfo(container="hls")

_TYPES = {
    "audio/mpeg": _MP3,
    "audio/mp3": _MP3,
    "audio/x-mp3": _MP3,
    "audio/mpeg3": _MP3,
    "audio/aac": _ADTS,
    "audio/aacp": _ADTS,
    "audio/x-aac": _ADTS,
    "audio/ac3": _AC3,
    "audio/eac3": _EAC3,
    "audio/mp4": _MP4,
    "audio/m4a": _MP4,
    "audio/x-m4a": _MP4,
    "audio/iso.segment": MediaInfo(container="fmp4"),
    "video/iso.segment": MediaInfo(container="fmp4"),
    "video/mp4": _MP4,
    "video/quicktime": _MP4,
    "audio/flac": _FLAC,
    "audio/x-flac": _FLAC,
    "audio/ogg": _OGG,
    "application/ogg": _OGG,
    "audio/opus": MediaInfo(codec="opus", container="ogg"),
    "audio/vorbis": MediaInfo(codec="vorbis", container="ogg"),
    "audio/wav": _WAV,
    "audio/wave": _WAV,
    "audio/x-wav": _WAV,
    "audio/vnd.wave": _WAV,
    "audio/aiff": _AIFF,
    "audio/x-aiff": _AIFF,
    "video/mp2t": _TS,
    "audio/mp2t": _TS,
    "audio/webm": _MATROSKA,
    "video/webm": _MATROSKA,
    "audio/x-matroska": _MATROSKA,
    "video/x-matroska": _MATROSKA,
    "application/vnd.apple.mpegurl": _HLS,
    "application/x-mpegurl": _HLS,
    "audio/mpegurl": _HLS,
    "audio/x-mpegurl": _HLS,
}

_SUFFIXES = {
    "mp3": _MP3,
    "mp2": _MP2,
    "aac": _ADTS,
    "adts": _ADTS,
    "ac3": _AC3,
    "ec3": _EAC3,
    "eac3": _EAC3,
    "m4a": _MP4,
    "m4b": _MP4,
    "mp4": _MP4,
    "mov": _MP4,
    "m4s": MediaInfo(container="fmp4"),
    "cmfa": MediaInfo(container="fmp4"),
    "flac": _FLAC,
    "ogg": _OGG,
    "oga": _OGG,
    "opus": MediaInfo(codec="opus", container="ogg"),
    "wav": _WAV,
    "wave": _WAV,
    "aif": _AIFF,
    "aiff": _AIFF,
    "aifc": _AIFF,
    "ts": _TS,
    "webm": _MATROSKA,
    "weba": _MATROSKA,
    "mka": _MATROSKA,
    "mkv": _MATROSKA,
    "m3u8": _HLS,
    "m3u": _HLS,
}

_CODECS = {
    "mp4a.40.34": "mp3",
    "mp4a.40": "aac",
    "mp4a.6b": "mp3",
    "mp4a.69": "mp3",
    "mp3": "mp3",
    "opus": "opus",
    "vorbis": "vorbis",
    "flac": "flac",
    "alac": "alac",
    "ac-3": "ac3",
    "ec-3": "eac3",
}


def from_content_type(value: str | None) -> MediaInfo | None:
    """What a Content-Type header says, its ``codecs=`` parameter included, or None."""
    if not value:
        return None
    kind, *parameters = value.split(";")
    media = _TYPES.get(kind.strip().lower())
    if media is None:
        return None
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip().lower() == "codecs" and (codec := _codec_name(text.strip().strip('"'))):
            return replace(media, codec=codec)
    return media


def _codec_name(codecs: str) -> str | None:
    for item in codecs.split(","):
        name = item.strip().lower()
        for prefix, codec in _CODECS.items():
            if name.startswith(prefix):
                return codec
    return None


def from_suffix(path: str) -> MediaInfo | None:
    """What the suffix of a path or URL path says, or None."""
    name = path.split("?", 1)[0].split("#", 1)[0].rsplit("/", 1)[-1]
    return _SUFFIXES.get(name.rsplit(".", 1)[-1].lower()) if "." in name else None


def id3_size(head: bytes) -> int:
    """Bytes that an ID3v2 tag at the start of *head* takes (10 of them tell), header and footer included, or 0."""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or max(head[6:10]) >= 0x80:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return size + 10 + (10 if head[5] & 0x10 else 0)


def sniff(head: bytes) -> MediaInfo | None:
    """What the first bytes are (64 suffice after a tag; 564 tell a transport stream for sure), or None.

    An ID3v2 tag is looked past when *head* reaches behind it; a tag alone says mp3, which it nearly always is.
    """
    if size := id3_size(head):
        behind = head[size:]
        return (sniff(behind) if len(behind) >= 4 else None) or _MP3
    if head[:4] == b"fLaC":
        return _FLAC
    if head[:4] == b"OggS":
        return _sniff_ogg(head)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _WAV
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _AIFF
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _MATROSKA
    if head[4:8] in (b"ftyp", b"moov", b"styp", b"moof", b"sidx", b"mdat", b"free", b"skip", b"wide", b"emsg", b"prft"):
        return MediaInfo(container="fmp4") if head[4:8] in (b"styp", b"moof", b"sidx", b"emsg", b"prft") else _MP4
    if head[:2] == b"\x0b\x77" and len(head) >= 6 and head[5] >> 3 <= 16:
        return _EAC3 if head[5] >> 3 > 10 else _AC3
    text = head[3:] if head[:3] == b"\xef\xbb\xbf" else head
    if text.lstrip()[:7] == b"#EXTM3U":
        return _HLS
    if _is_transport_stream(head):
        return _TS
    if len(head) >= 2 and head[0] == 0xFF:
        if head[1] & 0xF6 == 0xF0:
            return _ADTS
        if head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08 and head[1] & 0x06 in (0x02, 0x04):
            return _MP3 if head[1] & 0x06 == 0x02 else _MP2
    return None


def _sniff_ogg(head: bytes) -> MediaInfo:
    for mark, codec in ((b"OpusHead", "opus"), (b"\x01vorbis", "vorbis"), (b"\x7fFLAC", "flac")):
        if mark in head[:128]:
            return replace(_OGG, codec=codec)
    return _OGG


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes at 188-byte steps; one packet alone is believed when its PID is a table's."""
    if len(head) < 4 or head[0] != 0x47:
        return False
    if len(head) > 188:
        return all(head[at] == 0x47 for at in range(188, min(len(head), 565), 188))
    return (head[1] & 0x1F) << 8 | head[2] in (0x0000, 0x0011, 0x1FFF)
