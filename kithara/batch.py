"""Work on many files with whatever engine maps functions over lists: Dask, Ray, a pool of processes.

::

    task = ForEach(loudness, store="/scratch/kithara")           # pickles: options and a function, no connection
    dask.bag.from_sequence(urls).map(task)                       # or client.map(task, urls), pool.map(task, urls) ...
    [pool.submit(list, map(task, part)) for part in by_file(urls, 2)]

All processes of a node share the cache in its directory: what one has fetched, the others read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from . import opening
from .assets import ResourceKey
from .assets.shared import StoreChoice
from .decode import Decoder
from .decode.gapless import GaplessMode
from .errors import KitharaError
from .file import FileOptions

__all__ = ["Failure", "ForEach", "by_file"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """What `ForEach` gives instead of a result where it was told to go on: the URL as given, and why.

    The URL is not shown; the error shows it without secrets.
    """

    url: str = field(repr=False)
    error: KitharaError


class ForEach(Generic[T]):
    """A function of one URL that opens it, decodes it, and gives what *work* makes of the decoder. Pickles.

    Args:
        work: What to do with each: called with an open `kithara.Decoder`, which is closed after it. It must pickle for
            engines with processes.
        store: As for `kithara.open`. A directory, or None for the default one, is opened once in each process.
        options: How files are streamed.
        headers: Sent to the origins of the URLs.
        offline: Ask nobody.
        dtype: Of the samples.
        gapless: As for `kithara.Decoder`.
        on_error: ``"raise"``, or ``"return"`` a `Failure` and let the others go on.

    Called with a URL (or path), it waits as *work* reads. Raises what opening, decoding and *work* raise.
    """

    def __init__(
        self,
        work: Callable[[Decoder], T],
        *,
        store: StoreChoice = None,
        options: FileOptions | None = None,
        headers: Mapping[str, str] | None = None,
        offline: bool = False,
        dtype: Any = "float32",
        gapless: GaplessMode = "media",
        on_error: Literal["raise", "return"] = "raise",
    ) -> None:
        if on_error not in ("raise", "return"):
            raise ValueError(f"on_error={on_error!r}: expected 'raise' or 'return'")
        self.work = work
        self.on_error = on_error
        self._open = functools.partial(opening.open, store=store, options=options, headers=headers, offline=offline)
        self._decoder = functools.partial(Decoder, dtype=dtype, gapless=gapless)

    def __call__(self, url: str) -> T | Failure:
        try:
            with self._open(url) as reader, self._decoder(reader) as decoder:
                return self.work(decoder)
        except KitharaError as exc:
            if self.on_error == "raise":
                raise
            return Failure(url, exc)


def by_file(urls: Iterable[str], parts: int, *, query: Collection[str] = ()) -> list[list[str]]:
    """*urls* in at most *parts* lists of about the same length, all that name one file in the same list.

    URLs that differ in their query only name one file, as in the cache, unless *query* names what counts of it (see
    `kithara.FileOptions`). No two processes then fetch the same.
    """
    if parts < 1:
        raise ValueError(f"parts={parts}: must be at least 1")
    files: dict[str, list[str]] = {}
    for url in urls:
        remote = url.lower().startswith(("http:", "https:"))
        files.setdefault(ResourceKey.from_url(url, query=query).path if remote else url, []).append(url)
    lists: list[list[str]] = [[] for _ in range(parts)]
    for same in sorted(files.values(), key=len, reverse=True):
        min(lists, key=len).extend(same)
    return [part for part in lists if part]
