"""Large files that arrive in pieces: what survives, what is refused, what is dropped."""

import errno
import gc
import hashlib
import logging
import os
import random
import threading
import time

import pytest
from support.leaks import descriptors_below

from kithara._core import disk
from kithara.errors import CacheCorrupt, Cancelled, Closed, NoSpace, ReadOnlyStore, StoreIo, WaitTimeout
from kithara.storage import StreamingResource, Validators, WaitOutcome
from kithara.storage.sidecar import Sidecar

DATA = random.Random(7).randbytes(300_000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "asset" / "body"


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "kithara.storage")


def read(resource, start=0, stop=None):
    buffer = bytearray((resource.length if stop is None else stop) - start)
    assert len(buffer) == resource.read_at(start, buffer)
    return bytes(buffer)


def read_for_long(resource):
    """Enough that the file is looked at again, which happens every 256 KiB."""
    for _ in range(3):
        read(resource)


def filled(path, *spans, **options):
    resource = StreamingResource(path, len(DATA), **options)
    for start, stop in spans:
        resource.write_at(start, DATA[start:stop])
    return resource


def names(path):
    return sorted(os.listdir(path.parent)) if path.parent.exists() else []


def test_what_is_committed_has_its_final_name_and_is_there_next_time(path):
    resource = filled(path, (200_000, 300_000), (0, 200_000))
    assert not path.exists()
    resource.commit()
    assert resource.status == "committed"
    assert path.read_bytes() == DATA
    assert names(path) == ["body"]
    again = StreamingResource(path)
    assert ("committed", len(DATA)) == (again.status, again.length)
    assert read(again) == DATA
    assert read(resource) == DATA


def test_a_commit_over_a_hole_changes_nothing(path):
    resource = filled(path, (0, 100), (101, 300_000))
    with pytest.raises(ValueError, match="hole"):
        resource.commit()
    assert resource.status == "active"
    assert not path.exists()
    resource.write_at(100, DATA[100:101])
    resource.commit()
    resource.commit()
    assert path.read_bytes() == DATA


def test_a_commit_needs_a_length_and_may_bring_it(path):
    resource = StreamingResource(path)
    resource.write_at(0, DATA)
    with pytest.raises(ValueError, match="length"):
        resource.commit()
    resource.commit(len(DATA))
    assert WaitOutcome.EOF is resource.wait_range(len(DATA), len(DATA) + 1)
    assert path.read_bytes() == DATA


def test_a_checkpoint_is_resumed_and_the_rest_asked_for_again(path):
    resource = filled(path, (0, 1000), (5000, 9000))
    facts = Validators(total=len(DATA), etag='"a"', last_modified="Sat", date="Sun", content_type="audio/flac")
    resource.describe(facts)
    assert resource.checkpoint()
    assert not resource.checkpoint()
    resource.write_at(2000, DATA[2000:3000])  # not saved: lost with the process
    again = StreamingResource(path)
    assert again.available_ranges() == [(0, 1000), (5000, 9000)]
    assert (facts, True, len(DATA), "active") == (again.validators, again.resumed, again.length, again.status)
    assert DATA[5000:9000] == read(again, 5000, 9000)
    for start, stop in [(0, 5000), (9000, len(DATA))]:
        again.write_at(start, DATA[start:stop])
    again.commit()
    assert path.read_bytes() == DATA


def test_closing_saves(path):
    resource = filled(path, (0, 1000))
    resource.close()
    resource.close()
    with pytest.raises(Closed):
        resource.read_at(0, bytearray(1))
    assert StreamingResource(path).available_ranges() == [(0, 1000)]


def test_parking_saves_and_writing_goes_on_after_taking_it_up(path):
    resource = filled(path, (0, 1000))
    resource.park()
    assert not resource.is_writer
    assert resource.try_become_writer()
    resource.write_at(1000, DATA[1000:])
    resource.commit()
    assert path.read_bytes() == DATA


