"""Runs in a process of its own, with the fault shim preloaded: a download whose n-th file call goes wrong, for each n.

Usage: crashdriver.py MODE ROOT [ERRNO [STRIDE]], where MODE is kill, fail, full, short, read, recovery or cut.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator

from kithara.assets import AssetStore, ResourceKey
from kithara.errors import CacheCorrupt, KitharaError
from kithara.storage import StreamingResource, Validators

COUNT, KILL_BEFORE, KILL_AFTER, FAIL_ONCE, FAIL_ON, CUT_BEFORE, CUT_AFTER, SHORT, FAIL_READS = range(9)
DATA = random.Random(17).randbytes(300_000)
OLD = random.Random(18).randbytes(150_000)
KEY = ResourceKey("show", "file/body")
OLD_KEY = ResourceKey("old", "file/body")
SMALL = ResourceKey("show", "keys/a.bin")
FACTS = Validators(total=len(DATA), etag='"a"')
SMALLS = (None, b"one", b"two" * 1000)

shim = ctypes.CDLL(os.environ["KT_SHIM"])
logging.disable()


def arm(root: str, target: int = 0, mode: int = COUNT, number: int = 0, mount: int = -1) -> None:
    shim.kt_arm(root.encode(), ctypes.c_long(target), mode, number, mount)


def prepare(root: str) -> None:
    """A cache with something old in it."""
    with AssetStore(root) as store:
        resource = store.open_streaming(OLD_KEY)
        resource.describe(Validators(total=len(OLD)))
        resource.write_at(0, OLD)
        resource.commit()
        store.open_atomic(SMALL).write(b"one")


def settle(root: str) -> None:
    """Have the file system write all it holds, so that only what comes after can be lost."""
    fd = os.open(root, os.O_RDONLY)
    ctypes.CDLL(None).syncfs(fd)
    os.close(fd)


def go_wrong(root: str, target: int, mode: int, act: Callable[..., object], *, number: int = 0, mount: int = -1) -> int:
    """Do *act* on *root* in a child whose call number *target* goes wrong; how that ended."""

    def armed() -> None:
        arm(root, target, mode, number, mount)
        act(root)

    return forked(armed)


def download(root: str, *, settled: bool = False) -> None:
    """What goes wrong somewhere: a download in pieces and its commit, for which the old asset has to go."""
    with AssetStore(root, 400_000) as store:
        resource = store.open_streaming(KEY)
        resource.describe(FACTS)
        for step, (start, stop) in enumerate([(200_000, 300_000), (0, 50_000), (100_000, 200_000), (50_000, 100_000)]):
            resource.write_at(start, DATA[start:stop])
            if step < 3:
                resource.checkpoint(durable=step == 1)
            if step == 0 and settled:
                settle(root)  # the file has its full size on the disk: holes in it would go unnoticed
        store.open_atomic(SMALL).write(b"two" * 1000)
        resource.commit()


def check(root: str) -> None:
    """Every byte that is served is right; then go on where it stopped, to the end."""
    with AssetStore(root) as store:
        resource = store.open_streaming(KEY)
        for start, stop in resource.available_ranges():
            buffer = bytearray(stop - start)
            assert len(buffer) == resource.read_at(start, buffer)
            assert DATA[start:stop] == buffer, f"wrong bytes in [{start}, {stop})"
        if resource.status == "active":
            assert resource.length in (None, len(DATA))
            resource.describe(FACTS)
            while (gap := resource.next_gap(0, len(DATA))) is not None:
                resource.write_at(gap[0], DATA[gap[0] : gap[1]])
            resource.commit()
        assert (resource.status, resource.length) == ("committed", len(DATA))
        old = store.open_streaming(OLD_KEY)
        if old.status == "committed":
            buffer = bytearray(len(OLD))
            old.read_at(0, buffer)
            assert OLD == buffer
        assert store.open_atomic(SMALL).read() in SMALLS


def scrutinise(root: str) -> None:
    """After all that, the tree holds what belongs there and no more."""
    with AssetStore(root) as store:
        store.verify()
        assert [] == store.verify()
        path = os.path.join(root, KEY.path)
        with open(path, "rb") as file:
            assert DATA == file.read()
        left = {name for _, _, names in os.walk(os.path.join(root, "show")) for name in names}
        assert left <= {"body", "a.bin"}, left


def forked(act: Callable[..., object], *arguments: object) -> int:
    """Do *act* in a child; 0, or a negated signal. An unexpected exception ends this process too."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            act(*arguments)
        except KitharaError:
            code = 3
        except BaseException:
            traceback.print_exc()
            code = 1
        os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 3, -signal.SIGKILL), f"a child ended with {code}"
    return code


