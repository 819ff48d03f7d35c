"""Examples of the README and the documentation, run as a reader would who pastes them in order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kithara

EXAMPLE = "https://example.org/song.flac"
"""The one URL that examples name; a test puts an origin's in its place."""


def python_lines(text: str) -> Iterator[str]:
    """The lines of *text* that stand in a python block, every other one blank, so that line numbers stay."""
    inside = False
    for line in text.splitlines():
        fence = line.startswith("```")
        yield line if inside and not fence else ""
        inside = line.startswith("```python") or (inside and not fence)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *script* in a fresh interpreter and *folder*, where its default cache is too."""
    path = folder / "script.py"
    path.write_text(script)
    places = {name: str(folder / "home") for name in ("HOME", "XDG_CACHE_HOME")}
    modules = os.pathsep.join([str(Path(kithara.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", path],
        env={**os.environ, **places, "PYTHONPATH": modules},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
