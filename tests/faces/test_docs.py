"""The documentation builds without a warning, and what it says of errors and tests is so."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import corpus
from support.examples import EXAMPLE, python_lines, run
from support.libraries import need

import kithara
from kithara.cli.origin import Origin

SENTENCE = re.compile(r"(?<![*\w])\*([a-z0-9][a-z0-9 ]+)\*(?!\*)")


def tree(error):
    """The names of *error* and of all errors below it that this package defines."""
    below = [tree(kind) for kind in error.__subclasses__() if kind.__module__ == "kithara.errors"]
    return {error.__name__}.union(*below)


def test_every_error_has_one_line_with_its_remedy_and_no_other_has(root):
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|$", (root / "docs" / "errors.md").read_text(), re.MULTILINE)
    assert sorted(tree(kithara.KitharaError)) == sorted(name for name, _, _ in lines)
    assert [] == [name for name, meaning, _ in lines if not meaning.strip()]


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_every_test_that_a_page_names_exists(root, page):
    sources = [path.read_text() for path in (root / "tests").rglob("test_*.py")]
    there = set(re.findall(r"def test_(\w+)\(", "\n".join(sources)))
    rows = [line for line in (root / page).read_text().splitlines() if line.startswith("|")]
    named = [sentence for row in rows for sentence in SENTENCE.findall(row)]
    assert len(named) > 20
    assert [] == [sentence for sentence in named if sentence.replace(" ", "_") not in there]


def test_the_guides_examples_run_in_order(root, tmp_path):
    with Origin({"song.flac": corpus.file("flac").path}) as origin:
        guide = "\n".join(python_lines((root / "docs" / "guide.md").read_text()))
        done = run(guide.replace(EXAMPLE, origin.url("song.flac")), tmp_path)
    assert (0, "") == (done.returncode, done.stderr)


def test_the_seeds_names_on_the_map_are_here(root):
    import kithara.abr
    import kithara.assets
    import kithara.decode
    import kithara.file
    import kithara.hls
    import kithara.storage
    import kithara.stream

    rooms = (kithara, kithara.stream, kithara.assets, kithara.file, kithara.hls, kithara.storage, kithara.decode)
    section = (root / "docs" / "map.md").read_text().partition("## Names of the first designs")[2]
    names = set(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)) - {"There", "---"}
    words = {word for cell in names for word in re.findall(r"`([A-Z]\w+)[`<.]", cell)}
    assert len(words) > 25
    assert set() == {word for word in words if not any(hasattr(room, word) for room in rooms)}


def looked_up(path):
    """What *path* names: in the deepest module that its beginning is, the attributes that follow."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name) if module else importlib.import_module(name)


@pytest.mark.parametrize(
    "room", ["", ".abr", ".assets", ".decode", ".file", ".hls", ".net", ".storage", ".stream", ".timeline"]
)
def test_every_public_name_has_its_place_in_the_reference(root, room):
    pages = "\n".join(path.read_text() for path in (root / "docs" / "reference").glob("*.md"))
    need("fsspec")
    shown = [looked_up(path) for path in re.findall(r"^::: (\S+)", pages, re.MULTILINE)]
    package = importlib.import_module(f"kithara{room}")
    public = {name: getattr(package, name) for name in dir(package) if not name.startswith("_")}
    own = {
        name: value
        for name, value in public.items()
        if not inspect.ismodule(value) and str(getattr(value, "__module__", "")).startswith("kithara")
    }
    whole = [value.__name__ for value in shown if inspect.ismodule(value)]
    assert own
    assert [] == [
        name
        for name, value in own.items()
        if value.__module__ not in whole and not any(value is one for one in shown)
    ]


@pytest.mark.timeout(180)
def test_the_site_builds_without_a_warning(root, tmp_path):
    need("mkdocs", "material", "mkdocstrings", "fsspec")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(Path(kithara.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert "SyncReader" in (tmp_path / "site" / "reference" / "files.html").read_text()
