"""The cache as its users see it."""

import copy
import errno
import gc
import logging
import os
import pickle
import queue
import random
import subprocess
import sys
import threading

import platformdirs
import pytest
from support.leaks import descriptors_below

from kithara.assets import AssetId, AssetStore, Limits, ResourceKey, asset_store
from kithara.assets.disk import DiskBackend
from kithara.errors import CacheCorrupt, Closed, KitharaError, NoSpace, ReadOnlyStore, StoreError, StoreIo
from kithara.events import Evicted
from kithara.storage import Validators

DATA = random.Random(11).randbytes(100_000)
KEY = ResourceKey("show", "file/body", "http://h/show")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    for name in ("kithara.storage", "kithara.assets"):
        caplog.set_level(logging.CRITICAL, name)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(params=["disk", "memory"])
def store(request, root):
    """A store of each kind that may hold three assets of `DATA`'s size."""
    with AssetStore(root, 360_000) if request.param == "disk" else AssetStore.in_memory(400_000) as store:
        yield store


@pytest.fixture
def disk(root):
    with AssetStore(root) as store:
        yield store


def read(resource):
    buffer = bytearray(resource.length)
    assert len(buffer) == resource.read_at(0, buffer)
    return bytes(buffer)


def fill(store, name, data=DATA, path="file/body"):
    """Commit *data* as an asset, and let go of it."""
    resource = store.open_streaming(ResourceKey(name, path))
    resource.describe(Validators(total=len(data), etag=f'"{name}"'))
    resource.write_at(0, data)
    resource.commit()
    assert "committed" == resource.status


def test_a_whole_resource_tells_other_processes_nothing_and_holds_no_descriptor_for_it(disk):
    resource = disk.open_streaming(KEY)
    resource.write_at(0, DATA)
    told = [path for path in descriptors_below(disk.root) if ".live" in path]
    resource.commit(len(DATA))
    assert (1, []) == (len(told), [path for path in descriptors_below(disk.root) if ".live" in path])


def ids(store):
    return {str(info.id) for info in store.assets()}


def tree(root):
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and "_index" not in path.parts
    )


# ── resources ────────────────────────────────────────────────────────────────────────────────


def test_what_is_committed_is_there_next_time(store):
    fill(store, "show")
    resource = store.open_streaming(KEY)
    assert ("committed", DATA) == (resource.status, read(resource))
    assert Validators(total=len(DATA), etag='"show"') == resource.validators


def test_the_layout_on_disk_is_that_of_the_keys(disk, root):
    fill(disk, "show")
    disk.open_atomic(ResourceKey("show", "keys/A.bin")).write(b"k")
    assert ["kithara.root", "show/file/body", "show/keys/%41.bin"] == tree(root)
    assert DATA == (root / "show/file/body").read_bytes()


def test_two_who_ask_get_the_same_resource(store):
    resource = store.open_streaming(KEY)
    assert resource is store.open_streaming(ResourceKey("show", "file/body"))
    assert resource is not store.open_streaming(ResourceKey("show", "file/other"))


def test_many_threads_who_ask_at_once_get_the_same_resource(store):
    start = threading.Barrier(8)
    got = []

    def ask():
        start.wait(10)
        got.append(store.open_streaming(KEY))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [got[0]] * 8 == got


@pytest.mark.parametrize("end", ["fail", "cancel", "close", "discard"])
def test_a_resource_that_ended_is_not_given_out_again(store, end):
    resource = store.open_streaming(KEY)
    resource.write_at(0, b"x")
    if end == "fail":
        resource.fail(ValueError("broken"))
    else:
        getattr(resource, end)()
    again = store.open_streaming(KEY)
    assert again is not resource
    assert "active" == again.status


def test_a_partial_goes_on_where_it_was(disk):
    resource = disk.open_streaming(KEY)
    resource.describe(Validators(total=len(DATA), etag='"a"'))
    resource.write_at(50_000, DATA[50_000:])
    resource.park()
    del resource
    gc.collect()
    again = disk.open_streaming(KEY)
    assert ([(50_000, 100_000)], True, '"a"') == (again.available_ranges(), again.resumed, again.validators.etag)
    again.write_at(0, DATA[:50_000])
    again.commit()
    assert DATA == read(again)


