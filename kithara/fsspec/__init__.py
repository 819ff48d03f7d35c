"""fsspec's face of the cache: whatever opens files through fsspec opens them through Kithara.

::

    pandas.read_csv("kithara::https://host/table.csv")
    fsspec.open("kithara::https://host/song.flac")
    fsspec.filesystem("kithara").cat_ranges([url, url], [0, 70_000], [100, 80_000])

Read-only. What was fetched once is in the cache, and is never fetched again; what is read on is fetched ahead.
"""

from .files import KitharaFile as KitharaFile
from .files import KitharaStream as KitharaStream
from .filesystem import KitharaFileSystem as KitharaFileSystem

__all__ = ["KitharaFile", "KitharaFileSystem", "KitharaStream"]
