"""Small files that change as a whole."""

import errno
import os
import threading

import pytest

from kithara.errors import CacheCorrupt, InvalidKey, ReadOnlyStore, StoreIo
from kithara.storage import AtomicResource
from kithara.storage.files import Directory


def test_what_was_written_is_read(tmp_path):
    resource = AtomicResource(tmp_path / "new" / "key.bin")
    assert resource.read() is None
    resource.write(b"one")
    assert resource.read() == b"one"
    resource.write(b"")
    assert resource.read() == b""
    assert os.listdir(tmp_path / "new") == ["key.bin"]


@pytest.mark.parametrize("mask", [0, 0o077])
def test_files_and_directories_are_private_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        AtomicResource(tmp_path / "d" / "f").write(b"x")
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "d").st_mode & 0o777 == 0o700
    assert os.stat(tmp_path / "d" / "f").st_mode & 0o777 == 0o600


def test_a_reader_sees_one_whole_version_or_another(tmp_path):
    resource = AtomicResource(tmp_path / "f", durable=False)
    versions = {bytes([n]) * 50_000 for n in range(8)}
    resource.write(min(versions))
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for version in versions:
                resource.write(version)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(resource.read() in versions for _ in range(300))
    finally:
        stop.set()
        writer.join()


def test_a_link_is_not_followed_and_a_write_replaces_it(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "f").symlink_to(victim)
    resource = AtomicResource(tmp_path / "f")
    with pytest.raises(CacheCorrupt, match="symbolic link"):
        resource.read()
    resource.write(b"x")
    assert resource.read() == b"x"
    assert victim.read_bytes() == b"precious"


def test_a_link_on_the_way_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "keys").symlink_to(tmp_path / "elsewhere")
    with Directory.open(tmp_path / "root") as root:
        with pytest.raises(CacheCorrupt):
            AtomicResource("keys/a", within=root).write(b"x")
        with pytest.raises(CacheCorrupt):
            AtomicResource("keys/a", within=root).read()
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.timeout(10)
def test_a_fifo_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "f")
    with pytest.raises(CacheCorrupt, match="no regular file"):
        AtomicResource(tmp_path / "f").read()


def test_a_directory_in_its_place_is_a_typed_error(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(CacheCorrupt):
        AtomicResource(tmp_path / "f").read()
    with pytest.raises(CacheCorrupt):
        AtomicResource(tmp_path / "f").write(b"x")
    assert os.listdir(tmp_path) == ["f"]


def test_a_name_that_is_too_long_is_an_invalid_key(tmp_path):
    with pytest.raises(InvalidKey):
        AtomicResource(tmp_path / ("x" * 300)).write(b"x")


def test_a_failing_call_keeps_the_old_version_and_leaves_no_litter(tmp_path, monkeypatch):
    resource = AtomicResource(tmp_path / "f")
    resource.write(b"old")

    def fail(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StoreIo) as caught:
        resource.write(b"new")
    assert caught.value.errno == errno.EIO
    assert resource.read() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_read_only_place_is_named_as_such(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ReadOnlyStore, match="Read-only"):
        AtomicResource(tmp_path / "f").write(b"x")


def test_a_tree_is_removed_without_following_links(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f").write_bytes(b"precious")
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    (tmp_path / "root" / "a" / "f").write_bytes(b"x")
    (tmp_path / "root" / "a" / "b" / "link").symlink_to(tmp_path / "elsewhere")
    with Directory.open(tmp_path / "root") as root:
        root.remove_tree("a")
        root.remove_tree("a")
    assert os.listdir(tmp_path / "root") == []
    assert (tmp_path / "elsewhere" / "f").read_bytes() == b"precious"
