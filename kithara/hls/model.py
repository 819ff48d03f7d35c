"""What a playlist says, as frozen values: `MasterPlaylist` and `MediaPlaylist` with their parts.

URIs are absolute and fit for the wire. Byte ranges are resolved to ``(start, stop)``. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

IDENTITY = "identity"

PlaylistKind = Literal["vod", "event", "live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """How the segments after it are encrypted.

    Attributes:
        method: ``METHOD`` as written; ``"AES-128"`` with key format ``"identity"`` is what can be played.
        uri: Where the key is: absolute for identity AES-128, else as written.
        iv: 16 bytes, or None: derive it from the segment's media sequence number (RFC 8216, 5.2).
        keyformat: ``"identity"`` unless the playlist says otherwise.
    """

    method: str
    uri: str | None
    iv: bytes | None = None
    keyformat: str = IDENTITY

    @property
    def supported(self) -> bool:
        """Whether segments under this key can be decrypted: AES-128 with the key itself at the URI."""
        return self.method == "AES-128" and self.keyformat == IDENTITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """A media initialization section (``EXT-X-MAP``). *key* is None where no key preceded it: it is in the clear."""

    uri: str
    byterange: tuple[int, int] | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class MediaSegment:
    """One media segment of a playlist.

    Attributes:
        uri: Absolute URL.
        duration: Seconds, finite and never negative.
        sequence: Media sequence number.
        byterange: ``(start, stop)`` within *uri*, or None for all of it.
        key: How it is encrypted, or None when it is in the clear.
        init: The initialization section it needs, or None.
        discontinuity: Discontinuity sequence number; a change of it is a joint in timestamps or format.
        gap: Whether the segment is known to be missing and must not be fetched.
        title: What stands behind the comma of ``EXTINF``.
        date_text: ``EXT-X-PROGRAM-DATE-TIME`` as written for this segment, or None.
    """

    uri: str
    duration: float
    sequence: int
    byterange: tuple[int, int] | None = None
    key: Key | None = None
    init: Init | None = None
    discontinuity: int = 0
    gap: bool = False
    title: str = ""
    date_text: str | None = None

    @property
    def program_date_time(self) -> datetime | None:
        """The wall-clock time of the first sample, or None where none was given or it cannot be read.

        Read from the text on each call: most players of a long list never ask.
        """
        if self.date_text is None:
            return None
        try:
            return datetime.fromisoformat(self.date_text)
        except ValueError:
            return None


class SegmentDraft:
    """Builds a `MediaSegment` five times faster than its own frozen constructor: a list may have 50 000.

    The layout is the same, so `freeze` only changes the class.
    """

    __slots__ = MediaSegment.__slots__

    def __init__(
        self,
        uri: str,
        duration: float,
        sequence: int,
        byterange: tuple[int, int] | None,
        key: Key | None,
        init: Init | None,
        discontinuity: int,
        gap: bool,
        title: str,
        date_text: str | None,
    ) -> None:
        self.uri = uri
        self.duration = duration
        self.sequence = sequence
        self.byterange = byterange
        self.key = key
        self.init = init
        self.discontinuity = discontinuity
        self.gap = gap
        self.title = title
        self.date_text = date_text


def freeze(draft: SegmentDraft) -> MediaSegment:
    """*draft* itself, as a segment from now on."""
    thawed: Any = draft
    thawed.__class__ = MediaSegment
    segment: MediaSegment = thawed
    return segment


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlaylist:
    """The segments of one rendition.

    Attributes:
        url: Where the list came from, after redirects.
        segments: In playing order, with contiguous sequence numbers.
        kind: ``"vod"`` (complete), ``"event"`` (grows at the end) or ``"live"`` (a sliding window).
        ended: Whether no segment will ever be added: ``EXT-X-ENDLIST``, or the type is VOD.
        target_duration: Seconds; the longest segment's where the tag is missing or absurd.
        media_sequence: Sequence number of the first segment.
        discontinuity_sequence: Discontinuity number that the first segment counts from.
        start: Preferred start in seconds, from the end when negative, or None.
        start_precise: Whether what sounds before it in its segment is not to be heard.
        version: ``EXT-X-VERSION``, 1 unless said.
        independent_segments: Whether each segment can be decoded without those before it.
        iframes_only: Whether these are pictures for fast forward, not a programme.
    """

    url: str
    segments: tuple[MediaSegment, ...]
    kind: PlaylistKind
    ended: bool
    target_duration: float
    media_sequence: int = 0
    discontinuity_sequence: int = 0
    start: float | None = None
    start_precise: bool = False
    version: int = 1
    independent_segments: bool = False
    iframes_only: bool = False

    @property
    def duration(self) -> float:
        """Seconds of all listed segments together."""
        return sum(segment.duration for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One stream of a master playlist, in the playlist's own order.

    Attributes:
        uri: Absolute URL of the media playlist.
        bandwidth: Peak bits per second; 0 where the playlist fails to say.
        average_bandwidth: Mean bits per second, or None.
        codecs: ``CODECS`` as written, or None.
        audio: Group of the audio renditions that belong to it, or None.
        resolution: Width and height of its picture, or None.
        score: The author's own ranking, or None.
    """

    uri: str
    bandwidth: int = 0
    average_bandwidth: int | None = None
    codecs: str | None = None
    audio: str | None = None
    resolution: tuple[int, int] | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """An alternative rendition (``EXT-X-MEDIA``). *uri* is None when it is muxed into the variants of its group.

    Attributes:
        type: ``"AUDIO"``, ``"VIDEO"``, ``"SUBTITLES"`` or ``"CLOSED-CAPTIONS"``.
        channels: ``CHANNELS`` as written, or None; the count stands before the first slash.
    """

    type: str
    group_id: str
    name: str = ""
    uri: str | None = None
    language: str | None = None
    default: bool = False
    autoselect: bool = False
    channels: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterPlaylist:
    """The streams to choose from.

    Attributes:
        url: Where the list came from, after redirects.
        variables: ``EXT-X-DEFINE`` values; give them to `parse_playlist` for the media playlists.
        session_keys: Keys that its media playlists will name.
        start, start_precise: As of a media playlist; for all of them.
    """

    url: str
    variants: tuple[Variant, ...]
    renditions: tuple[Rendition, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    session_keys: tuple[Key, ...] = ()
    start: float | None = None
    start_precise: bool = False
    version: int = 1
    independent_segments: bool = False
