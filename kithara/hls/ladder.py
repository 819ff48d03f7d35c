"""From a master playlist to the variants that an audio player can choose among. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..media import MediaInfo, from_content_type, from_suffix
from .model import MasterPlaylist, Rendition, Variant

_VIDEO = ("avc", "hvc", "hev", "vp0", "vp8", "vp9", "av01", "dvh", "mp4v", "s263")
_TEXT = ("wvtt", "stpp")


@dataclass(frozen=True, slots=True, kw_only=True)
class HlsVariant:
    """One of the presentation's variants.

    Attributes:
        index: Its number, as `set_variant` and ``as_file(variant=)`` take it.
        uri: The URL of its media playlist.
        bandwidth: Peak bits per second, 0 where the playlist fails to say.
        average_bandwidth: Mean bits per second, or None.
        codecs: ``CODECS`` as written, or None.
        language: Of its alternative audio, or None.
        channels: ``CHANNELS`` of its alternative audio, or None.
        alone: Its playlist is that of its alternative audio, without the picture that *codecs* may tell of.
    """

    index: int
    uri: str
    bandwidth: int = 0
    average_bandwidth: int | None = None
    codecs: str | None = None
    language: str | None = None
    channels: str | None = None
    alone: bool = False

    @property
    def rate(self) -> int:
        """Bits per second to reckon with: the mean where it is told."""
        return self.average_bandwidth or self.bandwidth

    def media(self, uri: str) -> MediaInfo | None:
        """What a segment at *uri* of this variant is, by codecs and suffix."""
        by_suffix = from_suffix(uri)
        sounding = ",".join(audio_codecs(self.codecs))
        told = from_content_type(f'audio/mp4; codecs="{sounding}"') if sounding else None
        if told is None or told.codec is None:
            return by_suffix
        return MediaInfo(codec=told.codec, container=None if by_suffix is None else by_suffix.container)


def ladder(master: MasterPlaylist, language: str | None = None) -> tuple[HlsVariant, ...]:
    """The variants worth choosing, in the playlist's order.

    A variant with an audio group stands for the group's best rendition, each playlist once at its lowest bandwidth.
    Variants without audible codecs are left out, unless that would leave none.
    """
    found: dict[str, tuple[Variant, Rendition | None]] = {}
    for variant in master.variants:
        rendition = _rendition(master, variant, language)
        uri = rendition.uri if rendition is not None and rendition.uri is not None else variant.uri
        held = found.get(uri)
        if held is None or 0 < variant.bandwidth < held[0].bandwidth:
            found[uri] = (variant, rendition)
    audible = {uri: pair for uri, pair in found.items() if _is_audible(*pair)} or found
    return tuple(
        HlsVariant(
            index=index,
            uri=uri,
            bandwidth=variant.bandwidth,
            average_bandwidth=variant.average_bandwidth,
            codecs=variant.codecs,
            language=None if rendition is None else rendition.language,
            channels=None if rendition is None else rendition.channels,
            alone=rendition is not None and rendition.uri is not None,
        )
        for index, (uri, (variant, rendition)) in enumerate(audible.items())
    )


def _rendition(master: MasterPlaylist, variant: Variant, language: str | None) -> Rendition | None:
    """The one of the variant's audio group to play: by language, then the default, then any that may be chosen."""
    group = [r for r in master.renditions if r.type == "AUDIO" and r.group_id == variant.audio]
    if not group:
        return None
    return max(
        group, key=lambda r: (language is not None and r.language == language, r.default, r.autoselect)
    )  # the first of equals


def _is_audible(variant: Variant, rendition: Rendition | None) -> bool:
    return rendition is not None or variant.codecs is None or bool(audio_codecs(variant.codecs))


def audio_codecs(codecs: str | None) -> list[str]:
    """Those of *codecs* that are neither pictures nor text."""
    names = [name.strip() for name in (codecs or "").split(",")]
    return [name for name in names if name and not name.lower().startswith((*_VIDEO, *_TEXT))]