def test_without_a_checkpoint_nothing_is_trusted(path):
    filled(path, (0, 300_000))
    again = StreamingResource(path)
    assert again.available_ranges() == []
    assert not again.resumed


def test_dirt_is_counted_and_due_after_four_mebibytes(path, monkeypatch):
    monkeypatch.setattr("kithara.storage.unsaved.CHECKPOINT_PAUSE", 0.0)
    resource = StreamingResource(path)
    assert (resource.dirty, resource.due) == (0, False)
    resource.write_at(0, DATA)
    resource.write_at(0, DATA)
    assert (len(DATA), False) == (resource.dirty, resource.due)
    resource.write_at(len(DATA), bytes(4 << 20))
    assert resource.due
    resource.checkpoint()
    assert (resource.dirty, resource.due) == (0, False)


def spoil_sidecar(change):
    def spoil(path):
        meta = path.with_name("body.part.meta")
        change(meta)

    return spoil


def lie(**changes):
    def change(meta):
        import dataclasses

        meta.write_bytes(dataclasses.replace(Sidecar.decode(meta.read_bytes()), **changes).encode())

    return spoil_sidecar(change)


def replant(path):
    part = path.with_name("body.part")
    content = part.read_bytes()
    keep = part.rename(path.with_name("keep"))  # so that the inode is not used again
    part.write_bytes(content)
    assert keep.stat().st_ino != part.stat().st_ino


def link_sidecar(meta):
    meta.rename(meta.with_name("elsewhere"))
    meta.symlink_to(meta.with_name("elsewhere"))


def make_fifo(path):
    path.unlink()
    os.mkfifo(path)


UNTRUSTED = {
    "no sidecar": spoil_sidecar(os.unlink),
    "empty sidecar": spoil_sidecar(lambda meta: meta.write_bytes(b"")),
    "torn sidecar": spoil_sidecar(lambda meta: os.truncate(meta, 50)),
    "huge sidecar": spoil_sidecar(lambda meta: os.truncate(meta, 100 << 20)),
    "sidecar is a link": spoil_sidecar(link_sidecar),
    "sidecar is a FIFO": spoil_sidecar(make_fifo),
    "sidecar is a directory": spoil_sidecar(lambda meta: (os.unlink(meta), os.mkdir(meta))),
    "range beyond the file": lie(ranges=((0, 300_000),), validators=Validators()),
    "of another key": lie(key="x"),
    "of another inode": lie(inode=1),
    "of another device": lie(device=1),
    "part is another file": replant,
    "part is gone": lambda path: os.unlink(path.with_name("body.part")),
    "part is shorter": lambda path: os.truncate(path.with_name("body.part"), 8999),
    "part is a FIFO": lambda path: make_fifo(path.with_name("body.part")),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("fault", UNTRUSTED)
def test_a_partial_that_cannot_be_trusted_is_begun_anew(path, fault):
    resource = filled(path, (0, 1000), (5000, 9000))
    resource.close()
    UNTRUSTED[fault](path)
    again = StreamingResource(path, len(DATA))
    assert again.available_ranges() == []
    again.write_at(0, DATA)
    again.commit()
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_link_planted_as_the_part_is_removed_and_its_target_untouched(path, tmp_path, kind):
    filled(path, (0, 1000)).close()
    part = path.with_name("body.part")
    victim = tmp_path / "victim"
    part.rename(victim)
    before = victim.read_bytes()
    if kind == "symlink":
        part.symlink_to(victim)
    else:
        part.hardlink_to(victim)
    again = StreamingResource(path, len(DATA))
    assert again.available_ranges() == []
    again.write_at(0, DATA)
    again.commit()
    assert before == victim.read_bytes()
    assert victim.stat().st_nlink == 1


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "socket"])
def test_what_is_no_regular_file_is_never_taken_for_a_committed_one(path, tmp_path, kind):
    path.parent.mkdir()
    if kind == "symlink":
        (tmp_path / "victim").write_bytes(b"precious")
        path.symlink_to(tmp_path / "victim")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, 0o140600)
    else:
        path.mkdir()
    with pytest.raises((CacheCorrupt, StoreIo)):
        StreamingResource(path)


