"""Many ranges of one file, all wanted at the same time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from .._core.reader import SyncReader
from ..file import FileSession
from ..io import SyncReaderParams, wait_range

GAP = 64 << 10
"""Ranges of one file no further apart than this are asked for as one: a round trip costs more than the bytes."""

ENDLESS = 1 << 62

Span = tuple[int | None, int | None]


@contextlib.contextmanager
def still_reader(session: FileSession) -> Iterator[SyncReader]:
    """A reader that waits for nothing and wants nothing by itself."""
    reader = session.source(SyncReaderParams(blocking=False))
    try:
        reader.want(0, 0)
        yield reader
    finally:
        reader.close()


async def read_spans(reader: SyncReader, spans: list[Span], gap: int) -> list[bytes | BaseException]:
    """The bytes of each of *spans*, or why they do not come. Spans no further apart than *gap* are fetched as one."""
    if reader.length is None and any(end is None or min(start or 0, end) < 0 for start, end in spans):
        await wait_range(reader.store, 0, ENDLESS)
    length = ENDLESS if reader.length is None else reader.length
    wanted = [slice(start, end).indices(length)[:2] for start, end in spans]
    waits = (wait_range(reader.store, start, stop) for start, stop in _merged(wanted, gap))
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    failure = next((outcome for outcome in outcomes if isinstance(outcome, BaseException)), None)
    return [
        failure if failure is not None and not reader.contains_range(start, stop) else _take(reader, start, stop)
        for start, stop in wanted
    ]


def _merged(ranges: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """The ranges in order, those that lie no further apart than *gap* as one; empty ones left out."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(one for one in ranges if one[0] < one[1]):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _take(reader: SyncReader, start: int, stop: int) -> bytes:
    """The bytes of a range that is here."""
    if start >= stop:
        return b""
    reader.want(start, stop)  # before the seek: nothing is fetched beyond it at any moment
    reader.seek(start)
    return reader.read(stop - start)


def each(values: Any, count: int) -> list[int | None]:
    """*values*, or the one value *count* times."""
    return list(values) if isinstance(values, Iterable) else [values] * count
