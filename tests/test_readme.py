"""The README's examples run as they stand, one after the other, against a loopback origin."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import corpus

import kithara
from kithara.cli.origin import Origin

EXAMPLE = "https://example.org/song.flac"


def python_lines(text):
    """The lines of *text* that stand in a python block, every other one blank, so that line numbers stay."""
    inside = False
    for line in text.splitlines():
        fence = line.startswith("```")
        yield line if inside and not fence else ""
        inside = line.startswith("```python") or (inside and not fence)


@pytest.fixture
def readme(root):
    return (root / "README.md").read_text()


def test_the_readme_has_five_examples_and_they_name_one_url(readme):
    assert 5 == readme.count("```python")
    assert {EXAMPLE} == set(re.findall(r"https://example[^\"]*", "\n".join(python_lines(readme))))


def test_the_examples_run_in_order(readme, tmp_path):
    with Origin({"song.flac": corpus.file("flac").path}) as origin:
        script = tmp_path / "readme.py"
        script.write_text("\n".join(python_lines(readme)).replace(EXAMPLE, origin.url("song.flac")))
        places = {name: str(tmp_path / "home") for name in ("HOME", "XDG_CACHE_HOME")}
        path = os.pathsep.join([str(Path(kithara.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-W", "error", script],
            env={**os.environ, **places, "PYTHONPATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (0, "") == (done.returncode, done.stderr)
        size = corpus.file("flac").path.stat().st_size
        assert str(size) in done.stdout
        assert size <= origin.sent < 1.5 * size  # all of it, and what a seek cut off was in flight


def test_the_make_targets_that_the_readme_names_exist(readme, root):
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\S+)", readme, re.MULTILINE)) <= targets


def test_the_files_that_the_readme_links_to_exist(readme, root):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme)
    assert links
    assert [] == [link for link in links if not (root / link).exists()]
