"""Every file call of a download goes wrong once: what is served afterwards is right, and it goes on to the end."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import faults

DRIVER = Path(faults.__file__).with_name("crashdriver.py")


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return faults.build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def base(tmp_path):
    """Memory where there is such a file system: neither a kill nor a failing call is about the disk itself."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    path = tempfile.mkdtemp(dir="/dev/shm", prefix="kithara-test-")
    yield path
    shutil.rmtree(path)


@pytest.mark.timeout(200)
def test_killed_before_and_after_every_file_call(shim, base):
    faults.run_driver(shim, DRIVER, "kill", base)


@pytest.mark.timeout(200)
def test_killed_again_while_recovering(shim, base):
    faults.run_driver(shim, DRIVER, "recovery", base, 7)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_again_at_every_call_of_every_recovery(shim, base):
    faults.run_driver(shim, DRIVER, "recovery", base, 1, timeout=900)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", ["ENOSPC", "EIO"])
def test_every_file_call_fails_once(shim, base, number):
    faults.run_driver(shim, DRIVER, "fail", base, number)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", ["EDQUOT", "EROFS", "EACCES", "EMFILE", "EFBIG", "ENOMEM"])
def test_every_file_call_fails_once_in_other_ways(shim, base, number):
    faults.run_driver(shim, DRIVER, "fail", base, number)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", ["ENOSPC"])
def test_every_file_call_from_one_on_fails(shim, base, number):
    faults.run_driver(shim, DRIVER, "full", base, number)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", ["EDQUOT", "EIO", "EROFS"])
def test_every_file_call_from_one_on_fails_in_other_ways(shim, base, number):
    faults.run_driver(shim, DRIVER, "full", base, number)


@pytest.mark.timeout(60)
def test_writes_that_write_half_are_gone_on_with(shim, base):
    faults.run_driver(shim, DRIVER, "short", base)


@pytest.mark.timeout(60)
def test_a_disk_that_cannot_read_makes_the_entry_corrupt_and_drops_it(shim, base):
    faults.run_driver(shim, DRIVER, "read", base)


def can_mount(folder):
    """Whether a file system in a file can be mounted here; else why not."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("mkfs.ext4") is None or not os.path.exists("/dev/loop-control"):
        return "no mkfs.ext4, or no loop devices"
    image, mount = folder / "probe.img", folder / "probe"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, mount], check=False, capture_output=True).returncode:
        return "mounting is not allowed"
    subprocess.run(["umount", mount], check=True)
    return None


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_power_cut_before_and_after_file_calls(shim, tmp_path, stride):
    reason = can_mount(tmp_path)
    if reason:
        pytest.skip(reason)
    faults.run_driver(shim, DRIVER, "cut", tmp_path, stride)
