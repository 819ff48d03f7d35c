"""The index of hints."""

import logging
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from kithara._core import disk
from kithara.assets.index import Index


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "index.db")


@pytest.fixture
def index(path):
    index = Index(path, flush_after=0)
    yield index
    index.close()


def names(index):
    return [row.name for row in index.rows()]


def test_sizes_follow_the_resources(index):
    index.put("a", "file/body", 100, complete=False, label="http://h/a")
    index.put("a", "file/other", 5, complete=True)
    index.put("a", "file/body", 300, complete=True)
    index.put("b", "file/body", 7, complete=True)
    assert index.totals() == (2, 312)
    assert (index.row("a").size, index.row("a").label) == (305, "http://h/a")
    index.drop("a", "file/other")
    assert index.row("a").size == 300
    index.drop("a")
    assert index.totals() == (1, 7)
    assert index.facts("a", "file/body") is None


def test_totals_are_the_sums_of_the_rows_after_anything(index):
    chance = random.Random(8)
    for _ in range(300):
        name, path = chance.choice("abcdef"), chance.choice("xyz")
        act = chance.choice(("enter", "put", "put", "drop", "forget", "keep", "scan"))
        if act == "enter":
            index.enter(name, path)
        elif act == "put":
            index.put(name, path, chance.randrange(1000), complete=True)
        elif act == "drop":
            index.drop(name, path)
        elif act == "forget":
            index.drop(name)
        elif act == "keep":
            index.keep(name, chance.random() < 0.5)
        else:
            found = [(name, False, [(path, chance.randrange(1000), True)])]
            index.replace_all(found, drop_missing=chance.random() < 0.2)
        rows = index.rows()
        assert (len(rows), sum(row.size for row in rows)) == index.totals()


def test_an_index_from_before_totals_were_kept_learns_them(path):
    index = Index(path)
    index.put("a", "x", 5, complete=True)
    index.filled()
    index.close()
    with sqlite3.connect(path) as db:
        for trigger in ("one_more", "one_less", "another_size"):
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute("DROP TABLE totals")
        db.execute("INSERT INTO resources VALUES ('a', 'y', 7, 1, NULL)")
    db.close()
    index = Index(path)
    index.put("b", "x", 1, complete=True)
    assert (False, (2, 13)) == (index.fresh, index.totals())
    index.close()


def test_the_least_recently_used_comes_first_and_survives_reopening(path):
    index = Index(path)
    for name in "abc":
        index.put(name, "x", 1, complete=True)
    index.touch("a")
    assert names(index) == ["b", "c", "a"]
    index.touch("b")
    index.close()
    index = Index(path)
    index.put("d", "x", 1, complete=True)
    assert names(index) == ["c", "a", "b", "d"]
    index.close()


def test_an_index_is_fresh_until_a_scan_has_filled_it(path):
    index = Index(path)
    index.put("a", "x", 1, complete=True)
    index.close()
    index = Index(path)
    assert index.fresh
    index.filled()
    index.close()
    index = Index(path)
    assert not index.fresh
    index.close()


def test_a_stamp_is_later_than_those_another_process_wrote(path):
    ours, theirs = Index(path, flush_after=0), Index(path, flush_after=0)
    ours.put("a", "x", 1, complete=True)
    for _ in range(5):
        theirs.put("b", "x", 1, complete=True)
        theirs.touch("b")
    ours.touch("a")
    assert names(theirs) == ["b", "a"]
    ours.close()
    theirs.close()


def test_kept_assets_are_no_candidates_and_pages_go_on(index):
    index.replace_all((name, name == "c", [("x", 1, True)]) for name in "abcde")
    index.keep("d", True)
    first = index.oldest(2)
    assert [row.name for row in first] == ["a", "b"]
    assert [row.name for row in index.oldest(2, after=first[-1])] == ["e"]
    index.keep("d", False)
    assert [row.name for row in index.oldest(9, after=first[-1])] == ["d", "e"]