def test_an_empty_file_under_the_final_name_is_a_torn_one(path):
    path.parent.mkdir()
    path.touch()
    resource = StreamingResource(path)
    assert (resource.status, resource.length) == ("active", None)


def test_an_empty_resource_is_whole_but_not_kept(path):
    resource = StreamingResource(path, 0)
    resource.commit()
    assert (resource.status, resource.length) == ("committed", 0)
    assert names(path) == []


def test_another_length_than_before_is_another_representation(path):
    filled(path, (0, 1000)).close()
    again = StreamingResource(path, 5000)
    assert (again.available_ranges(), again.length) == ([], 5000)
    again.write_at(0, DATA[:5000])
    again.commit()
    with pytest.raises(CacheCorrupt, match="5000 bytes instead of 6000"):
        StreamingResource(path, 6000)


def test_the_digest_is_asked_for_before_the_name_is_given(path):
    good = hashlib.sha256(DATA).hexdigest()
    filled(path, (0, 300_000), sha256=good.upper()).commit()
    other = path.with_name("other")
    resource = filled(other, (0, 300_000), sha256="0" * 64)
    with pytest.raises(CacheCorrupt, match="digest"):
        resource.commit()
    assert resource.status == "failed"
    assert names(path) == ["body"]


def test_failing_keeps_the_files_for_the_next_session(path):
    resource = filled(path, (0, 1000))
    resource.checkpoint()
    resource.fail(StoreIo("gone"))
    with pytest.raises(StoreIo, match="gone"):
        resource.wait_range(1000, 1001)
    assert DATA[:1000] == read(resource, 0, 1000)
    assert StreamingResource(path).available_ranges() == [(0, 1000)]


def test_cancelling_keeps_the_files_too(path):
    resource = filled(path, (0, 1000))
    resource.checkpoint()
    resource.cancel()
    with pytest.raises(Cancelled):
        resource.wait_range(1000, 1001)
    assert StreamingResource(path).available_ranges() == [(0, 1000)]


@pytest.mark.parametrize("whole", [False, True])
def test_discarding_removes_the_files_and_readers_keep_their_bytes(path, whole):
    resource = filled(path, (0, 300_000))
    resource.checkpoint()
    if whole:
        resource.commit()
    resource.discard()
    resource.discard()
    assert names(path) == []
    assert read(resource) == DATA
    assert not resource.checkpoint()


def test_discarding_an_old_generation_leaves_the_new_one_alone(path):
    old = filled(path, (0, 1000))
    new = StreamingResource(path, len(DATA))  # nobody keeps two apart here: the names now mean the new file
    new.write_at(0, DATA[:500])
    new.checkpoint()
    old.discard()
    assert StreamingResource(path).available_ranges() == [(0, 500)]


def test_a_superseded_generation_touches_no_name(path):
    old = filled(path, (0, 1000))
    old.supersede()
    new = filled(path, (0, 300_000))
    new.commit()
    assert not old.checkpoint()
    old.close()
    assert names(path) == ["body"]
    assert path.read_bytes() == DATA


class Faulty:
    """Lets the named call of `os` fail with *number* once it was told to."""

    def __init__(self, monkeypatch, name, number):
        real = getattr(os, name)
        self.armed = True

        def call(*args, **options):
            if self.armed:
                raise OSError(number, os.strerror(number))
            return real(*args, **options)

        monkeypatch.setattr(os, name, call)


