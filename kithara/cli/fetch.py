"""``kithara fetch``: into the cache, whole, resuming where it stopped."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import click
from rich.markup import escape
from rich.progress import Progress, TaskID

import kithara

from .._core.chain import Chain
from ..errors import KitharaError, redact_url
from ..events import Started, Subscription
from ..hls import SegmentLoaded
from .access import Access, access_options, json_option, quiet_option
from .completion import MEDIA
from .console import Spans, bytes_progress, error_record, errors_console, say_error, say_json, size, sparse_bar, total
from .output import folder, translated, whole

BLOCK = 64 * 1024
STDOUT = Path("-")
SHOWN = 8
"""Rows of files on a terminal at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One URL that is whole now. *cached* bytes of *length* were here before."""

    url: str
    length: int
    cached: int
    seconds: float
    exported: str | None


@click.command()
@click.argument("urls", type=MEDIA, nargs=-1, required=True, metavar="URL...")
@click.option(
    "--export",
    type=click.Path(file_okay=False, allow_dash=True, path_type=Path),
    help="Also copy each file to this folder; of a playlist, all variants to a folder in it that any player plays. "
    "With -, one file to stdout.",
)
@click.option("--refresh", is_flag=True, help="Ask the server whether a cached file is still the same.")
@access_options
@json_option
@quiet_option
def fetch(urls: tuple[str, ...], export: Path | None, refresh: bool, access: Access, as_json: bool, quiet: bool) -> int:
    """Fetch each URL into the cache, so that it plays offline.

    What is here is not fetched again; an interrupted fetch goes on where it stopped.
    """
    if not access.keep and export is None:
        raise click.UsageError("--no-cache keeps nothing: name a folder with --export")
    if export == STDOUT and (as_json or len(urls) > 1):
        raise click.UsageError("stdout takes one file, and no --json beside it")
    twice = [name for name, count in Counter(map(_name, urls)).items() if count > 1]
    if export is not None and twice:
        raise click.UsageError(f"several of these would become {export / twice[0]}")
    done: list[Fetched] = []
    failed = 0
    with bytes_progress(quiet=quiet or as_json) as progress:
        rows = _Rows(progress, len(urls))
        for url in urls:
            try:
                result = _fetch(url, access, export, refresh=refresh, rows=rows)
            except KitharaError as error:
                failed += 1
                if as_json:
                    say_json({"url": redact_url(url), "error": error_record(error)})
                else:
                    say_error(error, progress.console)
                continue
            done.append(result)
            if as_json:
                say_json(asdict(result))
    if sys.stderr.isatty() and not as_json and not quiet:
        length = sum(result.length for result in done)
        fresh = length - sum(result.cached for result in done)
        word = "file" if len(done) == 1 else "files"
        errors_console().print(f"{len(done)} {word}, {size(length)}, {size(fresh)} of them new; {failed} failed")
    return 1 if failed else 0


class _Rows:
    """Progress: a row for each of the last files, and above them one for all *count* of them together."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._count = count
        self._files: list[TaskID] = []
        self._before = self._here = 0
        self._together = progress.add_task("", total=None, map="", visible=count > 1)

    def begin(self, name: str, spans: Spans = (), length: int | None = None) -> int:
        """Begin the row of the file *name*, of which *spans* are here already; how many bytes that is."""
        self._before += self._here
        cached = total(spans)
        # What a row begins with does not count for its rate.
        self._files.append(self._progress.add_task(escape(name), total=length, completed=cached, map=""))
        for old in self._files[:-SHOWN]:
            self._progress.update(old, visible=False)
        self._progress.update(self._together, description=f"{len(self._files)} of {self._count} files")
        self.tell(spans, length)
        return cached

    def tell(self, spans: Spans, length: int | None) -> None:
        """Show what is here of the file that was begun last."""
        self._here = total(spans)
        self._progress.update(self._files[-1], completed=self._here, total=length, map=sparse_bar(spans, length))
        self._progress.update(self._together, completed=self._before + self._here)


def _fetch(url: str, access: Access, export: Path | None, *, refresh: bool, rows: _Rows) -> Fetched:
    started = time.monotonic()
    name = _name(url)
    path = None if export is None else STDOUT if export == STDOUT else folder(export) / name
    bus = kithara.EventBus()
    told = bus.subscribe()
    with access.open(url, refresh=refresh, bus=bus) as reader:
        if path is not None and path != STDOUT and isinstance(reader.store, Chain):
            # One variant's bytes would be no presentation.
            return _fetch_presentation(url, access, path.with_suffix(""), rows)
        cached = rows.begin(name, reader.available_ranges(), reader.length)
        while (event := told.get_nowait()) is not None:
            if isinstance(event, Started):
                cached = event.cached  # since then something has come
        with _exported(path) as copy:
            length = _read_through(reader, copy, rows)
        rows.tell([(0, length)], length)
    return Fetched(
        url=redact_url(url),
        length=length,
        cached=cached,
        seconds=round(time.monotonic() - started, 3),
        exported=None if path is None else str(path),
    )


def _fetch_presentation(url: str, access: Access, path: Path, rows: _Rows) -> Fetched:
    """Export the HLS presentation at *url*: the folder *path* holds all of it once its master playlist is there."""
    started = time.monotonic()
    rows.begin(path.name)
    length = 0
    cached: dict[tuple[int, int], int] = {}
    with access.open_media(url) as segments:
        assert not isinstance(segments, kithara.SyncReader)  # it was a playlist a moment ago
        events = segments.events.subscribe()
        for name, data in segments.session.exported():
            folder((path / name).parent)
            with _exported(path / name) as copy:
                assert copy is not None
                for piece in data:
                    copy(memoryview(piece))
                    length += len(piece)
                    _note_cached(events, cached)
                    rows.tell([(0, length)], None)
    _note_cached(events, cached)
    rows.tell([(0, length)], length)
    return Fetched(
        url=redact_url(url),
        length=length,
        cached=sum(cached.values()),
        seconds=round(time.monotonic() - started, 3),
        exported=str(path),
    )


def _note_cached(events: Subscription, cached: dict[tuple[int, int], int]) -> None:
    """Add the sizes of the segments that were in the cache already, by variant and index, as the *events* tell."""
    while (event := events.get_nowait()) is not None:
        if isinstance(event, SegmentLoaded) and event.cached:
            cached[event.variant, event.index] = event.size


def _read_through(reader: kithara.SyncReader, copy: Callable[[memoryview], object] | None, rows: _Rows) -> int:
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    position = 0
    while count := reader.readinto(buffer):
        if copy is not None:
            copy(view[:count])
        position += count
        rows.tell(reader.available_ranges(), reader.length)
    return position


def _name(url: str) -> str:
    """A file name for *url*: its last part that is one."""
    name = PurePosixPath(unquote(urlsplit(url).path).replace("\0", "")).name
    return name if name not in ("", "..") else "index"


@contextlib.contextmanager
def _exported(path: Path | None) -> Iterator[Callable[[memoryview], object] | None]:
    """What writes a file that becomes *path* once it is whole; None without a path."""
    if path is None:
        yield None
        return
    if path == STDOUT:
        yield sys.stdout.buffer.write
        return
    with whole(path) as temporary, temporary.open("wb", buffering=0) as file:

        def write(data: memoryview) -> None:
            with translated(path):
                while data:
                    data = data[file.write(data) :]

        yield write
