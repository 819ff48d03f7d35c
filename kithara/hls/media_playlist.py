"""Reads a media playlist: its lines to a `MediaPlaylist`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import PlaylistTooLarge
from .attributes import Variables, parse_attributes
from .model import IDENTITY, Init, Key, MediaPlaylist, MediaSegment, PlaylistKind, SegmentDraft, freeze
from .uri import UriBase

MAX_SEGMENTS = 50_000
MAX_DURATION = 1e6
"""Seconds a segment may claim to last; more would make the timeline meaningless."""

MASTER_TAGS = (
    "#EXT-X-STREAM-INF",
    "#EXT-X-MEDIA",
    "#EXT-X-I-FRAME-STREAM-INF",
    "#EXT-X-SESSION-DATA",
    "#EXT-X-SESSION-KEY",
    "#EXT-X-CONTENT-STEERING",
)
_BLANKS = " \t\r"
_HEX = re.compile(r"0[xX][0-9A-Fa-f]{1,32}")
_DECIMAL_DIGITS = 20  # 2**64 - 1, the largest decimal-integer of RFC 8216, has so many


class MasterTagMet(Exception):
    """The lines belong to a master playlist."""


class MediaParser:
    """State while the lines of one media playlist are read. Methods raise ValueError with the reason."""

    def __init__(self, url: str, variables: Variables) -> None:
        self._url = url
        self._base = UriBase(url)
        self._variables = variables
        self._segments: list[MediaSegment] = []
        self._keys: dict[str, Key] = {}
        self._key: Key | None = None
        self._init: Init | None = None
        self._discontinuities = 0
        self._discontinuity_base: int | None = None
        self._media_sequence: int | None = None
        self._sequence = 0
        self._target_duration: float | None = None
        self._type: str | None = None
        self._end_seen = False
        self._start: float | None = None
        self._start_precise = False
        self._version = 1
        self._independent = False
        self._iframes_only = False
        self._byterange: tuple[int, int | None] | None = None  # length and offset, of the next segment
        self._gap = False
        self._date: str | None = None
        self._any_tag = False
        self.line: int = 0

    def parse(self, lines: Sequence[str]) -> MediaPlaylist:
        """The playlist. On ValueError, `line` is the line at fault. Raises MasterTagMet if it is a master playlist."""
        segments = self._segments
        tags = _TAGS
        expand = self._variables.expand
        resolve = self._base.resolve
        duration: float | None = None
        title = ""
        text = uri = ""
        for number, raw in enumerate(lines, 1):
            line = raw.strip(_BLANKS)
            if not line:
                continue
            if line[0] != "#":
                if duration is None:  # a URI without EXTINF is no segment, and what was said of it is void
                    self._byterange = self._date = None
                    self._gap = False
                    continue
                self.line = number
                if line != text:  # byte ranges name the same file over and over
                    text, uri = line, resolve(expand(line))
                if len(segments) >= MAX_SEGMENTS:
                    raise PlaylistTooLarge(f"more than {MAX_SEGMENTS} segments", url=self._url)
                draft = SegmentDraft(
                    uri,
                    duration,
                    self._sequence,
                    None if self._byterange is None else self._resolve_range(uri),
                    self._key,
                    self._init,
                    self._discontinuities,
                    self._gap,
                    title,
                    self._date,
                )
                segments.append(freeze(draft))
                self._sequence += 1
                self._gap = False
                duration = self._date = None
            elif line.startswith("#EXTINF:"):
                self.line = number
                seconds, _, title = line[8:].partition(",")
                duration = _duration(seconds)
            elif line.startswith("#EXT"):
                name, _, value = line.partition(":")
                if (read := tags.get(name)) is not None:
                    self.line = number
                    self._any_tag = True
                    read(self, value)
        return self._finish(lines)

    def _finish(self, lines: Sequence[str]) -> MediaPlaylist:
        segments = self._segments
        if not segments and not self._any_tag:
            self.line = len(lines)
            raise ValueError("no segments and no media playlist tags")
        base = self._discontinuity_base or 0
        if base:
            segments = [replace(segment, discontinuity=base + segment.discontinuity) for segment in segments]
        target = self._target_duration
        if target is None:
            target = max((segment.duration for segment in segments), default=0.0)
        ended = self._end_seen or self._type == "VOD"
        kind: PlaylistKind = "event" if self._type == "EVENT" else "vod" if ended else "live"
        return MediaPlaylist(
            url=self._url,
            segments=tuple(segments),
            kind=kind,
            ended=ended,
            target_duration=target,
            media_sequence=self._media_sequence or 0,
            discontinuity_sequence=base,
            start=self._start,
            start_precise=self._start_precise,
            version=self._version,
            independent_segments=self._independent,
            iframes_only=self._iframes_only,
        )

    def _attributes(self, value: str) -> dict[str, str]:
        return parse_attributes(self._variables.expand(value))

    def _resolve_range(self, uri: str) -> tuple[int, int]:
        assert self._byterange is not None
        length, offset = self._byterange
        self._byterange = None
        if offset is None:
            previous = self._segments[-1] if self._segments else None
            if previous is None or previous.byterange is None or previous.uri != uri:
                raise ValueError("a byte range without an offset must follow a byte range of the same resource")
            offset = previous.byterange[1]
        return offset, offset + length

    def _read_byterange(self, value: str) -> None:
        self._byterange = parse_byterange(value)

    def _read_key(self, value: str) -> None:
        attributes = self._attributes(value)
        key = parse_key(attributes, self._base)
        if key is None:
            self._keys.clear()
        else:
            self._keys[key.keyformat] = key
        identity = self._keys.get(IDENTITY)
        if identity is not None and identity.supported:
            self._key = identity
        else:
            self._key = next(iter(self._keys.values()), None)

    def _read_map(self, value: str) -> None:
        attributes = self._attributes(value)
        if not attributes.get("URI"):
            raise ValueError("EXT-X-MAP without URI")
        key = self._key
        if key is not None and key.supported and key.iv is None:
            raise ValueError("an encrypted EXT-X-MAP needs an explicit IV")
        byterange = None
        if "BYTERANGE" in attributes:
            length, offset = parse_byterange(attributes["BYTERANGE"])
            start = offset or 0
            byterange = (start, start + length)
        self._init = Init(uri=self._base.resolve(attributes["URI"], data=True), byterange=byterange, key=key)

    def _read_media_sequence(self, value: str) -> None:
        if self._media_sequence is not None:
            raise ValueError("EXT-X-MEDIA-SEQUENCE a second time")
        if self._segments:
            raise ValueError("EXT-X-MEDIA-SEQUENCE after the first segment")
        self._media_sequence = self._sequence = _decimal(value, "EXT-X-MEDIA-SEQUENCE")

    def _read_discontinuity(self, value: str) -> None:
        self._discontinuities += 1

    def _read_discontinuity_sequence(self, value: str) -> None:
        self._discontinuity_base = _decimal(value, "EXT-X-DISCONTINUITY-SEQUENCE")

    def _read_target_duration(self, value: str) -> None:
        try:
            seconds = float(value)
        except ValueError:
            return
        if 0 < seconds <= MAX_DURATION:
            self._target_duration = seconds

    def _read_type(self, value: str) -> None:
        self._type = value.strip(_BLANKS)

    def _read_end(self, value: str) -> None:
        self._end_seen = True

    def _read_gap(self, value: str) -> None:
        self._gap = True

    def _read_date(self, value: str) -> None:
        self._date = value.strip(_BLANKS)

    def _read_start(self, value: str) -> None:
        self._start, self._start_precise = parse_start(self._attributes(value))

    def _read_define(self, value: str) -> None:
        self._variables.define(self._attributes(value))

    def _read_version(self, value: str) -> None:
        self._version = parse_version(value)

    def _read_independent(self, value: str) -> None:
        self._independent = True

    def _read_iframes_only(self, value: str) -> None:
        self._iframes_only = True

    def _refuse_skip(self, value: str) -> None:
        raise ValueError("EXT-X-SKIP in a playlist that was asked for whole")

    def _leave(self, value: str) -> None:
        raise MasterTagMet


_TAGS: dict[str, Callable[[MediaParser, str], None]] = {
    "#EXT-X-BYTERANGE": MediaParser._read_byterange,
    "#EXT-X-DEFINE": MediaParser._read_define,
    "#EXT-X-DISCONTINUITY": MediaParser._read_discontinuity,
    "#EXT-X-DISCONTINUITY-SEQUENCE": MediaParser._read_discontinuity_sequence,
    "#EXT-X-ENDLIST": MediaParser._read_end,
    "#EXT-X-GAP": MediaParser._read_gap,
    "#EXT-X-I-FRAMES-ONLY": MediaParser._read_iframes_only,
    "#EXT-X-INDEPENDENT-SEGMENTS": MediaParser._read_independent,
    "#EXT-X-KEY": MediaParser._read_key,
    "#EXT-X-MAP": MediaParser._read_map,
    "#EXT-X-MEDIA-SEQUENCE": MediaParser._read_media_sequence,
    "#EXT-X-PLAYLIST-TYPE": MediaParser._read_type,
    "#EXT-X-PROGRAM-DATE-TIME": MediaParser._read_date,
    "#EXT-X-SKIP": MediaParser._refuse_skip,
    "#EXT-X-START": MediaParser._read_start,
    "#EXT-X-TARGETDURATION": MediaParser._read_target_duration,
    "#EXT-X-VERSION": MediaParser._read_version,
    **dict.fromkeys(MASTER_TAGS, MediaParser._leave),
}


def parse_key(attributes: dict[str, str], base: UriBase) -> Key | None:
    """The key of an ``EXT-X-KEY`` or ``EXT-X-SESSION-KEY``, or None for ``METHOD=NONE``. Raises ValueError."""
    method = attributes.get("METHOD")
    if not method:
        raise ValueError("a key without METHOD")
    if method == "NONE":
        return None
    uri = attributes.get("URI")
    if not uri:
        raise ValueError("a key without URI")
    keyformat = attributes.get("KEYFORMAT") or IDENTITY
    key = Key(method=method, uri=uri, iv=_iv(attributes.get("IV")), keyformat=keyformat)
    return replace(key, uri=base.resolve(uri, data=True)) if key.supported else key


def parse_byterange(value: str) -> tuple[int, int | None]:
    """Length and offset, None where it is not said, of ``n[@o]``. Raises ValueError."""
    length, at, offset = value.partition("@")
    size = _decimal(length, "length of a byte range")
    if size == 0:
        raise ValueError("an empty byte range")
    start = _decimal(offset, "offset of a byte range") if at else None
    if (start or 0) + size >= 1 << 63:
        raise ValueError("a byte range beyond what a file can hold")
    return size, start


def parse_start(attributes: dict[str, str]) -> tuple[float | None, bool]:
    """``TIME-OFFSET`` of ``EXT-X-START`` in seconds, None where it cannot be read; and whether it is ``PRECISE``."""
    try:
        offset = float(attributes["TIME-OFFSET"])
    except (KeyError, ValueError):
        return None, False
    return (offset, attributes.get("PRECISE") == "YES") if math.isfinite(offset) else (None, False)


def parse_version(value: str) -> int:
    """``EXT-X-VERSION``; 1 where it cannot be read."""
    value = value.strip(_BLANKS)
    return int(value) if value.isascii() and value.isdigit() and len(value) < _DECIMAL_DIGITS else 1


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("EXTINF without a duration in seconds") from None
    if 0.0 <= seconds <= MAX_DURATION:
        return seconds
    if math.isnan(seconds) or seconds > MAX_DURATION:
        raise ValueError("EXTINF with an absurd duration")
    return 0.0  # time never runs backwards


def _decimal(text: str, what: str) -> int:
    text = text.strip(_BLANKS)
    if not (text.isascii() and text.isdigit() and len(text) <= _DECIMAL_DIGITS) or (number := int(text)) >= 1 << 64:
        raise ValueError(f"{what} is not a decimal number below 2^64")
    return number


def _iv(text: str | None) -> bytes | None:
    if text is None:
        return None
    if not _HEX.fullmatch(text):
        raise ValueError("IV is not a hexadecimal number of at most 128 bits")
    return int(text, 16).to_bytes(16, "big")