def test_a_disk_that_fails_to_sync_ends_the_generation(path, monkeypatch):
    resource = filled(path, (0, 1000))
    resource.checkpoint()
    resource.write_at(1000, DATA[1000:2000])
    Faulty(monkeypatch, "fdatasync", errno.EIO)
    with pytest.raises(StoreIo) as caught:
        resource.checkpoint()
    assert caught.value.errno == errno.EIO
    assert resource.status == "failed"
    assert names(path) == []


def test_a_commit_that_fails_to_sync_ends_the_generation(path, monkeypatch):
    resource = filled(path, (0, 300_000))
    Faulty(monkeypatch, "fdatasync", errno.EIO)
    with pytest.raises(StoreIo):
        resource.commit()
    assert resource.status == "failed"
    assert names(path) == []


def test_a_full_disk_at_the_sidecar_costs_progress_only(path, monkeypatch, caplog):
    resource = filled(path, (0, 1000))
    fault = Faulty(monkeypatch, "replace", errno.ENOSPC)
    caplog.set_level(logging.WARNING, "kithara.storage")
    resource.checkpoint()
    resource.write_at(1000, DATA[1000:2000])
    resource.checkpoint()
    assert caplog.text.count("progress is not kept") == 1
    assert resource.status == "active"
    fault.armed = False
    resource.write_at(2000, DATA[2000:])
    resource.commit()
    assert path.read_bytes() == DATA
    assert names(path) == ["body"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EROFS, ReadOnlyStore)])
def test_a_commit_that_cannot_rename_may_be_tried_again(path, monkeypatch, number, kind):
    resource = filled(path, (0, 300_000))
    fault = Faulty(monkeypatch, "rename", number)
    with pytest.raises(kind):
        resource.commit()
    assert resource.status == "active"
    assert read(resource) == DATA
    fault.armed = False
    resource.commit()
    assert path.read_bytes() == DATA


def test_a_directory_removed_while_open_costs_the_cache_and_nothing_else(path):
    resource = filled(path, (0, 1000))
    for name in names(path):
        (path.parent / name).unlink()
    path.parent.rmdir()
    resource.checkpoint()
    resource.write_at(1000, DATA[1000:])
    resource.commit()
    assert resource.status == "committed"
    assert read(resource) == DATA


def test_a_file_truncated_by_somebody_else_is_corrupt_and_dropped(path):
    filled(path, (0, 300_000)).commit()
    resource = StreamingResource(path)
    read(resource)
    os.truncate(path, 100_000)
    with pytest.raises(CacheCorrupt):
        read_for_long(resource)
    assert names(path) == []


def test_a_partial_truncated_by_somebody_else_is_dropped_with_its_sidecar(path):
    resource = filled(path, (0, 300_000))
    resource.checkpoint()
    os.truncate(path.with_name("body.part"), 5000)
    with pytest.raises(CacheCorrupt):
        read_for_long(resource)
    assert names(path) == []


def test_room_is_reserved_and_what_is_not_used_is_given_back(path):
    resource = StreamingResource(path, 8 << 20)
    resource.write_at(0, DATA)
    part = path.with_name("body.part")
    if part.stat().st_blocks * 512 < 8 << 20:
        pytest.skip("this file system does not reserve")
    assert len(DATA) == part.stat().st_size
    resource.park()
    assert part.stat().st_blocks * 512 < 1 << 20
    assert read(resource, 0, len(DATA)) == DATA


def test_a_length_that_can_never_fit_is_no_space_at_once(path):
    resource = StreamingResource(path)
    free = os.statvfs(path.parent)
    too_much = (free.f_bavail * free.f_frsize) * 2
    with pytest.raises(NoSpace):
        resource.describe(Validators(total=too_much))


def test_validators_contradicting_the_length_are_refused(path):
    resource = filled(path, (0, 1000))
    with pytest.raises(ValueError, match="300000, not 7"):
        resource.describe(Validators(total=7))


