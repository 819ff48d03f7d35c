"""Which demuxer reads which body: the first bytes decide, a hint only where they are silent."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..errors import DecodeError, UnsupportedMedia
from ..media import MediaInfo, id3_size, sniff
from .aiff import AiffDemuxer
from .dolby import DolbyDemuxer
from .flac import FlacDemuxer
from .matroska import MatroskaDemuxer
from .mp4 import open_mp4
from .mpeg import AdtsDemuxer, Mp3Demuxer
from .ogg import OggDemuxer
from .track import Demuxer
from .transport import TransportDemuxer
from .view import ByteView
from .wav import WavDemuxer

__all__ = ["open_demuxer"]

HEAD = 1024
MAX_TAGS = 16

_OPENERS: dict[str, Callable[[ByteView, int], Demuxer]] = {
    "mp3": Mp3Demuxer,
    "adts": AdtsDemuxer,
    "ac3": DolbyDemuxer,
    "mp4": open_mp4,
    "fmp4": open_mp4,
    "flac": FlacDemuxer,
    "ogg": OggDemuxer,
    "wav": WavDemuxer,
    "aiff": AiffDemuxer,
    "mpegts": TransportDemuxer,
    "matroska": MatroskaDemuxer,
}


def open_demuxer(view: ByteView, hint: MediaInfo | None = None) -> Demuxer:
    """The demuxer for what *view* holds. Waits for the first bytes; tags in front are skipped, not read.

    Raises:
        UnsupportedMedia: the bytes are no audio that is known here, such as a playlist or a page of HTML.
        DecodeError: they are damaged.
    """
    offset = 0
    for _ in range(MAX_TAGS):
        head = view.some(offset, 16, 4096)
        if not (size := id3_size(head)):
            break
        offset += size
    if not head:
        raise UnsupportedMedia("the body is empty" if not offset else "nothing follows the tags", operation="decoding")
    media = sniff(head)
    if media is None and len(head) < HEAD:
        media = sniff(view.some(offset, HEAD, 4096))
    if media is None and head[:4].lower() not in (b"<!do", b"<htm", b"<?xm", b"<mpd", b"ffco", b"v=0\r", b"v=0\n"):
        media = hint
    container = None if media is None else media.container
    if container is None and offset:
        container = "mp3"
    opener = _OPENERS.get(container or "")
    if opener is None:
        raise UnsupportedMedia(f"{_describe(head, container)}; expected audio", operation="decoding")
    try:
        return opener(view, offset)
    except (IndexError, OverflowError, struct.error) as exc:
        raise DecodeError(f"a damaged {container} header: {exc}") from exc


def _describe(head: bytes, container: str | None) -> str:
    if container == "hls":
        return "the body is an HLS playlist"
    text = head[:24].decode("latin-1")
    return f"the body begins with {text!r}" if text.isprintable() else f"the body begins with bytes {head[:8].hex(' ')}"
