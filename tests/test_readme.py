"""The README's examples run as they stand, one after the other, against a loopback origin."""

import re

import pytest
from support import corpus
from support.examples import EXAMPLE, python_lines, run

from kithara.cli.origin import Origin


@pytest.fixture
def readme(root):
    return (root / "README.md").read_text()


def test_the_readme_has_five_examples_and_they_name_one_url(readme):
    assert 5 == readme.count("```python")
    assert {EXAMPLE} == set(re.findall(r"https://example[^\"]*", "\n".join(python_lines(readme))))


def test_the_examples_run_in_order(readme, tmp_path):
    song = corpus.file("flac").path
    with Origin({"song.flac": song}) as origin:
        done = run("\n".join(python_lines(readme)).replace(EXAMPLE, origin.url("song.flac")), tmp_path)
        assert (0, "") == (done.returncode, done.stderr)
        size = song.stat().st_size
        assert str(size) in done.stdout
        assert size <= origin.sent < 1.5 * size  # all of it, and what a seek cut off was in flight


def test_the_make_targets_that_the_readme_names_exist(readme, root):
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\S+)", readme, re.MULTILINE)) <= targets


def test_the_files_that_the_readme_links_to_exist(readme, root):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme)
    assert links
    assert [] == [link for link in links if not (root / link).exists()]
