"""`parse_playlist`: bytes that claim to be an HLS playlist, to frozen values or one typed error.

Strict where a guess would play the wrong thing (keys, IVs, ranges, sequence numbers), lenient where the world is
sloppy and the meaning clear. Pure: no I/O, no clock, time linear in the input.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import PlaylistInvalid, PlaylistTooLarge
from .attributes import Variables
from .master_playlist import MasterParser
from .media_playlist import MasterTagMet, MediaParser
from .model import MasterPlaylist, MediaPlaylist

MAX_BYTES = 8 << 20
MAX_LINES = 1_000_000
_OPERATION = "parsing a playlist"


def parse_playlist(
    data: bytes | str, url: str, variables: Mapping[str, str] | None = None
) -> MasterPlaylist | MediaPlaylist:
    """The master or media playlist in *data*.

    Args:
        data: The body; bytes are UTF-8, with or without a byte order mark.
        url: Where it came from after redirects: relative URIs, keys' too, are resolved against it.
        variables: `MasterPlaylist.variables`, for a media playlist that imports some.

    Raises:
        PlaylistInvalid: It is no playlist, or broken beyond a safe guess; ``line`` tells where.
        PlaylistTooLarge: Over 8 MiB, 50 000 segments or 1 000 variants or renditions.
    """
    if len(data) > MAX_BYTES:
        raise PlaylistTooLarge(f"a playlist of more than {MAX_BYTES} bytes", url=url, operation=_OPERATION)
    text = (data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")).removeprefix("\ufeff")
    if text.count("\n") >= MAX_LINES:
        raise PlaylistTooLarge(f"a playlist of more than {MAX_LINES} lines", url=url, operation=_OPERATION)
    first, _, _ = text.lstrip(" \t\r\n").partition("\n")
    if not (first.split(maxsplit=1) or [""])[0] == "#EXTM3U":
        raise PlaylistInvalid("not a playlist: it does not begin with #EXTM3U", line=1, url=url, operation=_OPERATION)
    lines = text.split("\n")
    parser: MediaParser | MasterParser = MediaParser(url, Variables(url, variables))
    try:
        try:
            return parser.parse(lines)
        except MasterTagMet:
            parser = MasterParser(url, Variables(url, variables))
            return parser.parse(lines)
    except ValueError as reason:
        raise PlaylistInvalid(str(reason), line=parser.line, url=url, operation=_OPERATION) from None
