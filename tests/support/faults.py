"""Processes whose n-th file call goes wrong: killed before or after it, failed, or cut off from their disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import kithara

SHIM = Path(__file__).with_name("faultshim.c")


def build_shim(folder: Path) -> Path:
    """The shim as a library, compiled into *folder*."""
    library = folder / "faultshim.so"
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "a C compiler is what the package itself is built with"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-w", "-o", str(library), str(SHIM), "-ldl"], check=True, timeout=120
    )
    return library


def run_driver(library: Path, driver: Path, *arguments: object, timeout: float = 300) -> str:
    """Run the Python file *driver* with the shim preloaded; what it printed. Fails the test when it fails."""
    package = str(Path(kithara.__file__).parents[1])
    environment = {**os.environ, "LD_PRELOAD": str(library), "KT_SHIM": str(library), "PYTHONPATH": package}
    done = subprocess.run(
        [sys.executable, str(driver), *map(str, arguments)], env=environment, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
