"""Files over HTTP Range or from disk: the source, the session, options and phases."""

from .options import FileOptions as FileOptions
from .options import FileParams as FileParams
from .range_policy import resolve_seek as resolve_seek
from .session import FilePhase as FilePhase
from .session import FileSession as FileSession
from .session import FileStream as FileStream
from .source import File as File
from .source import FileSource as FileSource
