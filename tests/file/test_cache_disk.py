"""The cache's disk misbehaves under an open reader."""

import errno
import os
import random
import subprocess
from pathlib import Path

import pytest
from support.faultserver import FaultServer
from support.waiting import eventually

import kithara
from kithara import FileOptions
from kithara.cli.origin import Origin
from kithara.errors import CacheCorrupt, NoSpace

MB = 1 << 20
DATA = random.Random(7).randbytes(3 * MB)


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("CRITICAL", "kithara")


def body(store):
    """The one file of media in the cache."""
    (path,) = [path for path in Path(store.root).rglob("body*") if path.name in ("body", "body.part")]
    return path


@pytest.mark.parametrize("complete", [True, False], ids=["whole", "partial"])
@pytest.mark.parametrize("left", [0, 100_000])
def test_truncating_the_file_under_a_reader_raises_and_the_next_open_fetches_anew(store, complete, left):
    options = FileOptions(complete=complete)
    with Origin({"a": DATA}) as origin:
        with kithara.open(origin.url("a"), store=store, options=options) as reader:
            reader.read(2 * MB)
            if complete:
                eventually(lambda: "committed" == reader.status)
            os.truncate(body(store), left)
            reader.seek(MB)
            with pytest.raises(CacheCorrupt):
                reader.read(MB)
            with kithara.open(origin.url("a"), store=store, options=options) as again:
                assert DATA == again.read()
        with kithara.open(origin.url("a"), store=store) as later:
            assert DATA == later.read()


@pytest.fixture
def small(tmp_path):
    """A file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.root
def test_a_file_larger_than_the_disk_is_refused_before_it_is_fetched(small):
    with kithara.AssetStore(small / "cache") as store, Origin({"a": DATA}) as origin:
        with pytest.raises(NoSpace) as caught:
            kithara.open(origin.url("a"), store=store)
        assert errno.ENOSPC == caught.value.errno
        assert [] == store.assets()


@pytest.mark.root
def test_a_disk_that_fills_up_leaves_readable_what_is_here(small):
    with kithara.AssetStore(small / "cache") as store, FaultServer() as server:
        server.serve("/a", DATA, ranges=False, length=False)
        with kithara.open(server.url("/a"), store=store) as reader:
            with pytest.raises(NoSpace):
                reader.read()
            (start, stop), *_ = reader.available_ranges()
            assert 0 == start
            assert MB // 2 < stop
            assert DATA[:stop] == reader.read(stop)
