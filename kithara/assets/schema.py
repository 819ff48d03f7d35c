"""The tables of the index, and how a database comes to have them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

VERSION = 1
SCANNED = 1
"""The application id of a database in which all is that a walk over the cache came by."""

_TABLES = f"""
CREATE TABLE assets (
    name TEXT PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL DEFAULT 0,
    keep INTEGER NOT NULL DEFAULT 0, label TEXT
) WITHOUT ROWID;
CREATE INDEX by_use ON assets (keep, used);
CREATE TABLE resources (
    asset TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, complete INTEGER NOT NULL, facts TEXT,
    PRIMARY KEY (asset, path)
) WITHOUT ROWID;
CREATE TRIGGER grown AFTER INSERT ON resources BEGIN
    UPDATE assets SET size = size + new.size WHERE name = new.asset; END;
CREATE TRIGGER changed AFTER UPDATE OF size ON resources BEGIN
    UPDATE assets SET size = size + new.size - old.size WHERE name = new.asset; END;
CREATE TRIGGER shrunk AFTER DELETE ON resources BEGIN
    UPDATE assets SET size = size - old.size WHERE name = old.asset; END;
CREATE TRIGGER forgotten AFTER DELETE ON assets BEGIN
    DELETE FROM resources WHERE asset = old.name; END;
PRAGMA user_version = {VERSION};
"""

# Every opening of something new asks for them: to count the rows would make each one dearer than the one before.
_TOTALS = """
CREATE TABLE totals (assets INTEGER NOT NULL, size INTEGER NOT NULL);
INSERT INTO totals SELECT count(*), ifnull(sum(size), 0) FROM assets;
CREATE TRIGGER one_more AFTER INSERT ON assets BEGIN
    UPDATE totals SET assets = assets + 1, size = size + new.size; END;
CREATE TRIGGER one_less AFTER DELETE ON assets BEGIN
    UPDATE totals SET assets = assets - 1, size = size - old.size; END;
CREATE TRIGGER another_size AFTER UPDATE OF size ON assets BEGIN
    UPDATE totals SET size = size + new.size - old.size; END;
"""

HIGHEST = """SELECT max(
    ifnull((SELECT max(used) FROM assets WHERE keep = 0), 0), ifnull((SELECT max(used) FROM assets WHERE keep = 1), 0)
)"""
"""The highest count of uses: the ends of two stretches of the index by use."""


def prepare(db: sqlite3.Connection) -> bool:
    """Give *db* what it lacks of the tables; whether no scan has filled them to the end yet.

    Raises:
        sqlite3.DatabaseError: It is of another version, or somebody else's.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        with transaction(db):
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables == 0:
                _execute(db, _TABLES)
    elif version != VERSION:
        raise sqlite3.DatabaseError(f"version {version}; this is version {VERSION}")
    db.execute("SELECT name, used, size, keep, label FROM assets LIMIT 1").fetchall()
    db.execute("SELECT asset, path, size, complete, facts FROM resources LIMIT 1").fetchall()
    if not _has_totals(db):
        with transaction(db):
            if not _has_totals(db):
                _execute(db, _TOTALS)
    if db.execute("SELECT assets, size FROM totals").fetchone() is None:
        raise sqlite3.DatabaseError("nothing keeps count of the assets")
    (mark,) = db.execute("PRAGMA application_id").fetchone()
    return bool(mark != SCANNED)


def _has_totals(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'totals'").fetchone() is not None


def _execute(db: sqlite3.Connection, script: str) -> None:
    """Run the statements of *script* one by one, since `executescript` commits a transaction of the caller's."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            db.execute(pending)
            pending = ""


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that the block writes, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