def test_closing_the_store_saves_and_readers_go_on(disk, root):
    resource = disk.open_streaming(KEY)
    resource.write_at(0, DATA[:1000])
    disk.close()
    assert b"\0" * 10 != bytes(DATA[:10])
    buffer = bytearray(1000)
    assert 1000 == resource.read_at(0, buffer)
    with AssetStore(root) as again:
        assert [(0, 1000)] == again.open_streaming(KEY).available_ranges()


def test_a_store_that_was_left_without_a_word_is_resumed_from_its_checkpoint(root):
    code = (
        "import os, sys\n"
        "from kithara.assets import AssetStore, ResourceKey\n"
        "r = AssetStore(sys.argv[1]).open_streaming(ResourceKey('show', 'file/body'))\n"
        "r.write_at(0, b'a' * 1000)\n"
        "r.checkpoint()\n"
        "r.write_at(1000, b'b' * 1000)\n"
        "os._exit(1)\n"
    )
    assert 1 == subprocess.run([sys.executable, "-c", code, str(root)], timeout=60, check=False).returncode
    with AssetStore(root) as store:
        assert [(0, 1000)] == store.open_streaming(KEY).available_ranges()


def test_a_new_generation_leaves_readers_of_the_old_one_alone(store):
    fill(store, "show")
    old = store.open_streaming(KEY)
    new = store.supersede(KEY)
    assert new is store.open_streaming(KEY)
    new.write_at(0, b"new")
    assert DATA == read(old)
    new.commit(3)
    assert (DATA, b"new") == (read(old), read(new))
    del old, new
    gc.collect()
    assert b"new" == read(store.open_streaming(KEY))


def test_a_new_generation_of_a_partial_starts_from_nothing(store):
    old = store.open_streaming(KEY)
    old.write_at(0, b"old")
    new = store.supersede(KEY)
    assert [] == new.available_ranges()
    old.write_at(3, b"more")
    new.write_at(0, b"new")
    new.commit(3)
    old.close()
    assert b"new" == read(store.open_streaming(KEY))


def test_a_removed_resource_is_gone_and_its_readers_keep_their_bytes(store):
    fill(store, "show")
    resource = store.open_streaming(KEY)
    store.remove_resource(KEY)
    assert DATA == read(resource)
    again = store.open_streaming(KEY)
    assert ("active", []) == (again.status, again.available_ranges())
    store.remove_resource(ResourceKey("nobody", "knows"))


def test_a_removed_asset_is_gone_and_its_readers_keep_their_bytes(store):
    fill(store, "show")
    fill(store, "show", b"x", "other")
    store.open_atomic(ResourceKey("show", "key")).write(b"k")
    store.pin("show")
    resource = store.open_streaming(KEY)
    store.remove("show")
    assert DATA == read(resource)
    assert set() == ids(store)
    assert store.open_atomic(ResourceKey("show", "key")).read() is None
    assert "active" == store.open_streaming(ResourceKey("show", "other")).status


def test_a_file_truncated_under_a_reader_is_corrupt_dropped_and_can_be_fetched_anew(disk, root):
    fill(disk, "show")
    resource = disk.open_streaming(KEY)
    read(resource)
    os.truncate(root / "show/file/body", 10)
    with pytest.raises(CacheCorrupt):
        [read(resource) for _ in range(5)]
    assert "active" == disk.open_streaming(KEY).status


def test_a_file_overwritten_between_two_sessions_is_not_served(disk, root):
    fill(disk, "show")
    gc.collect()
    path = root / "show/file/body"
    with open(path, "r+b") as file:
        file.write(b"junk")
    assert "active" == disk.open_streaming(KEY).status
    assert not path.exists()


# ── leases, pins, eviction ───────────────────────────────────────────────────────────────────


def test_the_least_recently_used_goes_first(store):
    heard = store.bus.subscribe()
    for name in "abc":
        fill(store, name)
    store.open_streaming(ResourceKey("a", "file/body"))
    gc.collect()
    fill(store, "d")
    assert {"a", "c", "d"} == ids(store)
    event = heard.get_nowait()
    assert isinstance(event, Evicted)
    assert ("b", True) == (event.asset_id, event.size >= len(DATA))


def test_the_order_of_use_is_no_matter_of_clocks(store, monkeypatch):
    import time

    for name in "abc":
        fill(store, name)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    store.lease("a").release()
    fill(store, "d")
    assert {"a", "c", "d"} == ids(store)


