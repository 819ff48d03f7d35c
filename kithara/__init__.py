"""Kithara: a seekable file, sample-exact PCM and an offline cache from the first second of a URL.

::

    with kithara.open("https://host/song.flac") as f:      # a seekable binary file while it downloads
        f.read(4); f.seek(-128, io.SEEK_END)
    y, rate = kithara.load("https://host/song.m4a")        # (n, channels) float32
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._core.reader import SyncReader as SyncReader
from .assets import AssetStore as AssetStore
from .errors import CacheCorrupt as CacheCorrupt
from .errors import DecodeError as DecodeError
from .errors import HlsError as HlsError
from .errors import KitharaError as KitharaError
from .errors import NetError as NetError
from .errors import OfflineMiss as OfflineMiss
from .errors import StoreError as StoreError
from .errors import StreamError as StreamError
from .events import EventBus as EventBus
from .file import File as File
from .file import FileOptions as FileOptions
from .file import FileParams as FileParams
from .file import FileSource as FileSource
from .io import SyncReaderParams as SyncReaderParams
from .media import MediaInfo as MediaInfo
from .net import HttpClient as HttpClient
from .net import HttpOptions as HttpOptions
from .opening import open as open
from .prefetch import PrefetchWorker as _PrefetchWorker  # noqa: F401  a user's source stands behind SyncReader by it
from .source import WaitOutcome as WaitOutcome
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import assets as assets
    from . import decode as decode
    from . import hls as hls
    from . import storage as storage
    from . import stream as stream
    from . import timeline as timeline
    from .decode import AudioStream as AudioStream
    from .decode import Decoder as Decoder
    from .decode.load import load as load
    from .decode.load import probe as probe
    from .hls import Hls as Hls
    from .hls import HlsOptions as HlsOptions
    from .hls import HlsParams as HlsParams
    from .hls import HlsSource as HlsSource


# What needs av, numpy or cryptography is imported when first asked for.
_LATER = {
    "AudioStream": "decode",
    "Decoder": "decode",
    "Hls": "hls",
    "HlsOptions": "hls",
    "HlsParams": "hls",
    "HlsSource": "hls",
    "load": "decode",
    "probe": "decode",
}
_ROOMS = ("abr", "assets", "decode", "file", "hls", "net", "storage", "stream", "timeline")

__all__ = [
    "AssetStore",
    "AudioStream",
    "CacheCorrupt",
    "DecodeError",
    "Decoder",
    "EventBus",
    "File",
    "FileOptions",
    "FileParams",
    "FileSource",
    "Hls",
    "HlsError",
    "HlsOptions",
    "HlsParams",
    "HlsSource",
    "HttpClient",
    "HttpOptions",
    "KitharaError",
    "MediaInfo",
    "NetError",
    "OfflineMiss",
    "StoreError",
    "StreamError",
    "SyncReader",
    "SyncReaderParams",
    "WaitOutcome",
    "load",
    "open",
    "probe",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_ROOMS})
