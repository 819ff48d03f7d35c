"""HLS: playlists read, segments in order, keys applied."""

from .events import SegmentGivenUp as SegmentGivenUp
from .events import SegmentLoaded as SegmentLoaded
from .events import VariantApplied as VariantApplied
from .events import VariantDecided as VariantDecided
from .keys import KeyContext as KeyContext
from .ladder import HlsVariant as HlsVariant
from .listening import HlsSegments as HlsSegments
from .model import Init as Init
from .model import Key as Key
from .model import MasterPlaylist as MasterPlaylist
from .model import MediaPlaylist as MediaPlaylist
from .model import MediaSegment as MediaSegment
from .model import Rendition as Rendition
from .model import Variant as Variant
from .options import HlsOptions as HlsOptions
from .options import HlsParams as HlsParams
from .playlist import parse_playlist as parse_playlist
from .session import HlsSession as HlsSession
from .source import Hls as Hls
from .source import HlsSource as HlsSource

__all__ = [
    "Hls",
    "HlsOptions",
    "HlsParams",
    "HlsSegments",
    "HlsSession",
    "HlsSource",
    "HlsVariant",
    "Init",
    "Key",
    "KeyContext",
    "MasterPlaylist",
    "MediaPlaylist",
    "MediaSegment",
    "Rendition",
    "SegmentGivenUp",
    "SegmentLoaded",
    "Variant",
    "VariantApplied",
    "VariantDecided",
    "parse_playlist",
]
