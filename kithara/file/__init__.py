"""Files over HTTP Range or from disk: the source, the session, options and phases."""

from .download import FilePhase as FilePhase
from .options import FileOptions as FileOptions
from .options import FileParams as FileParams
from .range_policy import resolve_seek as resolve_seek
from .segments import FileSegment as FileSegment
from .segments import FileSegmentIndex as FileSegmentIndex
from .session import FileSession as FileSession
from .session import FileStream as FileStream
from .source import File as File
from .source import FileSource as FileSource