def fresh(base: str) -> str:
    root = os.path.join(base, "cache")
    shutil.rmtree(root, ignore_errors=True)
    forked_cleanly(prepare, root)
    return root


def forked_cleanly(act: Callable[..., object], *arguments: object) -> None:
    code = forked(act, *arguments)
    assert code == 0, f"a child ended with {code}"


def calls(base: str, act: Callable[[str], None]) -> Iterator[int]:
    """1, 2, … up to the number of file calls that *act* makes when nothing goes wrong."""
    root = fresh(base)
    out, into = os.pipe()

    def count() -> None:
        arm(root)
        act(root)
        os.write(into, str(shim.kt_count()).encode())

    forked_cleanly(count)
    total = int(os.read(out, 20))
    os.close(out)
    os.close(into)
    print("calls", total)
    assert total > 20
    return iter(range(1, total + 1))


def kill(base: str) -> None:
    """Killed before and after every call; then all is well."""
    for n in calls(base, download):
        for mode in (KILL_BEFORE, KILL_AFTER):
            root = fresh(base)
            assert -signal.SIGKILL == go_wrong(root, n, mode, download)
            forked_cleanly(check, root)
            forked_cleanly(scrutinise, root)


def recovery(base: str, stride: int) -> None:
    """Killed, and killed again while recovering."""
    for n in list(calls(base, download))[::stride]:
        for m in range(1, 1000, stride):
            root = fresh(base)
            go_wrong(root, n, KILL_AFTER, download)
            code = go_wrong(root, m, KILL_BEFORE, check)
            forked_cleanly(check, root)
            if code == 0:
                break


def fail(base: str, number: int, mode: int) -> None:
    """Every call fails once, or from then on: a typed error or none, and what is served afterwards is right."""
    kinds = set()
    for n in calls(base, download):
        root = fresh(base)
        kinds.add(go_wrong(root, n, mode, download, number=number))
        forked_cleanly(check, root)
        forked_cleanly(scrutinise, root)
    print("ends", sorted(kinds))
    assert 3 in kinds


def short(base: str) -> None:
    """Writes that write half of what they are given."""
    root = fresh(base)
    assert go_wrong(root, 0, SHORT, download) == 0
    forked_cleanly(check, root)


def read(base: str) -> None:
    """A disk that cannot read what it holds: the entry is corrupt, and dropped, to be fetched anew."""
    path = os.path.join(base, "cache", "body")
    resource = StreamingResource(path, len(DATA), io="pread")
    resource.write_at(0, DATA)
    resource.commit()
    arm(os.path.dirname(path), mode=FAIL_READS, number=errno.EIO)
    try:
        resource.read_at(0, bytearray(1000))
    except CacheCorrupt:
        arm(os.path.dirname(path))
        assert StreamingResource(path).status == "active"
        return
    raise AssertionError("bytes came from a disk that cannot read")


def cut(base: str, stride: int) -> None:
    """The disk goes away at a call, with all that was not synced; then the machine comes up again."""
    image, mount = os.path.join(base, "disk.img"), os.path.join(base, "mnt")
    os.makedirs(mount, exist_ok=True)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    if not os.path.exists(image):
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        run("mkfs.ext4", "-q", image)
    run("mount", "-o", "loop", image, mount)
    try:
        total = list(calls(mount, download))
        for n in total[::stride]:
            for mode in (CUT_BEFORE, CUT_AFTER):
                root = fresh(mount)
                settle(mount)
                fd = os.open(mount, os.O_RDONLY)
                settled = functools.partial(download, settled=True)
                assert -signal.SIGKILL == go_wrong(root, n, mode, settled, mount=fd)
                os.close(fd)
                run("umount", mount)
                run("mount", "-o", "loop", image, mount)
                forked_cleanly(check, root)
                forked_cleanly(scrutinise, root)
    finally:
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True)


def main() -> None:
    mode, base = sys.argv[1:3]
    number = getattr(errno, sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3].startswith("E") else 0
    stride = int(sys.argv[-1]) if sys.argv[-1].isdigit() else 1
    witness = os.path.join(base, "witness")
    with open(witness, "wb") as file:
        file.write(b"precious")
    if mode == "kill":
        kill(base)
    elif mode == "recovery":
        recovery(base, stride)
    elif mode == "fail":
        fail(base, number, FAIL_ONCE)
    elif mode == "full":
        fail(base, number, FAIL_ON)
    elif mode == "short":
        short(base)
    elif mode == "read":
        read(base)
    elif mode == "cut":
        cut(base, stride)
    else:
        raise SystemExit(f"{mode}: no such mode")
    with open(witness, "rb") as file:
        assert b"precious" == file.read()


if __name__ == "__main__":
    main()