def test_what_is_leased_or_pinned_stays(store):
    for name in "abc":
        fill(store, name)
    store.pin("a")
    lease = store.lease("b")
    gc.collect()
    fill(store, "d")
    assert {"a", "b", "d"} == ids(store)
    lease.release()
    store.unpin("a")
    gc.collect()
    fill(store, "e")
    fill(store, "f")
    assert {"d", "e", "f"} == ids(store)


def test_a_resource_leases_its_asset_as_long_as_somebody_refers_to_it(disk):
    fill(disk, "a")
    resource = disk.open_streaming(ResourceKey("a", "file/body"))
    assert [True] == [info.leased for info in disk.assets()]
    with AssetStore(disk.root, 1000) as small:
        small.evict()
        assert {"a"} == ids(small)
        del resource
        gc.collect()
        assert small.evict() >= len(DATA)
        assert set() == ids(small)


def test_a_pin_outlives_the_process_and_the_index(root):
    with AssetStore(root) as store:
        fill(store, "a")
        fill(store, "b")
        store.pin("a")
    for name in os.listdir(root / "_index"):
        os.unlink(root / "_index" / name)
    with AssetStore(root, 1000) as store:
        store._scan.join(20)
        store.evict()
        assert {"a"} == ids(store)
        store.unpin("a")
        store.evict()
        assert set() == ids(store)


def test_room_is_made_before_a_download_that_would_not_fit(store):
    for name in "abc":
        fill(store, name)
    gc.collect()
    resource = store.open_streaming(ResourceKey("d", "file/body"))
    resource.describe(Validators(total=250_000))
    if store.root != "memory":
        assert {"c", "d"} == ids(store)
    resource.write_at(0, bytes(250_000))
    assert "a" not in ids(store)


def test_the_number_of_assets_is_kept_to(root):
    with AssetStore(root, max_assets=3) as store:
        for number in range(6):
            fill(store, f"a{number}", b"x")
            gc.collect()
        assert {"a3", "a4", "a5"} == ids(store)


def test_memory_is_never_exceeded():
    with AssetStore.in_memory(200_000) as store:
        resource = store.open_streaming(KEY)
        lease = store.lease("show")
        with pytest.raises(NoSpace, match="limit of the memory store"):
            resource.write_at(0, bytes(300_000))
        resource.write_at(0, DATA)
        assert store.usage().bytes <= 200_000
        lease.release()


def test_a_full_disk_evicts_and_tries_once_more(disk, monkeypatch):
    fill(disk, "old")
    gc.collect()
    resource = disk.open_streaming(KEY)
    real = resource._write_at_once

    def write_to_a_full_disk(offset, data):
        if "old" in ids(disk):
            raise NoSpace("full")
        return real(offset, data)

    monkeypatch.setattr(resource, "_write_at_once", write_to_a_full_disk)
    assert 5 == resource.write_at(0, b"bytes")
    assert {"show"} == ids(disk)


def test_what_cannot_be_removed_does_not_make_eviction_spin(disk, monkeypatch):
    for name in "abc":
        fill(disk, name)
    gc.collect()
    calls = []

    def refuse(name):
        calls.append(name)
        raise StoreIo("busy", errno=errno.EBUSY)

    monkeypatch.setattr(disk._backend, "remove_asset", refuse)
    with AssetStore(disk.root, 0) as small:
        monkeypatch.setattr(small._backend, "remove_asset", refuse)
        assert 0 == small.evict()
    assert ["a", "b", "c"] == calls


# ── looking ──────────────────────────────────────────────────────────────────────────────────


def test_usage_and_assets_tell_what_is_there(store):
    fill(store, "a")
    resource = store.open_streaming(KEY)
    resource.write_at(0, DATA)
    resource.commit(len(DATA))
    store.pin("show")
    usage = store.usage()
    assert 2 == usage.assets
    assert 2 * len(DATA) <= usage.bytes <= 2 * len(DATA) + 100_000
    by_id = {info.id: info for info in store.assets()}
    assert "http://h/show" == by_id["show"].label
    assert (False, True) == (by_id["a"].pinned, by_id["show"].pinned)
    assert by_id["a"].size >= len(DATA)
    assert all(isinstance(name, AssetId) for name in by_id)


