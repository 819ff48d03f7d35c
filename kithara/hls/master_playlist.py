"""Reads a master (multivariant) playlist: its lines to a `MasterPlaylist`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import PlaylistTooLarge
from .attributes import Variables, parse_attributes
from .media_playlist import parse_key, parse_start, parse_version
from .model import Key, MasterPlaylist, Rendition, Variant
from .uri import UriBase

MAX_STREAMS = 1000
"""Variants, and renditions, that one master playlist may list."""

MEDIA_TAGS = (
    "#EXTINF",
    "#EXT-X-TARGETDURATION",
    "#EXT-X-MEDIA-SEQUENCE",
    "#EXT-X-DISCONTINUITY",
    "#EXT-X-DISCONTINUITY-SEQUENCE",
    "#EXT-X-ENDLIST",
    "#EXT-X-PLAYLIST-TYPE",
    "#EXT-X-KEY",
    "#EXT-X-MAP",
    "#EXT-X-BYTERANGE",
    "#EXT-X-GAP",
)
_BLANKS = " \t\r"


class MasterParser:
    """State while the lines of one master playlist are read. Methods raise ValueError with the reason."""

    def __init__(self, url: str, variables: Variables) -> None:
        self._url = url
        self._base = UriBase(url)
        self._variables = variables
        self._variants: dict[Variant, None] = {}
        self._renditions: list[Rendition] = []
        self._session_keys: list[Key] = []
        self._pending: dict[str, str] | None = None
        self._start: float | None = None
        self._start_precise = False
        self._version = 1
        self._independent = False
        self.line: int = 0

    def parse(self, lines: Sequence[str]) -> MasterPlaylist:
        """The playlist. On ValueError, `line` is the line at fault."""
        for number, raw in enumerate(lines, 1):
            line = raw.strip(_BLANKS)
            if not line:
                continue
            self.line = number
            if line[0] != "#":
                self._add_variant(line)
                continue
            name, _, value = line.partition(":")
            if (read := _TAGS.get(name)) is not None:
                read(self, value)
            elif name in MEDIA_TAGS:
                raise ValueError("tags of a master and of a media playlist in one")
        if not self._variants:
            raise ValueError("a master playlist without a variant")
        return MasterPlaylist(
            url=self._url,
            variants=tuple(self._variants),
            renditions=tuple(self._renditions),
            variables=dict(self._variables.values),
            session_keys=tuple(self._session_keys),
            start=self._start,
            start_precise=self._start_precise,
            version=self._version,
            independent_segments=self._independent,
        )

    def _attributes(self, value: str) -> dict[str, str]:
        return parse_attributes(self._variables.expand(value))

    def _add_variant(self, line: str) -> None:
        if self._pending is None:
            return
        attributes, self._pending = self._pending, None
        if len(self._variants) >= MAX_STREAMS:
            raise PlaylistTooLarge(f"more than {MAX_STREAMS} variants", url=self._url)
        variant = Variant(
            uri=self._base.resolve(self._variables.expand(line)),
            bandwidth=_whole(attributes.get("BANDWIDTH")) or 0,
            average_bandwidth=_whole(attributes.get("AVERAGE-BANDWIDTH")),
            codecs=attributes.get("CODECS") or None,
            audio=attributes.get("AUDIO") or None,
            resolution=_resolution(attributes.get("RESOLUTION", "")),
            score=_number(attributes.get("SCORE")),
        )
        self._variants[variant] = None  # an exact duplicate adds nothing

    def _read_stream(self, value: str) -> None:
        self._pending = self._attributes(value)

    def _read_rendition(self, value: str) -> None:
        attributes = self._attributes(value)
        kind, group = attributes.get("TYPE"), attributes.get("GROUP-ID")
        if not kind or not group:
            return  # nobody could refer to it
        if len(self._renditions) >= MAX_STREAMS:
            raise PlaylistTooLarge(f"more than {MAX_STREAMS} renditions", url=self._url)
        uri = attributes.get("URI")
        self._renditions.append(
            Rendition(
                type=kind,
                group_id=group,
                name=attributes.get("NAME", ""),
                uri=self._base.resolve(uri) if uri else None,
                language=attributes.get("LANGUAGE") or None,
                default=attributes.get("DEFAULT") == "YES",
                autoselect=attributes.get("AUTOSELECT") == "YES" or attributes.get("DEFAULT") == "YES",
                channels=attributes.get("CHANNELS") or None,
            )
        )

    def _read_session_key(self, value: str) -> None:
        if (key := parse_key(self._attributes(value), self._base)) is not None:
            self._session_keys.append(key)

    def _read_define(self, value: str) -> None:
        self._variables.define(self._attributes(value))

    def _read_start(self, value: str) -> None:
        self._start, self._start_precise = parse_start(self._attributes(value))

    def _read_version(self, value: str) -> None:
        self._version = parse_version(value)

    def _read_independent(self, value: str) -> None:
        self._independent = True


_TAGS: dict[str, Callable[[MasterParser, str], None]] = {
    "#EXT-X-DEFINE": MasterParser._read_define,
    "#EXT-X-INDEPENDENT-SEGMENTS": MasterParser._read_independent,
    "#EXT-X-MEDIA": MasterParser._read_rendition,
    "#EXT-X-SESSION-KEY": MasterParser._read_session_key,
    "#EXT-X-START": MasterParser._read_start,
    "#EXT-X-STREAM-INF": MasterParser._read_stream,
    "#EXT-X-VERSION": MasterParser._read_version,
}


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None or number >= 1 << 63 else int(number)


def _resolution(text: str) -> tuple[int, int] | None:
    width, _, height = text.partition("x")
    sizes = _whole(width), _whole(height)
    return (sizes[0], sizes[1]) if sizes[0] and sizes[1] else None
