"""docs/custom_source.md does what it says."""

from __future__ import annotations

import asyncio
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

RATE = 44_100


@pytest.fixture
def examples(root: Path) -> list[str]:
    """The code of the page, block by block."""
    return re.findall(r"```python\n(.*?)```", (root / "docs" / "custom_source.md").read_text(), re.DOTALL)


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What music.zip in the current folder holds as song.flac."""
    made = np.random.default_rng(4).integers(-20_000, 20_000, (RATE, 2)).astype("int16")
    soundfile.write(tmp_path / "song.flac", made, RATE, subtype="PCM_16")
    with zipfile.ZipFile(tmp_path / "music.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "song.flac", "song.flac")
    monkeypatch.chdir(tmp_path)
    return made


def test_a_zip_member_decodes_sample_for_sample(examples: list[str], samples: Any) -> None:
    scope: dict[str, Any] = {}
    exec(examples[0], scope)
    assert np.array_equal(samples.astype("float32") / 32768, scope["samples"])


def test_the_same_class_serves_every_face(examples: list[str], samples: Any) -> None:
    scope: dict[str, Any] = {}
    for example in examples:
        exec(example, scope)
    assert b"fLaC" == scope["magic"]
    with zipfile.ZipFile("music.zip") as archive:
        assert asyncio.run(scope["first_bytes"](archive)).startswith(b"fLaC")


def test_the_example_is_short(examples: list[str]) -> None:
    [source] = re.findall(r"class ZipMember:.*?\n\n\n", examples[0], re.DOTALL)
    assert source.count("\n") < 30