def test_verify_removes_what_is_torn_and_nothing_else(disk, root, tmp_path):
    for name in ("good", "empty"):
        fill(disk, name)
    partial = disk.open_streaming(ResourceKey("partial", "file/body"))
    partial.write_at(0, DATA[:1000])
    partial.park()
    working = disk.open_streaming(ResourceKey("working", "file/body"))
    working.write_at(0, b"x")
    disk.pin("good")
    gc.collect()
    (root / "empty/file/body").write_bytes(b"")
    (root / "good/.0123.tmp").write_bytes(b"left over")
    (root / "good/file/lost.part").write_bytes(b"no sidecar")
    (root / "good/file/gone.part.meta").write_bytes(b"no part")
    (root / "good/file/link").symlink_to(tmp_path)
    (root / "Not An Asset").mkdir()
    (root / ".77.tmp").write_bytes(b"left over")
    os.mkfifo(root / "fifo")
    (root / "_trash").mkdir(exist_ok=True)
    (root / "_trash/old").mkdir()
    (root / "_trash/old/f").write_bytes(b"x")
    removed = {found.path for found in disk.verify()}
    assert {
        ".77.tmp", "empty/file/body", "fifo", "good/.0123.tmp", "good/file/gone.part.meta", "good/file/link",
        "good/file/lost.part",
    } == removed  # fmt: skip
    assert [] == disk.verify()
    assert [
        "good/.keep", "good/file/body", "kithara.root", "partial/file/body.part", "partial/file/body.part.meta",
        "working/file/body.part", "working/file/body.part.live",
    ] == tree(root)  # fmt: skip
    assert tmp_path.exists()
    assert (root / "Not An Asset").exists()


def test_a_lost_index_is_rebuilt_while_the_cache_serves(root):
    with AssetStore(root) as store:
        for name in "abc":
            fill(store, name)
        before = store.usage()
    for name in os.listdir(root / "_index"):
        if name.startswith("index"):
            (root / "_index" / name).write_bytes(b"garbage" * 1000)
    with AssetStore(root) as store:
        assert DATA == read(store.open_streaming(ResourceKey("a", "file/body")))
        store._scan.join(20)
        assert before == store.usage()


def lose_index(root):
    for name in os.listdir(root / "_index"):
        if name.startswith("index"):
            os.unlink(root / "_index" / name)


def test_a_cache_whose_index_was_lost_is_listed_whole_at_once(root):
    names = sorted(f"a{number}" for number in range(200))
    with AssetStore(root) as store:
        for name in names:
            (root / name).mkdir()
        store.pin("a7")
    lose_index(root)
    with AssetStore(root) as store:
        assert 200 == store.usage().assets
        assert names == sorted(ids(store))
        assert ["a7"] == [info.id for info in store.assets() if info.pinned]


def test_a_walk_that_was_broken_off_is_done_again_at_the_next_opening(root, monkeypatch):
    with AssetStore(root) as store:
        for name in "abc":
            fill(store, name)
    lose_index(root)
    walk = DiskBackend.assets

    def closed_behind_the_first(backend):
        yield next(walk(backend))
        opened.get(timeout=20)._house.closed.wait(20)
        yield from ()

    opened = queue.Queue()
    with monkeypatch.context() as patch:
        patch.setattr(DiskBackend, "assets", closed_behind_the_first)
        store = AssetStore(root)
        opened.put(store)
        store.close()
    with AssetStore(root) as store:
        assert {"a", "b", "c"} == ids(store)
        assert 3 == store.usage().assets


# ── roots ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/", "~"])
def test_a_root_that_is_no_place_for_a_cache_is_refused(path):
    with pytest.raises(StoreError, match="no place for a cache"):
        AssetStore(os.path.expanduser(path))


def test_a_directory_that_holds_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="not empty"):
        AssetStore(tmp_path)
    assert ["thesis.txt"] == os.listdir(tmp_path)


def test_a_root_whose_making_was_interrupted_is_made(root):
    root.mkdir()
    (root / ".0123456789abcdef.tmp").write_bytes(b"kith")
    (root / "_index").mkdir()
    with AssetStore(root) as store:
        fill(store, "a")


