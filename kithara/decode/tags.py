"""Tags and cover art, out of ID3v2, Vorbis comments, iTunes atoms, RIFF INFO and Matroska."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

__all__ = ["Picture", "Tags", "flac_picture", "id3", "riff_info", "vorbis_comment"]

Tags = dict[str, str]
"""Lower-case names (``title artist album album_artist date track disc genre composer comment…``) to text."""

MAX_PICTURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in a tag: its bytes, their type (``image/jpeg``) and what it shows (3 is the front cover)."""

    data: bytes
    mime: str
    kind: int = 3
    description: str = ""


_ID3 = {
    "TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "album_artist", "TDRC": "date", "TYER": "date",
    "TRCK": "track", "TPOS": "disc", "TCON": "genre", "TCOM": "composer", "TBPM": "bpm", "TSRC": "isrc",
    "TCOP": "copyright", "TENC": "encoded_by", "TSSE": "encoder", "TPUB": "publisher",
    "TT2": "title", "TP1": "artist", "TAL": "album", "TP2": "album_artist", "TYE": "date", "TRK": "track",
    "TPA": "disc", "TCO": "genre", "TCM": "composer", "TSS": "encoder",
}  # fmt: skip

_COMMENTS = {
    "tracknumber": "track", "discnumber": "disc", "albumartist": "album_artist", "album artist": "album_artist",
    "description": "comment", "organization": "publisher", "year": "date", "part_number": "track",
    "date_released": "date", "date_recorded": "date",
}  # fmt: skip

_INFO = {
    "INAM": "title", "IART": "artist", "IPRD": "album", "ICRD": "date", "IGNR": "genre", "ICMT": "comment",
    "ITRK": "track", "IPRT": "track", "ISFT": "encoder", "ICOP": "copyright",
}  # fmt: skip

_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")


def common_name(name: str) -> str:
    """The one name used here for a Vorbis comment or Matroska tag called *name*."""
    lower = name.strip().lower()
    return _COMMENTS.get(lower, lower)


def put(tags: Tags, name: str, text: str) -> None:
    """Add *text* under *name*; several values of one name are joined by ``; ``."""
    text = text.strip("\0 ").replace("\0", "; ")
    if not text:
        return
    tags[name] = f"{tags[name]}; {text}" if name in tags and text not in tags[name] else tags.get(name, text)


def _text(encoding: int, data: bytes) -> str:
    return data.decode(_ENCODINGS[encoding] if encoding < 4 else "latin-1", "replace")


def _split_text(encoding: int, data: bytes) -> tuple[str, bytes]:
    """A terminated string and what follows it."""
    if encoding in (1, 2):
        for at in range(0, len(data) - 1, 2):
            if data[at : at + 2] == b"\0\0":
                return _text(encoding, data[:at]), data[at + 2 :]
        return _text(encoding, data), b""
    text, _, rest = data.partition(b"\0")
    return _text(encoding, text), rest


def _syncsafe(data: bytes) -> int:
    return data[0] << 21 | data[1] << 14 | data[2] << 7 | data[3]


def id3(tag: bytes) -> tuple[Tags, tuple[Picture, ...]]:
    """What the ID3v2 tag *tag* (header included) says. Damage ends the reading, never raises."""
    tags: Tags = {}
    pictures: list[Picture] = []
    version, flags = tag[3], tag[5]
    body = tag[10:]
    if flags & 0x80 and version < 4:
        body = body.replace(b"\xff\x00", b"\xff")
    if flags & 0x40 and len(body) >= 4 and version >= 3:
        body = body[_syncsafe(body) if version == 4 else 4 + int.from_bytes(body[:4], "big") :]
    old = version == 2
    width = 6 if old else 10
    while len(body) > width and body[0]:
        name = body[: 3 if old else 4].decode("latin-1")
        if old:
            size = int.from_bytes(body[3:6], "big")
        else:
            size = _syncsafe(body[4:8]) if version == 4 and max(body[4:8]) < 0x80 else int.from_bytes(body[4:8], "big")
        data, form = body[width : width + size], 0 if old else body[9]
        if version == 4 and form & 0x01:
            data = data[4:]
        if version == 4 and form & 0x02:
            data = data.replace(b"\xff\x00", b"\xff")
        if data:
            _id3_frame(name, data, tags, pictures)
        body = body[width + size :]
    return tags, tuple(pictures)


def _id3_frame(name: str, data: bytes, tags: Tags, pictures: list[Picture]) -> None:
    encoding, rest = data[0], data[1:]
    if name in _ID3:
        put(tags, _ID3[name], _text(encoding, rest))
    elif name in ("TXXX", "TXX"):
        label, rest = _split_text(encoding, rest)
        put(tags, common_name(label), _text(encoding, rest))
    elif name in ("COMM", "COM") and len(rest) > 3:
        _, rest = _split_text(encoding, rest[3:])
        put(tags, "comment", _text(encoding, rest))
    elif name in ("APIC", "PIC") and len(pictures) < MAX_PICTURES:
        if name == "PIC":
            mime, rest = f"image/{rest[:3].decode('latin-1').lower().replace('jpg', 'jpeg')}", rest[3:]
        else:
            mime, rest = _split_text(0, rest)
        if rest:
            kind = rest[0]
            description, image = _split_text(encoding, rest[1:])
            pictures.append(Picture(data=image, mime=mime, kind=kind, description=description))


def vorbis_comment(data: bytes) -> tuple[Tags, tuple[Picture, ...]]:
    """What a Vorbis comment block (without any magic before it) says."""
    tags: Tags = {}
    pictures: list[Picture] = []
    at = 4 + int.from_bytes(data[:4], "little")
    count = int.from_bytes(data[at : at + 4], "little")
    at += 4
    for _ in range(count):
        if at + 4 > len(data):
            break
        size = int.from_bytes(data[at : at + 4], "little")
        text = data[at + 4 : at + 4 + size].decode("utf-8", "replace")
        at += 4 + size
        name, _, value = text.partition("=")
        if name.lower() == "metadata_block_picture" and len(pictures) < MAX_PICTURES:
            try:
                picture = flac_picture(base64.b64decode(value, validate=True))
            except (binascii.Error, ValueError):
                continue
            if picture is not None:
                pictures.append(picture)
        elif name and value:
            put(tags, common_name(name), value)
    return tags, tuple(pictures)


def flac_picture(data: bytes) -> Picture | None:
    """The picture in a FLAC PICTURE block, or None when it is cut off."""
    if len(data) < 32:
        return None
    kind = int.from_bytes(data[:4], "big")
    size = int.from_bytes(data[4:8], "big")
    mime = data[8 : 8 + size].decode("latin-1")
    at = 8 + size
    size = int.from_bytes(data[at : at + 4], "big")
    description = data[at + 4 : at + 4 + size].decode("utf-8", "replace")
    at += 4 + size + 16
    size = int.from_bytes(data[at : at + 4], "big")
    image = data[at + 4 : at + 4 + size]
    return Picture(data=image, mime=mime, kind=kind, description=description) if size == len(image) > 0 else None


def riff_info(body: bytes) -> Tags:
    """What a RIFF ``LIST INFO`` body (after ``INFO``) says."""
    tags: Tags = {}
    at = 0
    while at + 8 <= len(body):
        name = body[at : at + 4].decode("latin-1")
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        if name in _INFO:
            put(tags, _INFO[name], body[at + 8 : at + 8 + size].decode("utf-8", "replace"))
        at += 8 + size + (size & 1)
    return tags
