"""A presentation as a folder that any HLS player plays: every variant, decrypted, with playlists of its own.

Encryption ends here, and so do byte ranges: each init section and each segment is a file. Names are those of the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .._core.chain import Chain
from .._core.reader import SyncReader
from .._core.store import Store
from ..errors import Unsupported
from ..io import CHUNK
from ..portal import portal
from .engine import Engine
from .ladder import HlsVariant, audio_codecs
from .model import Init, MediaPlaylist
from .names import MASTER, init_name, segment_name, variant_name

__all__ = ["exported", "master_text", "variant_text"]


def exported(engine: Engine, url: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and bytes of each file; what a playlist names comes before the playlist.

    Waits as it goes. Take the bytes of one file before the next.

    Raises:
        Unsupported: the presentation may grow.
        KitharaError: a playlist, a segment or a key cannot be had.
    """
    for variant in engine.variants:
        playlist = portal().run(engine.catalogue.load(variant.index)).playlist
        if not playlist.ended:
            raise Unsupported("a live presentation has no end that could be exported", url=url)
        yield from _media(engine, variant.index, playlist)
        yield variant_name(variant.index), iter((variant_text(variant.index, playlist).encode(),))
    yield MASTER, iter((master_text(engine.variants).encode(),))


def _media(engine: Engine, variant: int, playlist: MediaPlaylist) -> Iterator[tuple[str, Iterator[bytes]]]:
    done: set[str] = set()
    held = -1
    try:
        for index, segment in enumerate(playlist.segments):
            if segment.gap:
                continue
            slot = engine.part(variant, index)
            if held >= 0:
                engine.leave(variant, held)  # not before: what was fetched ahead of it would be forgotten
            held = index
            if segment.init is not None and (name := init_name(variant, segment.init)) not in done:
                done.add(name)
                section = engine.init_of(variant, index)
                assert section is not None  # the playlist said so
                yield name, _bytes(section.store)
            if (name := segment_name(variant, segment)) not in done:
                done.add(name)
                yield name, _bytes(slot.store)
    finally:
        if held >= 0:
            engine.leave(variant, held)


def _bytes(store: Store) -> Iterator[bytes]:
    with SyncReader(Chain([store])) as reader:  # which tells why it fails, whoever else has the store
        while piece := reader.read(CHUNK):
            yield piece


def master_text(variants: Sequence[HlsVariant]) -> str:
    """The master playlist over the lists of *variants*."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7"]
    for variant in variants:
        told = [f"BANDWIDTH={variant.bandwidth}"]
        if variant.average_bandwidth is not None:
            told.append(f"AVERAGE-BANDWIDTH={variant.average_bandwidth}")
        if variant.codecs is not None:  # of a rendition's picture, nothing is exported
            codecs = ",".join(audio_codecs(variant.codecs)) if variant.alone else variant.codecs
            told.append(f'CODECS="{codecs}"')
        lines += [f"#EXT-X-STREAM-INF:{','.join(told)}", variant_name(variant.index)]
    return "\n".join([*lines, ""])


def variant_text(index: int, playlist: MediaPlaylist) -> str:
    """The media playlist of variant *index*, as *playlist* but for where things are."""
    longest = max((segment.duration for segment in playlist.segments), default=0.0)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{max(math.floor(longest + 0.5), 1)}",
        f"#EXT-X-MEDIA-SEQUENCE:{playlist.media_sequence}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{playlist.discontinuity_sequence}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
    ]
    if playlist.independent_segments:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    if playlist.start is not None:
        lines.append(f"#EXT-X-START:TIME-OFFSET={playlist.start}{',PRECISE=YES' * playlist.start_precise}")
    init: Init | None = None
    discontinuity = playlist.discontinuity_sequence
    for segment in playlist.segments:
        lines += ["#EXT-X-DISCONTINUITY"] * max(segment.discontinuity - discontinuity, 0)
        discontinuity = segment.discontinuity
        if segment.init is not None and segment.init != init:
            lines.append(f'#EXT-X-MAP:URI="{init_name(index, segment.init)}"')
        init = segment.init
        if segment.program_date_time is not None:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{segment.program_date_time.isoformat()}")
        if segment.gap:
            lines.append("#EXT-X-GAP")
        lines += [f"#EXTINF:{segment.duration},{' '.join(segment.title.split())}", segment_name(index, segment)]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
