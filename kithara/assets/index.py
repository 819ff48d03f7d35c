"""What the cache remembers about its assets: sizes, order of use, validators. Every row is a hint.

The file system says what exists; the index only saves a walk over it. So no failure of the database ever reaches a
caller: a broken file is renamed aside and begun anew, and where none can be kept the index lives in memory.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .._core import disk
from .schema import HIGHEST, SCANNED, prepare, transaction

_indexes: weakref.WeakSet[Index] = weakref.WeakSet()
_log = logging.getLogger("kithara.assets")

BUSY_FOR = 2.0
"""Seconds to wait for another connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow:
    """One asset as the index remembers it. *used* is a count of uses, not a time."""

    name: str
    used: int
    size: int
    keep: bool
    label: str | None


class Index:
    """The rows of one store, in the SQLite file *path*, or in memory. Thread-safe; a file call may take milliseconds.

    ``fresh`` tells that nothing was there, or only what an interrupted scan had come by, so the caller should scan.
    In a forked child the database is opened anew.
    """

    def __init__(self, path: str | None, *, flush_after: float = 1.0) -> None:
        self._path = path
        self._flush_after = flush_after
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._touched: dict[str, int] = {}
        self._flushed = time.monotonic()
        self.fresh: bool = False
        self._closed = False
        self._open()
        self._counter = self._highest()
        _indexes.add(self)

    def _forget(self) -> None:
        """Be as new in a forked child: the parent's connection is kept aside, since even to close it is harmful."""
        self._lock = threading.RLock()
        self._touched = {}
        if self._db is not None:
            self._inherited, self._db = self._db, None

    # ── opening and healing ──────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        """Open the file, or begin a new one where it is broken, or make do with memory."""
        for attempt in (self._open_patiently, self._open_anew):
            try:
                if self._path is not None:
                    self._db = attempt(self._path)
                    return
            except (sqlite3.Error, OSError) as exc:
                _log.warning("the index %s cannot be used: %s", self._path, exc)
                if _is_busy(exc):
                    break  # it is in use, and so not broken: others go on with it
        self._db = self._connect(":memory:")
        prepare(self._db)
        self.fresh = True

    def _open_patiently(self, path: str) -> sqlite3.Connection:
        """`_open_file`, again while it is busy: SQLite itself does not wait for a change of the journal's mode."""
        until = time.monotonic() + BUSY_FOR
        while True:
            try:
                return self._open_file(path)
            except sqlite3.Error as exc:
                if not _is_busy(exc) or time.monotonic() >= until:
                    raise
            time.sleep(0.01)

    def _open_file(self, path: str) -> sqlite3.Connection:
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
            raise OSError(f"{path} is no regular file")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        db = self._connect(path)
        try:
            if prepare(db):
                self.fresh = True
        except BaseException:
            db.close()
            raise
        return db

    def _open_anew(self, path: str) -> sqlite3.Connection:
        """Set the broken file aside (the newest one is kept, for whoever wants to know) and begin again."""
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(path + suffix, f"{path}.bad{suffix}")
        return self._open_file(path)

    @staticmethod
    def _connect(path: str) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=BUSY_FOR, check_same_thread=False, isolation_level=None)
        try:
            # WAL needs memory that all processes share, which file systems over a network do not have.
            db.execute(f"PRAGMA journal_mode = {'DELETE' if _is_remote(path) else 'WAL'}")
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The connection, locked. A failing statement is logged; a broken file is replaced at once."""
        with self._lock:
            if self._db is None:
                self._open()  # in a forked child
            assert self._db is not None
            try:
                yield self._db
            except sqlite3.ProgrammingError:
                if not self._closed:
                    raise
            except sqlite3.OperationalError as exc:
                _log.warning("the index %s did not answer: %s", self._path, exc)
            except sqlite3.DatabaseError as exc:
                _log.warning("the index %s is broken and begun anew: %s", self._path, exc)
                self._replace()

    def _replace(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None
        if self._path is not None:
            try:
                self._db = self._open_anew(self._path)
            except (sqlite3.Error, OSError) as exc:
                _log.warning("the index %s cannot be begun anew: %s", self._path, exc)
        if self._db is None:
            self._db = self._connect(":memory:")
            prepare(self._db)
        self.fresh = True

    def _highest(self) -> int:
        highest = 0
        with self._database() as db:
            highest = int(db.execute(HIGHEST).fetchone()[0])
        return highest

    # ── facts ────────────────────────────────────────────────────────────────────────────────

    def touch(self, name: str) -> None:
        """*name* was used just now. Written at most once a second."""
        with self._lock:
            self._counter += 1
            self._touched[name] = self._counter
            if time.monotonic() - self._flushed >= self._flush_after:
                self.flush()

    def flush(self) -> None:
        """Write what `touch` has collected."""
        with self._lock, self._database() as db:
            self._flushed = time.monotonic()
            if not self._touched:
                return
            stamps = [(used, name) for name, used in self._touched.items()]
            self._touched.clear()
            with transaction(db):
                # Another process counts as well: never behind what it has written.
                (highest,) = db.execute(HIGHEST).fetchone()
                ahead = max(0, highest - min(used for used, _ in stamps) + 1)
                db.executemany("UPDATE assets SET used = ? WHERE name = ?", [(u + ahead, n) for u, n in stamps])
                self._counter += ahead

    def enter(self, name: str, path: str, label: str | None = None) -> bool:
        """Have rows for the resource *path* of *name*, of no size where there were none; whether the asset is new."""
        new = False
        known = "SELECT 1 FROM resources JOIN assets ON name = asset WHERE asset = ? AND path = ?"
        with self._lock, self._database() as db:
            if db.execute(known, (name, path)).fetchone():
                return False  # by far the most often; no write then
        with self._lock, self._database() as db, transaction(db):
            self._counter += 1
            new = db.execute("SELECT 1 FROM assets WHERE name = ?", (name,)).fetchone() is None
            db.execute(
                "INSERT INTO assets (name, used, label) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET label = ifnull(label, excluded.label)",
                (name, self._counter, label),
            )
            db.execute("INSERT OR IGNORE INTO resources VALUES (?, ?, 0, 0, NULL)", (name, path))
        return new

    def put(
        self, name: str, path: str, size: int, *, complete: bool, facts: str | None = None, label: str | None = None
    ) -> None:
        """The resource *path* of the asset *name* takes *size* bytes of the disk; *facts* is JSON of validators."""
        self.enter(name, path, label)
        with self._lock, self._database() as db:
            db.execute(
                "UPDATE resources SET size = ?, complete = ?, facts = ifnull(?, facts) WHERE asset = ? AND path = ?",
                (size, int(complete), facts, name, path),
            )

    def facts(self, name: str, path: str) -> str | None:
        """The JSON that was stored with a resource, or None."""
        row = None
        with self._database() as db:
            row = db.execute("SELECT facts FROM resources WHERE asset = ? AND path = ?", (name, path)).fetchone()
        return row[0] if row else None

    def drop(self, name: str, path: str | None = None) -> None:
        """Forget the resource *path*, or the whole asset."""
        with self._lock, self._database() as db, transaction(db):
            if path is None:
                self._touched.pop(name, None)
                db.execute("DELETE FROM assets WHERE name = ?", (name,))
            else:
                db.execute("DELETE FROM resources WHERE asset = ? AND path = ?", (name, path))

    def keep(self, name: str, kept: bool) -> None:
        """Whether eviction passes the asset by."""
        with self._lock, self._database() as db:
            self._counter += 1
            db.execute(
                "INSERT INTO assets (name, used, keep) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET keep = ?",
                (name, self._counter, int(kept), int(kept)),
            )

    def totals(self) -> tuple[int, int]:
        """Assets, and the bytes they take."""
        row: tuple[int, int] = (0, 0)
        with self._database() as db:
            row = db.execute("SELECT assets, size FROM totals").fetchone()
        return row[0], row[1]

    def rows(self) -> list[AssetRow]:
        """Every asset, the least recently used first."""
        return self._select("SELECT name, used, size, keep, label FROM assets ORDER BY used", ())

    def row(self, name: str) -> AssetRow | None:
        """One asset, or None."""
        rows = self._select("SELECT name, used, size, keep, label FROM assets WHERE name = ?", (name,))
        return rows[0] if rows else None

    def oldest(self, count: int, *, after: AssetRow | None = None) -> list[AssetRow]:
        """Up to *count* assets that may be evicted, the least recently used first, going on behind *after*."""
        return self._select(
            "SELECT name, used, size, keep, label FROM assets WHERE keep = 0 AND (used, name) > (?, ?) "
            "ORDER BY used, name LIMIT ?",
            (-1, "", count) if after is None else (after.used, after.name, count),
        )

    def _select(self, query: str, values: Iterable[object]) -> list[AssetRow]:
        self.flush()
        found: list[tuple[str, int, int, int, str | None]] = []
        with self._database() as db:
            found = db.execute(query, tuple(values)).fetchall()
        return [AssetRow(name=n, used=u, size=s, keep=bool(k), label=t) for n, u, s, k, t in found]

    def replace_all(
        self, assets: Iterable[tuple[str, bool, Iterable[tuple[str, int, bool]]]], *, drop_missing: bool = True
    ) -> None:
        """Bring the rows in line with a scan: ``(name, keep, [(path, size, complete), …])``, one transaction an asset.

        Order of use, labels and facts of rows that exist stay. Rows of assets that the scan did not see go, unless
        *drop_missing* is False.
        """
        seen = set()
        for name, kept, resources in assets:
            seen.add(name)
            found = {path: (size, complete) for path, size, complete in resources}
            with self._lock, self._database() as db, transaction(db):
                db.execute(
                    "INSERT INTO assets (name, used, keep) VALUES (?, 0, ?) ON CONFLICT (name) DO UPDATE SET keep = ?",
                    (name, int(kept), int(kept)),
                )
                for (path,) in db.execute("SELECT path FROM resources WHERE asset = ?", (name,)).fetchall():
                    if path not in found:
                        db.execute("DELETE FROM resources WHERE asset = ? AND path = ?", (name, path))
                db.executemany(
                    "INSERT INTO resources VALUES (?, ?, ?, ?, NULL) ON CONFLICT (asset, path) DO UPDATE SET "
                    "size = excluded.size, complete = excluded.complete",
                    [(name, path, size, int(complete)) for path, (size, complete) in found.items()],
                )
        for row in self.rows() if drop_missing else ():
            if row.name not in seen:
                self.drop(row.name)

    def filled(self) -> None:
        """A scan came by everything: the next opening needs none."""
        with self._lock, self._database() as db:
            db.execute(f"PRAGMA application_id = {SCANNED}")
            self.fresh = False

    def __del__(self) -> None:
        db = getattr(self, "_db", None)
        if db is not None:
            db.close()  # SQLite's own would warn, from Python 3.13 on

    def close(self) -> None:
        """Write what is due and close the file. Asked afterwards, it knows nothing."""
        with self._lock:
            if self._db is not None:
                self.flush()
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
            self._closed = True
            self._inherited = None


def _is_remote(path: str) -> bool:
    if path == ":memory:":
        return False
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return disk.is_remote(fd)
    finally:
        os.close(fd)


def _is_busy(error: Exception) -> bool:
    """Whether another connection is in the way, now."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def _after_fork_in_child() -> None:
    for index in list(_indexes):
        index._forget()


def _close_at_exit() -> None:
    for index in list(_indexes):
        index.close()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_close_at_exit)
