"""How commands speak: words and progress on stderr when it is a terminal, results on stdout, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..errors import KitharaError
from .hints import hint

Spans = Sequence[tuple[int, int]]


def errors_console() -> Console:
    """Where words for people go."""
    return Console(stderr=True, highlight=False)


def results_console() -> Console:
    """Where results for people go; as wide as needed when nobody looks."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def say_error(error: KitharaError, console: Console | None = None) -> None:
    """Say what went wrong and what to try: on *console*, which is stderr's unless one is given."""
    console = console or errors_console()
    console.print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
    if (advice := hint(error)) is not None:
        console.print(f"  try: {advice}", markup=False, soft_wrap=True)


def error_record(error: KitharaError) -> dict[str, Any]:
    """*error* for machines."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "url": error.url,
        "range": error.range,
        "attempt": error.attempt,
        "retryable": error.retryable,
        "hint": hint(error),
    }


def say_json(record: object) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def bytes_progress(*, quiet: bool = False) -> Progress:
    """Progress in bytes: which are here (the field *map*), rate, remaining time; silent unless stderr is a terminal."""
    console = errors_console()
    return Progress(
        TextColumn("{task.description}"),
        TextColumn("{task.fields[map]}"),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )


def seconds_progress(*, quiet: bool = False) -> Progress:
    """Progress in seconds of sound; silent unless stderr is a terminal."""
    console = errors_console()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )


def total(spans: Spans) -> int:
    """How many bytes *spans* are."""
    return sum(stop - start for start, stop in spans)


def sparse_bar(spans: Spans, length: int | None, width: int = 24) -> str:
    """Which parts of *length* bytes are here, in at most *width* characters: whole, part and absent cells."""
    if not length:
        return ""
    cells = []
    width = min(width, length)
    for cell in range(width):
        start, stop = cell * length // width, (cell + 1) * length // width
        here = sum(max(0, min(stop, last) - max(start, first)) for first, last in spans)
        cells.append("█" if here >= stop - start else "▒" if here else "░")
    return "".join(cells)


def size(count: int | None) -> str:
    """*count* bytes as people write it."""
    if count is None:
        return "unknown size"
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GiB"


def clock(seconds: float | None) -> str:
    """*seconds* as m:ss.t, or h:mm:ss.t from an hour on."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
