"""The picture of a timeline: what is drawn, where it goes, and what happens without matplotlib."""

from __future__ import annotations

import functools
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.libraries import need

from kithara.timeline import Fetched, Moment, Sample, Timeline

CALM = Sample(time=0.0, position=0.0, buffered=0.5, ahead=3.0, received=0, underruns=0, variant=0, link=80_000.0)
FILE = Timeline(
    samples=tuple(replace(CALM, time=t, position=t, variant=None, link=None, received=int(t) * 9000) for t in range(9)),
    fetched=(
        Fetched(begun=0.0, ended=0.0, start=0.0, stop=2.0, size=9000, cached=True),
        Fetched(begun=0.0, ended=8.0, start=2.0, stop=9.0, size=72_000),
    ),
    moments=(),
    bitrates=(),
    unit="seconds",
    extent=9.0,
    missed=0,
)
ADAPTIVE = replace(
    FILE,
    samples=tuple(replace(CALM, time=t, position=t, variant=t // 3) for t in range(9)),
    fetched=tuple(
        Fetched(begun=float(t), ended=t + 1.0, start=float(t), stop=t + 1.0, size=30_000, variant=t // 3)
        for t in range(9)
    ),
    bitrates=(64_000, 128_000, 256_000),
)
ORANGE, PINK, BLUE = (213, 94, 0), (204, 121, 167), (0, 114, 178)


@functools.cache
def colors(timeline: Timeline, title: str | None = None) -> set[tuple[int, int, int]]:
    """The colours of the picture of *timeline*."""
    need("matplotlib")
    from matplotlib.image import imread

    file = io.BytesIO()
    timeline.to_png(file, title=title)
    file.seek(0)
    pixels = (imread(file)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    return {tuple(pixel) for pixel in pixels.tolist()}


def test_a_picture_is_a_png_at_a_path_or_in_a_stream(tmp_path: Path) -> None:
    need("matplotlib")
    stream = io.BytesIO()
    ADAPTIVE.to_png(stream)
    ADAPTIVE.to_png(tmp_path / "picture")
    assert stream.getvalue() == (tmp_path / "picture").read_bytes()
    assert stream.getvalue().startswith(b"\x89PNG\r\n\x1a\n")
    assert 1100 == int.from_bytes(stream.getvalue()[16:20], "big")
    assert len(stream.getvalue()) < 150_000


def test_what_came_is_drawn_and_trouble_only_where_it_was() -> None:
    for calm in (FILE, ADAPTIVE):
        drawn = colors(calm)
        assert (True, False) == (BLUE in drawn, PINK in drawn)


def test_a_seek_is_drawn() -> None:
    assert PINK in colors(replace(FILE, moments=(Moment(time=4.0, kind="seek", note="to 4.0 s"),)))


def test_a_download_that_was_given_up_is_drawn() -> None:
    lost = replace(ADAPTIVE.fetched[4], given_up=True)
    assert ORANGE in colors(replace(ADAPTIVE, fetched=(*ADAPTIVE.fetched, lost)))
    assert ORANGE not in colors(ADAPTIVE)


def test_a_silence_is_a_band() -> None:
    silent = tuple(replace(sample, underruns=int(sample.time > 4)) for sample in ADAPTIVE.samples)
    assert colors(replace(ADAPTIVE, samples=silent)) - colors(ADAPTIVE)


@pytest.mark.parametrize(
    "timeline",
    [
        replace(FILE, samples=(), fetched=()),
        replace(FILE, fetched=()),
        replace(FILE, unit="bytes", extent=None),
        replace(ADAPTIVE, samples=ADAPTIVE.samples[:1]),
        replace(ADAPTIVE, samples=tuple(replace(each, position=None, variant=None) for each in ADAPTIVE.samples)),
        replace(ADAPTIVE, bitrates=(0, 0, 0)),
    ],
    ids=["nothing", "no bytes", "bytes", "one look", "no listener", "no bit rates"],
)
def test_whatever_is_known_is_drawn(timeline: Timeline) -> None:
    assert len(colors(timeline, "a title with $ and _")) > 1


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'kithara\[pictures\]'"):
        FILE.to_png(io.BytesIO())


def test_matplotlib_is_imported_for_a_picture_only() -> None:
    script = "import sys, kithara.timeline, kithara.cli.app, kithara.cli.play; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60)
    assert "False\n" == done.stdout