@pytest.mark.parametrize("mask", [0, 0o077])
def test_files_are_private_whatever_the_umask(path, mask):
    before = os.umask(mask)
    try:
        resource = filled(path, (0, 1000))
        resource.checkpoint()
    finally:
        os.umask(before)
    assert names(path) == ["body.part", "body.part.meta"]
    for name in names(path):
        assert (path.parent / name).stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_reader_in_a_thread_gets_bytes_as_they_come(path):
    resource = StreamingResource(path, len(DATA))
    with pytest.raises(WaitTimeout):
        resource.wait_range(0, 10, timeout=0.01)
    got = []

    def consume():
        for start in range(0, len(DATA), 50_000):
            resource.wait_range(start, start + 50_000, timeout=20)
            got.append(read(resource, start, start + 50_000))

    reader = threading.Thread(target=consume)
    reader.start()
    for start in random.Random(3).sample(range(0, len(DATA), 10_000), 30):
        resource.write_at(start, DATA[start : start + 10_000])
        if start % 30_000 == 0:
            resource.checkpoint()
    reader.join(20)
    assert b"".join(got) == DATA


def test_nothing_is_left_open(path):
    for number in range(20):
        resource = filled(path.with_name(f"f{number}"), (0, 1000))
        assert [] != descriptors_below(path.parent)
        resource.close()
        del resource
        StreamingResource(path.with_name(f"f{number}"))
    path.with_name("g").symlink_to("f1")
    with pytest.raises(CacheCorrupt):
        StreamingResource(path.with_name("g"))
    gc.collect()
    assert [] == descriptors_below(path.parent)


def test_a_checkpoint_amid_a_write_claims_no_byte_that_it_did_not_sync(path, monkeypatch):
    resource = StreamingResource(path, len(DATA))
    resource.describe(Validators(total=len(DATA), etag='"a"'))  # so there is something to save already
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), real(fd)))
    saving = threading.Thread(target=resource.checkpoint)

    def published_but_not_counted():
        saving.start()
        saving.join(0.2)

    resource.when(0, 10, published_but_not_counted)
    resource.write_at(0, DATA[:10])
    saving.join(20)
    sidecar = Sidecar.decode(path.with_name("body.part.meta").read_bytes())
    assert ((0, 10),) == sidecar.ranges
    assert [resource.fd] == synced


def test_on_a_file_system_over_a_network_nothing_is_mapped(path, monkeypatch):
    monkeypatch.setattr(disk, "is_remote", lambda fd: True)
    filled(path, (0, 300_000)).commit()
    resource = StreamingResource(path)
    assert DATA == read(resource)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        assert str(path) not in maps.read()
    os.truncate(path, 10)
    with pytest.raises(CacheCorrupt):
        read(resource)


def test_this_very_disk_is_local(tmp_path):
    with open(tmp_path / "f", "wb") as file:
        assert not disk.is_remote(file.fileno())


def test_only_the_remains_of_an_old_one_make_opening_wait_for_the_disk(path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    StreamingResource(path)
    assert [] == synced
    path.with_name("other.part.meta").write_bytes(b"torn")
    StreamingResource(path.with_name("other"))
    assert 1 == len(synced)


def test_no_checkpoint_is_due_within_a_quarter_of_a_second_of_the_first_byte(path):
    resource = StreamingResource(path)
    began = time.monotonic()
    resource.write_at(0, bytes(5 << 20))
    soon = resource.due
    assert not soon or time.monotonic() - began >= 0.25


def test_a_write_that_finds_the_file_cut_lets_go_of_the_others_before_it_drops_it(path, monkeypatch):
    resource = filled(path, (0, 200_000))
    held = []
    discard = StreamingResource.discard
    monkeypatch.setattr(
        StreamingResource, "discard", lambda self: (held.append(self._writing._is_owned()), discard(self))
    )
    os.truncate(path.with_name("body.part"), 1000)
    with pytest.raises(CacheCorrupt):
        resource.write_at(200_000, DATA[200_000:])
    assert [False] == held
    assert names(path) == []