def test_many_who_make_one_root_at_once_all_get_it(tmp_path):
    for turn in range(10):
        start = threading.Barrier(6)
        errors = []

        def make(turn=turn, start=start, errors=errors):
            start.wait(10)
            try:
                AssetStore(tmp_path / str(turn)).close()
            except StoreError as exc:
                errors.append(exc)

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [] == errors


def test_a_file_as_root_is_refused(tmp_path):
    (tmp_path / "f").write_text("precious")
    with pytest.raises(StoreError):
        AssetStore(tmp_path / "f")


def test_a_root_that_others_may_write_is_refused(root):
    AssetStore(root).close()
    root.chmod(0o777)
    with pytest.raises(ReadOnlyStore, match="writable by others"):
        AssetStore(root)
    root.chmod(0o1777)
    AssetStore(root).close()


def test_a_cache_of_another_version_is_left_alone(root):
    with AssetStore(root) as store:
        fill(store, "a")
    (root / "kithara.root").write_text("kithara cache, format 99\n")
    with pytest.raises(CacheCorrupt, match="another version"):
        AssetStore(root)
    assert DATA == (root / "a/file/body").read_bytes()


def test_a_link_planted_as_an_asset_is_refused(disk, root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (root / "show").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheCorrupt):
        disk.open_streaming(KEY)
    with pytest.raises(CacheCorrupt):
        disk.open_atomic(KEY).write(b"x")
    disk.remove("show")
    assert [] == os.listdir(tmp_path / "elsewhere")
    disk.open_streaming(KEY).close()


def test_a_root_removed_while_we_run_is_made_again(disk, root):
    import shutil

    resource = disk.open_streaming(KEY)
    resource.write_at(0, DATA)
    shutil.rmtree(root)
    resource.commit(len(DATA))
    assert DATA == read(resource)
    fill(disk, "other")
    assert DATA == (root / "other/file/body").read_bytes()


def test_the_platforms_directory_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *args, **options: str(tmp_path / "kithara"))
    with AssetStore() as store:
        assert str(tmp_path / "kithara") == store.root
        assert (2 << 30, 100_000) == (store.usage().max_bytes, store.usage().max_assets)


def test_where_that_cannot_be_written_a_private_one_is_used_with_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *args, **options: str(tmp_path / "file" / "kithara"))
    with pytest.warns(RuntimeWarning, match="cache directory cannot be used"):
        store = AssetStore()
    fill(store, "a")
    private = store.root
    assert os.path.isdir(private)
    store.close()
    del store
    gc.collect()
    assert not os.path.exists(private)


# ── the object itself ────────────────────────────────────────────────────────────────────────


def test_a_store_pickles_as_a_recipe(root):
    with asset_store(root, Limits(max_bytes=5, max_assets=6)) as store:
        again = pickle.loads(pickle.dumps(store))
        assert (store.root, 5, 6) == (again.root, again.usage().max_bytes, again.usage().max_assets)
        again.close()
        copy.copy(store).close()
    with pickle.loads(pickle.dumps(AssetStore.in_memory(7))) as memory:
        assert ("memory", 7) == (memory.root, memory.usage().max_bytes)


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(Closed):
        store.open_streaming(KEY)
    with pytest.raises(Closed):
        store.usage()


def test_a_forked_child_opens_resources_of_its_own(disk):
    fill(disk, "show")
    inherited = disk.open_streaming(KEY)
    done, tell = os.pipe()
    child = os.fork()
    if child == 0:
        own = disk.open_streaming(KEY)
        os.write(tell, bytes([own is not inherited and read(own) == DATA]))
        os._exit(0)
    assert b"\1" == os.read(done, 1)
    os.waitpid(child, 0)
    os.close(done)
    os.close(tell)


def test_stores_and_resources_leave_nothing_open(root):
    def once():
        with AssetStore(root) as store:
            resource = store.open_streaming(KEY)
            resource.write_at(0, b"x")
            resource.park()
            store.open_streaming(ResourceKey("show", "file/other")).close()

    before = set(threading.enumerate())
    for _ in range(10):
        once()
    gc.collect()
    assert [] == descriptors_below(root)
    assert set() == set(threading.enumerate()) - before


