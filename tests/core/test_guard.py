"""A cached file that loses its bytes under a reader costs that reader an error, and nobody their process."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from support.children import python, says

from kithara._core.file_resource import FileResource
from kithara._core.reader import SyncReader
from kithara.errors import CacheCorrupt, NoSpace

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 64 * PAGE
CONTENT = random.Random(6).randbytes(SIZE)

# In a child: a mapped, committed resource over the file named by the first argument, and ways to look at it.
OPENED = f"""
path, size = sys.argv[1], {SIZE}
resource = FileResource(os.open(path, os.O_RDONLY), committed=True)
reader = SyncReader(resource)
assert len(reader.read(100)) == 100

def attempt(reader=reader, offset={SIZE // 2}):
    reader.seek(offset)
    try:
        while reader.read(5000):
            pass
        return "read to the end"
    except CacheCorrupt as error:
        return type(error).__name__
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "cached"
    file.write_bytes(CONTENT)
    return file


def drain(reader: SyncReader, size: int) -> None:
    while reader.read(size):
        pass


def committed(path: Path, **options: object) -> FileResource:
    return FileResource(os.open(path, os.O_RDONLY), committed=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("handler", ["no", "before", "after"])
def test_truncating_the_file_under_a_reader_is_an_error_and_the_process_lives(path: Path, handler: str) -> None:
    says(
        "CacheCorrupt CacheCorrupt alive",
        f"""
        if {handler!r} == "before":
            faulthandler.enable(open(os.devnull, "w"))
        """,
        OPENED,
        f"""
if {handler!r} == "after":
    faulthandler.enable(open(os.devnull, "w"))
os.truncate(path, 0)
print(attempt(), attempt(offset=0), "alive")
reader.close()
""",
        arguments=[str(path)],
    )


def test_eight_threads_in_one_truncated_file_all_live(path: Path) -> None:
    says(
        "8 CacheCorrupt",
        OPENED,
        """
readers = [SyncReader(resource) for _ in range(8)]
at_once = threading.Barrier(9)
answers = []

def run(reader):
    at_once.wait()
    answers.append(attempt(reader, 0))

threads = [threading.Thread(target=run, args=(reader,)) for reader in readers]
for thread in threads:
    thread.start()
os.truncate(path, 0)
at_once.wait()
for thread in threads:
    thread.join()
print(len(answers), *set(answers))
for each in [reader, *readers]:
    each.close()
""",
        arguments=[str(path)],
    )


def test_truncation_while_threads_copy_is_survived_each_time(path: Path) -> None:
    says(
        "survived",
        OPENED,
        """
content = open(path, "rb").read()
reader.close()
for _ in range(20):
    fresh = path + ".fresh"
    with open(fresh, "wb") as file:
        file.write(content)
    victim = FileResource(os.open(fresh, os.O_RDONLY), committed=True)
    readers = [SyncReader(victim) for _ in range(2)]
    answers = []

    def until_corrupt(reader):
        while attempt(reader, 0) != "CacheCorrupt":
            pass
        answers.append(attempt(reader, 0))

    threads = [threading.Thread(target=until_corrupt, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    os.truncate(fresh, 4096)
    for thread in threads:
        thread.join()
    assert answers == ["CacheCorrupt"] * 2, answers
    for each in readers:
        each.close()
print("survived")
""",
        arguments=[str(path)],
    )


def test_the_guard_holds_in_a_forked_child(path: Path) -> None:
    says(
        "CacheCorrupt 0",
        OPENED,
        """
pid = os.fork()
if pid == 0:
    mine = FileResource(os.open(path, os.O_RDONLY), committed=True)
    with SyncReader(mine) as own:
        own.read(10)
        os.truncate(path, 0)
        print(attempt(own), end=" ", flush=True)
    os._exit(0)
print(os.waitpid(pid, 0)[1])
reader.close()
""",
        arguments=[str(path)],
    )


def test_truncation_inside_a_page_gives_no_signal_and_is_seen_all_the_same(path: Path) -> None:
    with SyncReader(committed(path)) as reader:
        assert CONTENT[:10] == reader.read(10)
        os.truncate(path, SIZE - 100)
        reader.seek(SIZE - 200)
        with pytest.raises(CacheCorrupt):
            drain(reader, 50)


@pytest.mark.parametrize("change", ["extended again", "written in place"])
def test_changes_that_give_no_signal_are_seen_before_the_end_is_told(path: Path, change: str) -> None:
    with SyncReader(committed(path)) as reader:
        assert CONTENT[:10] == reader.read(10)
        if change == "extended again":
            os.truncate(path, 10)
            os.truncate(path, SIZE)
        else:
            with path.open("r+b") as file:
                file.seek(SIZE // 2)
                file.write(b"other bytes")
        os.utime(path, ns=(1, 1))
        with pytest.raises(CacheCorrupt):
            drain(reader, 5000)


@pytest.mark.parametrize("how", ["replaced", "unlinked"])
def test_a_file_renamed_over_or_unlinked_leaves_its_readers_alone(path: Path, how: str) -> None:
    with SyncReader(committed(path)) as reader:
        assert CONTENT[:10] == reader.read(10)
        if how == "replaced":
            other = path.with_suffix(".new")
            other.write_bytes(b"short")
            other.rename(path)
        else:
            path.unlink()
        assert CONTENT[10:] == reader.read()


def test_a_partial_file_that_is_truncated_is_corrupt_where_its_bytes_were(tmp_path: Path) -> None:
    says(
        "CacheCorrupt",
        f"""
        resource = FileResource(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), length={SIZE})
        reader = SyncReader(resource)
        resource.write_at(0, bytes({SIZE // 2}))
        reader.read(100)
        os.truncate(sys.argv[1], 0)
        reader.seek({SIZE // 4})
        try:
            reader.read({SIZE // 4})
        except CacheCorrupt as error:
            print(type(error).__name__)
        reader.close()
        """,
        arguments=[str(tmp_path / "part")],
    )


def test_reading_without_a_mapping_sees_the_loss_too(path: Path) -> None:
    with SyncReader(committed(path, io="pread")) as reader:
        assert CONTENT[:10] == reader.read(10)
        os.truncate(path, SIZE // 2)
        with pytest.raises(CacheCorrupt):
            reader.read()


def test_a_bus_error_sent_by_kill_still_kills(path: Path) -> None:
    ended = python(OPENED, "reader.close()\nos.kill(os.getpid(), signal.SIGBUS)\nprint('lived')", arguments=[str(path)])
    assert (-7, "") == (ended.code, ended.out)


def test_a_fault_in_somebody_elses_mapping_still_kills(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(CONTENT)
    ended = python(
        OPENED,
        """
import mmap
file = open(sys.argv[2], "r+b")
theirs = mmap.mmap(file.fileno(), 0)
os.truncate(sys.argv[2], 0)
sys.stdout.write("before")
sys.stdout.flush()
theirs[8192]
print("lived")
""",
        arguments=[str(path), str(other)],
    )
    assert (-7, "before") == (ended.code, ended.out)


def test_a_handler_that_was_there_gets_what_is_not_ours(path: Path) -> None:
    says(
        "theirs CacheCorrupt",
        """
        seen = []
        signal.signal(signal.SIGBUS, lambda *_: seen.append("theirs"))
        """,
        OPENED,
        """
os.truncate(path, 0)
answer = attempt()
os.kill(os.getpid(), signal.SIGBUS)
print(*seen, answer)
reader.close()
""",
        arguments=[str(path)],
    )


def test_nothing_is_installed_before_the_first_mapping() -> None:
    says(
        "0 0",
        """
        def handled():
            for line in open("/proc/self/status"):
                if line.startswith("SigCgt"):
                    return int(line.split()[1], 16) >> (signal.SIGBUS - 1) & 1
        import kithara
        first = handled()
        store = MemoryResource(10)
        store.write_at(0, b"x")
        with SyncReader(store) as reader:
            reader.read(1)
        print(first, handled())
        """,
    )


def test_mappings_go_with_their_resource(path: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    for _ in range(200):
        with SyncReader(committed(path)) as reader:
            assert CONTENT[:10] == reader.read(10)
    del reader
    assert 0 == mapped()


def test_a_corrupt_file_is_corrupt_from_the_start(path: Path) -> None:
    with pytest.raises(CacheCorrupt, match="instead of"):
        committed(path, length=SIZE + 1)


@pytest.mark.root
def test_a_full_disk_is_an_error_and_what_is_here_stays_readable(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a tmpfs")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        says(
            "NoSpace True 4096 alive",
            """
            resource = FileResource(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), length=8 << 20)
            reader = SyncReader(resource)
            written = 0
            try:
                while True:
                    written += resource.write_at(written, b"x" * 65536)
            except NoSpace as error:
                name = type(error).__name__
            whole = reader.read(written) == b"x" * written
            os.unlink(sys.argv[1] + ".other") if os.path.exists(sys.argv[1] + ".other") else None
            open(sys.argv[1] + ".full", "w").close()
            try:
                resource.write_at(4 << 20, b"y" * 65536)
            except NoSpace:
                pass
            assert not resource.contains_range(4 << 20, (4 << 20) + 1)
            reader.seek(0)
            print(name, whole, len(reader.read(4096)), "alive")
            reader.close()
            """,
            arguments=[str(mount / "part")],
        )
        assert issubclass(NoSpace, OSError)
    finally:
        subprocess.run(["umount", str(mount)], check=True)
