"""HLS: playlists read, segments in order, keys applied."""

from .model import Init as Init
from .model import Key as Key
from .model import MasterPlaylist as MasterPlaylist
from .model import MediaPlaylist as MediaPlaylist
from .model import MediaSegment as MediaSegment
from .model import Rendition as Rendition
from .model import Variant as Variant
from .playlist import parse_playlist as parse_playlist

__all__ = [
    "Init",
    "Key",
    "MasterPlaylist",
    "MediaPlaylist",
    "MediaSegment",
    "Rendition",
    "Variant",
    "parse_playlist",
]
