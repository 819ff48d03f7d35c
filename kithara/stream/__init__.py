"""Orchestration of byte streams: sources and their factories, prefetching, and streams with a handle.

Responsibilities: the loop that moves bytes, its cancellation, and commands. Not here: the network (`kithara.net`), the
cache (`kithara.assets`), playlists (`kithara.hls`), decoding (`kithara.decode`).

What holds for every stream:

- **Stop is drop.** There is no stop command; leaving or dropping the consumer ends the loop promptly.
- **No handle is needed.** When all handles are gone, bytes flow on to the end.
- **The end is true.** Iteration ends at the end of the source and nowhere else, never because something is idle.
- **Back-pressure.** Buffers are bounded; a slow consumer slows the source down.
- **Seeks are best effort.** `StreamHandle.seek_bytes` raises `SeekNotSupported` where the source cannot and
  `ChannelClosed` once the stream has ended. After it returned, no byte of the old place is given.
- **Errors are the source's own**, raised themselves or as the ``__cause__`` of a `StreamError`.
"""

from ..errors import StreamError as StreamError
from ..io import SyncReader as SyncReader
from ..io import SyncReaderParams as SyncReaderParams
from ..media import MediaInfo as MediaInfo
from ..source import OpenedSource as OpenedSource
from ..source import Source as Source
from ..source import SourceFactory as SourceFactory
from ..source import WaitOutcome as WaitOutcome
from .byte_stream import ByteStream as ByteStream
from .byte_stream import StreamHandle as StreamHandle
from .byte_stream import StreamParams as StreamParams
from .factory import StreamSource as StreamSource
from .message import Control as Control
from .message import Data as Data
from .message import Event as Event
from .message import Message as Message
from .message import SeekBytes as SeekBytes
from .message import StreamMsg as StreamMsg
from .prefetch import PrefetchConsumer as PrefetchConsumer
from .prefetch import PrefetchedItem as PrefetchedItem
from .prefetch import PrefetchSource as PrefetchSource
from .prefetch import PrefetchWorker as PrefetchWorker
from .transfer import Reader as Reader
from .transfer import Writer as Writer

Stream = ByteStream
"""The seed's name of `ByteStream`."""

__all__ = [
    "ByteStream",
    "Control",
    "Data",
    "Event",
    "MediaInfo",
    "Message",
    "OpenedSource",
    "PrefetchConsumer",
    "PrefetchSource",
    "PrefetchWorker",
    "PrefetchedItem",
    "Reader",
    "SeekBytes",
    "Source",
    "SourceFactory",
    "Stream",
    "StreamError",
    "StreamHandle",
    "StreamMsg",
    "StreamParams",
    "StreamSource",
    "SyncReader",
    "SyncReaderParams",
    "WaitOutcome",
    "Writer",
]