def test_a_directory_that_another_process_removes_amid_an_open_is_made_again(disk, monkeypatch):
    from kithara.storage.files import Directory

    real = Directory.open_file
    removed = []

    def open_file(self, name, flags):
        if name.endswith(".part") and flags & os.O_CREAT and not removed:
            removed.append(name)
            os.rmdir(self.path)
        return real(self, name, flags)

    monkeypatch.setattr(Directory, "open_file", open_file)
    resource = disk.open_streaming(KEY)
    assert ["body.part"] == removed
    resource.write_at(0, DATA)
    resource.commit(len(DATA))
    assert DATA == read(disk.open_streaming(KEY))


def test_a_directory_that_another_process_removes_between_two_steps_is_made_again(disk, root, monkeypatch):
    fill(disk, "show")
    real = os.open
    removed = []

    def open_then_remove(name, flags, *mode, dir_fd=None):
        if name == "other" and not removed:
            removed.append(name)
            disk._backend.remove_asset("show")
        return real(name, flags, *mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_then_remove)
    resource = disk.open_streaming(ResourceKey("show", "other/body"))
    assert ["other"] == removed
    resource.write_at(0, DATA)
    resource.commit(len(DATA))
    assert DATA == (root / "show" / "other" / "body").read_bytes()


def test_what_a_crash_left_half_removed_is_removed_at_the_next_start(root):
    with AssetStore(root) as store:
        fill(store, "a")
    (root / "_trash").mkdir()
    (root / "a").rename(root / "_trash" / "0123456789abcdef")
    with AssetStore(root) as store:
        store._scan.join(20)
        assert [] == os.listdir(root / "_trash")
    with AssetStore(root) as store:
        assert store._scan is None


@pytest.mark.parametrize("cycles", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_opening_and_closing_leaves_descriptors_maps_and_threads_where_they_were(disk, cycles):
    fill(disk, "whole")

    def once(number):
        whole = disk.open_streaming(ResourceKey("whole", "file/body"))
        assert DATA[:100] == read_some(whole)
        part = disk.open_streaming(ResourceKey(f"part{number % 7}", "file/body"))
        if part.total == 0:
            part.describe(Validators(total=200, etag='"a"'))
            part.write_at(0, DATA[:100])
        assert DATA[:100] == read_some(part)
        part.close()

    def counts():
        gc.collect()
        with open("/proc/self/maps", encoding="utf-8") as maps:
            return descriptors_below(disk.root), sum(disk.root in line for line in maps)

    once(0)
    before, threads = counts(), set(threading.enumerate())
    for number in range(cycles):
        once(number)
    assert before == counts()
    assert set() == set(threading.enumerate()) - threads


def read_some(resource):
    buffer = bytearray(100)
    assert 100 == resource.read_at(0, buffer)
    return bytes(buffer)


@pytest.mark.parametrize("how", ["fail", "cancel"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_what_comes_after_a_commit_leaves_the_one_live_resource_in_place(tmp_path, in_memory, how):
    with AssetStore.in_memory() if in_memory else AssetStore(tmp_path / "kept") as store:
        key = ResourceKey("show", "file/body")
        resource = store.open_streaming(key)
        resource.describe(Validators(total=3))
        resource.write_at(0, b"abc")
        resource.commit()
        resource.fail(KitharaError("too late")) if how == "fail" else resource.cancel()
        assert "committed" == resource.status
        assert resource is store.open_streaming(key)


def test_what_is_being_fetched_into_memory_is_not_evicted_before_its_reader_comes():
    with AssetStore.in_memory(max_bytes=100_000) as store:
        fetched, other = (store.open_streaming(ResourceKey(name, "file/body")) for name in ("fetched", "other"))
        for resource in (fetched, other):
            resource.produce(lambda: None, look_ahead=0)
        fetched.write_at(0, DATA[:80_000])
        with pytest.raises(NoSpace):
            other.write_at(0, DATA[:50_000])
        assert fetched.on_disk
        fetched.retire()
        other.write_at(0, DATA[:50_000])
        assert not fetched.on_disk


def test_what_is_whole_is_held_and_nothing_is_made_by_asking(store):
    before = ids(store)
    assert not store.holds(KEY)
    assert before == ids(store)
    resource = store.open_streaming(KEY)
    resource.describe(Validators(total=len(DATA)))
    resource.write_at(0, DATA[:10])
    assert not store.holds(KEY)
    resource.write_at(10, DATA[10:])
    resource.commit()
    assert store.holds(KEY)
    store.remove_resource(KEY)
    assert not store.holds(KEY)
