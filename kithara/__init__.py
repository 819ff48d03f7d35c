"""Kithara: a seekable file, sample-exact PCM and an offline cache from the first second of a URL.

::

    with kithara.open("https://host/song.flac") as f:      # a seekable binary file while it downloads
        f.read(4); f.seek(-128, io.SEEK_END)
    y, rate = kithara.load("https://host/song.m4a")        # (n, channels) float32
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import abr as abr
    from . import assets as assets
    from . import decode as decode
    from . import errors as errors
    from . import events as events
    from . import file as file
    from . import hls as hls
    from . import io as io
    from . import media as media
    from . import net as net
    from . import source as source
    from . import storage as storage
    from . import stream as stream
    from . import timeline as timeline
    from .assets import AssetStore as AssetStore
    from .decode import AudioStream as AudioStream
    from .decode import Decoder as Decoder
    from .decode.load import load as load
    from .decode.load import probe as probe
    from .errors import BodyTruncated as BodyTruncated
    from .errors import Busy as Busy
    from .errors import CacheCorrupt as CacheCorrupt
    from .errors import Cancelled as Cancelled
    from .errors import ChannelClosed as ChannelClosed
    from .errors import Closed as Closed
    from .errors import ConnectFailed as ConnectFailed
    from .errors import ContentEncodingRejected as ContentEncodingRejected
    from .errors import DecodeError as DecodeError
    from .errors import DecryptFailed as DecryptFailed
    from .errors import EmptyBody as EmptyBody
    from .errors import ForkedHandle as ForkedHandle
    from .errors import HlsError as HlsError
    from .errors import HttpStatus as HttpStatus
    from .errors import Interrupted as Interrupted
    from .errors import InvalidKey as InvalidKey
    from .errors import InvalidSeek as InvalidSeek
    from .errors import KeyInvalid as KeyInvalid
    from .errors import KitharaError as KitharaError
    from .errors import LocalFileError as LocalFileError
    from .errors import NetError as NetError
    from .errors import NetTimeout as NetTimeout
    from .errors import NoSpace as NoSpace
    from .errors import OfflineMiss as OfflineMiss
    from .errors import PlaylistInvalid as PlaylistInvalid
    from .errors import PlaylistTooLarge as PlaylistTooLarge
    from .errors import PolicyDenied as PolicyDenied
    from .errors import ProtocolViolation as ProtocolViolation
    from .errors import RangeMismatch as RangeMismatch
    from .errors import ReadOnlyStore as ReadOnlyStore
    from .errors import RedirectRejected as RedirectRejected
    from .errors import RepresentationChanged as RepresentationChanged
    from .errors import RetryExhausted as RetryExhausted
    from .errors import SeekNotSupported as SeekNotSupported
    from .errors import StoreError as StoreError
    from .errors import StoreIo as StoreIo
    from .errors import StreamError as StreamError
    from .errors import TooLarge as TooLarge
    from .errors import UnknownLength as UnknownLength
    from .errors import Unsupported as Unsupported
    from .errors import UnsupportedMedia as UnsupportedMedia
    from .errors import WaitTimeout as WaitTimeout
    from .errors import WouldDeadlock as WouldDeadlock
    from .errors import WriterGone as WriterGone
    from .events import EventBus as EventBus
    from .file import File as File
    from .file import FileOptions as FileOptions
    from .file import FileParams as FileParams
    from .file import FileSource as FileSource
    from .hls import Hls as Hls
    from .hls import HlsOptions as HlsOptions
    from .hls import HlsParams as HlsParams
    from .hls import HlsSource as HlsSource
    from .io import SyncReaderParams as SyncReaderParams
    from .media import MediaInfo as MediaInfo
    from .net import HttpClient as HttpClient
    from .net import HttpOptions as HttpOptions
    from .opening import open as open
    from .prefetch import SyncReader as SyncReader
    from .source import WaitOutcome as WaitOutcome


# Each is imported when first asked for: who plays from a disk needs no HTTP, who fetches no decoder, and the command
# line is there at once.
_LATER = {
    "AssetStore": "assets",
    "AudioStream": "decode",
    "BodyTruncated": "errors",
    "Busy": "errors",
    "CacheCorrupt": "errors",
    "Cancelled": "errors",
    "ChannelClosed": "errors",
    "Closed": "errors",
    "ConnectFailed": "errors",
    "ContentEncodingRejected": "errors",
    "DecodeError": "errors",
    "Decoder": "decode",
    "DecryptFailed": "errors",
    "EmptyBody": "errors",
    "EventBus": "events",
    "File": "file",
    "FileOptions": "file",
    "FileParams": "file",
    "FileSource": "file",
    "ForkedHandle": "errors",
    "Hls": "hls",
    "HlsError": "errors",
    "HlsOptions": "hls",
    "HlsParams": "hls",
    "HlsSource": "hls",
    "HttpClient": "net",
    "HttpOptions": "net",
    "HttpStatus": "errors",
    "Interrupted": "errors",
    "InvalidKey": "errors",
    "InvalidSeek": "errors",
    "KeyInvalid": "errors",
    "KitharaError": "errors",
    "LocalFileError": "errors",
    "MediaInfo": "media",
    "NetError": "errors",
    "NetTimeout": "errors",
    "NoSpace": "errors",
    "OfflineMiss": "errors",
    "PlaylistInvalid": "errors",
    "PlaylistTooLarge": "errors",
    "PolicyDenied": "errors",
    "ProtocolViolation": "errors",
    "RangeMismatch": "errors",
    "ReadOnlyStore": "errors",
    "RedirectRejected": "errors",
    "RepresentationChanged": "errors",
    "RetryExhausted": "errors",
    "SeekNotSupported": "errors",
    "StoreError": "errors",
    "StoreIo": "errors",
    "StreamError": "errors",
    "SyncReader": "prefetch",  # by which a user's own source stands behind it
    "SyncReaderParams": "io",
    "TooLarge": "errors",
    "UnknownLength": "errors",
    "Unsupported": "errors",
    "UnsupportedMedia": "errors",
    "WaitOutcome": "source",
    "WaitTimeout": "errors",
    "WouldDeadlock": "errors",
    "WriterGone": "errors",
    "load": "decode.load",
    "open": "opening",
    "probe": "decode.load",
}
_ROOMS = (
    "abr", "assets", "decode", "errors", "events", "file", "hls", "io", "media", "net", "source", "storage", "stream",
    "timeline",
)  # fmt: skip

__all__ = [
    "AssetStore",
    "AudioStream",
    "BodyTruncated",
    "Busy",
    "CacheCorrupt",
    "Cancelled",
    "ChannelClosed",
    "Closed",
    "ConnectFailed",
    "ContentEncodingRejected",
    "DecodeError",
    "Decoder",
    "DecryptFailed",
    "EmptyBody",
    "EventBus",
    "File",
    "FileOptions",
    "FileParams",
    "FileSource",
    "ForkedHandle",
    "Hls",
    "HlsError",
    "HlsOptions",
    "HlsParams",
    "HlsSource",
    "HttpClient",
    "HttpOptions",
    "HttpStatus",
    "Interrupted",
    "InvalidKey",
    "InvalidSeek",
    "KeyInvalid",
    "KitharaError",
    "LocalFileError",
    "MediaInfo",
    "NetError",
    "NetTimeout",
    "NoSpace",
    "OfflineMiss",
    "PlaylistInvalid",
    "PlaylistTooLarge",
    "PolicyDenied",
    "ProtocolViolation",
    "RangeMismatch",
    "ReadOnlyStore",
    "RedirectRejected",
    "RepresentationChanged",
    "RetryExhausted",
    "SeekNotSupported",
    "StoreError",
    "StoreIo",
    "StreamError",
    "SyncReader",
    "SyncReaderParams",
    "TooLarge",
    "UnknownLength",
    "Unsupported",
    "UnsupportedMedia",
    "WaitOutcome",
    "WaitTimeout",
    "WouldDeadlock",
    "WriterGone",
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
