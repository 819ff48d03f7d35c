"""Looks over the shoulder of every test in a folder: whatever it logs, tells its listeners or leaves on disk.

The marker `SECRET` stands in URLs, user infos and headers of the tests; nothing that kithara writes may hold it.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.oracles import SECRET, everything_said

from kithara.events import EventBus

MARKER = SECRET.encode()


class Overheard:
    """What held the marker, in the order in which it was found."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.looked_at = 0

    def look_at(self, what: str, said: str) -> None:
        self.looked_at += 1
        if SECRET in said:
            self.found.append(f"{what}: {said[:500]}")


@contextmanager
def overhearing() -> Iterator[Overheard]:
    """Every log record of kithara, at every level, and every event published, in whatever thread."""
    overheard = Overheard()
    make, publish, logger = logging.getLogRecordFactory(), EventBus.publish, logging.getLogger("kithara")
    level = logger.level

    def made(*args: object, **options: object) -> logging.LogRecord:
        record = make(*args, **options)
        if record.name.startswith(("kithara", "asyncio")):
            error = record.exc_info[1] if record.exc_info else None
            trace = "" if error is None else everything_said(error)
            overheard.look_at(f"the log of {record.name}", f"{record.getMessage()} {record.args!r} {trace}")
        return record

    def published(bus: EventBus, event: object) -> None:
        error = getattr(event, "error", None)
        said = everything_said(error) if isinstance(error, BaseException) else ""
        overheard.look_at("an event", f"{event!r} {said}")
        publish(bus, event)

    logging.setLogRecordFactory(made)
    EventBus.publish = published  # type: ignore[method-assign]
    logger.setLevel(logging.DEBUG)
    try:
        yield overheard
    finally:
        logger.setLevel(level)
        EventBus.publish = publish  # type: ignore[method-assign]
        logging.setLogRecordFactory(make)


def written(folder: Path) -> list[str]:
    """The files and directories below *folder* that hold the marker, in their names or in what they hold."""
    found = []
    for where, folders, names in os.walk(folder):
        found += [os.path.join(where, name) for name in (*folders, *names) if SECRET in name]
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path) and not os.path.islink(path) and _holds(path):
                found.append(path)
    return found


def _holds(path: str) -> bool:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(MARKER) >= 0