def test_a_scan_corrects_rows_but_keeps_what_it_cannot_know(index):
    index.put("a", "x", 1, complete=True, facts='{"etag": "1"}', label="http://h/a")
    index.put("gone", "x", 1, complete=True)
    used = index.row("a").used
    index.replace_all([("a", False, [("x", 4, True), ("y", 5, False)]), ("new", False, [])])
    row = index.row("a")
    assert (used, 9, "http://h/a") == (row.used, row.size, row.label)
    assert index.facts("a", "x") == '{"etag": "1"}'
    assert {"a", "new"} == set(names(index))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: Path(path).write_bytes(b"not a database at all, but long enough to be looked at" * 100),
        lambda path: Path(path).write_bytes(b"\0" * 100 + Path(path).read_bytes()[100:]),
        lambda path: os.truncate(path, 5000),
        lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close(),
        lambda path: sqlite3.connect(path).execute("DROP TABLE resources").connection.close(),
        lambda path: (os.unlink(path), os.mkdir(path)),
    ],
    ids=["garbage", "header", "truncated", "future", "schema", "directory"],
)
def test_a_broken_index_is_set_aside_and_begun_anew(path, spoil, caplog):
    caplog.set_level(logging.CRITICAL, "kithara.assets")
    index = Index(path)
    for number in range(200):
        index.put(f"a{number}", "x", 1, complete=True)
    index.close()
    spoil(path)
    index = Index(path)
    assert index.fresh
    index.put("b", "x", 1, complete=True)
    assert names(index) == ["b"]
    index.close()
    assert os.path.exists(f"{path}.bad")


def test_an_index_broken_while_open_is_begun_anew(index, path, caplog):
    caplog.set_level(logging.CRITICAL, "kithara.assets")
    for number in range(500):
        index.put(f"a{number}", "x" * 100, 1, complete=True)
    index._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    index._db.execute("PRAGMA cache_size = 1")
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(os.path.getsize(path) - 4096))
    index.rows()
    index.put("b", "x", 1, complete=True)
    assert names(index) == ["b"]
    assert index.fresh


def test_a_place_that_cannot_be_written_gives_an_index_in_memory(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, "kithara.assets")
    index = Index(str(tmp_path / "missing" / "index.db"))
    index.put("a", "x", 3, complete=True)
    assert index.totals() == (1, 3)
    index.close()


def test_a_link_planted_as_the_index_is_not_followed(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, "kithara.assets")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    path = tmp_path / "index.db"
    path.symlink_to(victim)
    index = Index(str(path))
    index.put("a", "x", 3, complete=True)
    index.close()
    assert victim.read_bytes() == b"precious"
    assert not path.is_symlink()


def test_a_locked_database_costs_a_hint_and_nothing_else(path, caplog):
    caplog.set_level(logging.CRITICAL, "kithara.assets")
    index = Index(path)
    index._db.execute("PRAGMA busy_timeout = 10")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    index.put("a", "x", 3, complete=True)
    assert index.totals() == (0, 0)
    blocker.execute("ROLLBACK")
    index.put("a", "x", 3, complete=True)
    assert index.totals() == (1, 3)
    blocker.close()
    index.close()


def test_the_file_is_private(path, index):
    for suffix in ("", "-wal", "-shm"):
        assert os.stat(path + suffix).st_mode & 0o777 == 0o600


def test_two_processes_write_at_once_and_nothing_is_lost(path):
    code = (
        "import sys\n"
        "from kithara.assets.index import Index\n"
        "index = Index(sys.argv[1])\n"
        "for number in range(int(sys.argv[2]), int(sys.argv[2]) + 200):\n"
        "    index.put(f'a{number}', 'x', 1, complete=True)\n"
        "index.close()\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, path, start]) for start in ("0", "1000")]
    assert [worker.wait(30) for worker in workers] == [0, 0]
    index = Index(path)
    assert index.totals() == (400, 400)
    index.close()


def test_a_forked_child_has_a_connection_of_its_own(index):
    index.put("a", "x", 1, complete=True)
    done, tell = os.pipe()
    child = os.fork()
    if child == 0:
        index.put("b", "x", 2, complete=True)
        os.write(tell, bytes([index.totals() == (2, 3)]))
        os._exit(0)
    assert os.read(done, 1) == b"\1"
    os.waitpid(child, 0)
    os.close(done)
    os.close(tell)
    assert index.totals() == (2, 3)


def test_a_closed_index_knows_nothing_and_refuses_nothing(path):
    index = Index(path)
    index.put("a", "x", 3, complete=True)
    index.close()
    index.close()
    index.put("b", "x", 3, complete=True)
    index.touch("a")
    assert (0, 0) == index.totals()
    assert [] == index.rows()


def test_on_a_file_system_over_a_network_the_index_needs_no_shared_memory(path, monkeypatch):
    monkeypatch.setattr(disk, "is_remote", lambda fd: True)
    index = Index(path)
    index.put("a", "x", 3, complete=True)
    assert not os.path.exists(path + "-shm")
    index.close()
