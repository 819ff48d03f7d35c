"""The player: its keys and what it shows on a terminal, what it tells machines, and the picture of how it went."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.libraries import need
from support.waiting import liveness

import kithara
from kithara.cli import adaptive, lyre, main, pictures
from kithara.cli.origin import Origin
from kithara.timeline import Sample, Timeline

MUSIC = lyre.melody(4)
PACKAGE = Path(kithara.__file__).parent.parent
RIGHT, LEFT = b"\x1b[C", b"\x1b[D"


@pytest.fixture(scope="module")
def tree() -> dict[str, bytes]:
    """An adaptive presentation of 32 s."""
    return lyre.hls(np.tile(MUSIC, (8, 1)), (32_000, 96_000), 1)


@pytest.fixture
def origin(tree: dict[str, bytes]) -> Iterator[Origin]:
    with Origin({**tree, "song.flac": lyre.flac(MUSIC)}) as on:
        yield on


@dataclass
class Terminal:
    """A player's terminal: what it wrote, and its keys."""

    side: int
    seen: bytes = b""

    def see(self, pattern: str) -> re.Match[str]:
        """Wait until the player writes what *pattern* matches; what was written before that is over."""
        while (found := re.search(pattern, self.seen.decode(errors="replace"))) is None:
            chunk = self._read()
            assert chunk, f"{pattern!r} not in {self.seen!r}"
            self.seen += chunk
        self.seen = self.seen.decode(errors="replace")[found.end() :].encode()
        return found

    def place(self) -> float:
        """Where it is, in seconds."""
        return float(self.see(r" 0:(\d\d\.\d) of")[1])

    def see_place(self, seconds: float) -> None:
        """Wait until it is at *seconds*."""
        while abs(self.place() - seconds) > 0.15:
            pass

    def press(self, key: bytes) -> None:
        os.write(self.side, key)

    def rest(self) -> str:
        while chunk := self._read():
            self.seen += chunk
        return self.seen.decode()

    def _read(self) -> bytes:
        try:
            return os.read(self.side, 65536)
        except OSError:  # EIO: the other side is closed
            return b""


@pytest.fixture
def playing(tmp_path: Path) -> Callable[..., object]:
    @contextmanager
    def playing(*arguments: str) -> Iterator[Terminal]:
        side, other = pty.openpty()
        words = [sys.executable, "-m", "kithara", "play", "--null", "--no-cache", *arguments]
        env = {**os.environ, "PYTHONPATH": str(PACKAGE), "TERM": "xterm", "COLUMNS": "150", "HOME": str(tmp_path)}
        with subprocess.Popen(words, env=env, cwd=tmp_path, stdin=other, stdout=other, stderr=other) as process:
            os.close(other)
            try:
                terminal = Terminal(side)
                yield terminal
                terminal.rest()
                assert 0 == process.wait(liveness(20))
            finally:
                process.kill()
                os.close(side)

    return playing


def test_the_keys_are_told_and_change_pause_place_and_variant(playing: Callable[..., object], origin: Origin) -> None:
    with playing(origin.url("master.m3u8")) as terminal:
        terminal.see(r"space pause .*10 s back.* v variant .*q quit")
        terminal.see(r"playing.* 0:\d\d\.\d of 0:3\d\.\d, \d+\.\d s ahead, \d+ kbit/s \(auto\)")
        terminal.press(b" ")
        terminal.see("paused")
        place = terminal.place()
        terminal.press(RIGHT)
        terminal.see_place(place + 10)
        terminal.press(LEFT)
        terminal.see_place(place)
        for wish in (r"3\d wanted", r"1\d\d wanted", "auto"):
            terminal.press(b"v")
            terminal.see(rf"paused.* kbit/s \({wish}\)")
        terminal.press(b" ")
        terminal.see("playing")
        terminal.press(b"q")
        assert [] == [word for word in ("buffer ", "network ", "variant ", "↷") if word not in terminal.rest()]


def test_a_file_has_no_key_for_variants_and_tells_how_much_is_here(
    playing: Callable[..., object], origin: Origin
) -> None:
    with playing(origin.url("song.flac"), "--duration", "1") as terminal:
        terminal.see(r"space pause .*on   q quit")
        terminal.see(r"s ahead, \d+% here")


def test_json_tells_what_happened_and_nothing_else(origin: Origin, capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["play", "--null", "--no-cache", "--json", "--duration", "0.4", origin.url("song.flac")])
    out, err = capfd.readouterr()
    record = json.loads(out)
    assert ("", origin.url("song.flac"), [], 0) == (err, record["url"], record["stalls"], record["seeks"])
    assert record["position"] >= 0.4
    assert record["received"] > 0


def test_a_picture_shows_how_it_went(origin: Origin, tmp_path: Path) -> None:
    need("matplotlib")
    picture = tmp_path / "played.png"
    arguments = ["--duration", "0.4", "--picture", str(picture), origin.url("master.m3u8")]
    assert 0 == main(["play", "--null", "--no-cache", "--quiet", *arguments])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [picture] == list(tmp_path.iterdir())


def test_a_picture_to_a_pipe_is_the_only_output(origin: Origin, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    need("matplotlib")
    assert 0 == main(["play", "--null", "--no-cache", "--duration", "0.2", "--picture", "-", origin.url("song.flac")])
    out, err = capfdbinary.readouterr()
    assert (b"\x89PNG", b"") == (out[:4], err)


def test_a_picture_that_cannot_be_drawn_is_said_before_anything_plays(
    origin: Origin, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "can_draw", lambda: False)
    assert 2 == main(["play", "--null", "--picture", "p.png", origin.url("song.flac")])
    assert "pip install 'kithara[pictures]'" in capfd.readouterr().err
    assert [] == origin.requests


def test_json_and_a_picture_do_not_share_stdout(origin: Origin, capfd: pytest.CaptureFixture[str]) -> None:
    need("matplotlib")
    assert 2 == main(["play", "--null", "--json", "--picture", "-", origin.url("song.flac")])
    assert "stdout takes either" in capfd.readouterr().err


# the demo's adaptive part


def told(*heard: int, underruns: int = 0) -> Timeline:
    """A timeline of one look a second, with the variants that were heard."""
    samples = tuple(
        Sample(
            time=float(time),
            position=float(time),
            buffered=1.0,
            ahead=1.0,
            received=0,
            underruns=underruns if time else 0,
            variant=variant,
            link=None,
        )
        for time, variant in enumerate(heard)
    )
    rates = (1000, 2000, 9000)
    return Timeline(samples=samples, fetched=(), moments=(), bitrates=rates, unit="seconds", extent=None, missed=0)


def test_the_demo_wants_no_gap_and_the_best_variant_at_the_end() -> None:
    assert "no gap; 9 → 1 → 9 kbit/s" == str(adaptive.judge(told(0, 2, 2, 2, 2, 0, 1, 2)))
    assert adaptive.judge(told(0, 2, 2, 2, 2, 0, 1, 2)).well
    assert not adaptive.judge(told(0, 2, 2, 2, 2, 0, 1, 1)).well
    assert not adaptive.judge(told(0, 2, 2, 2, 2, 0, 1, 2, underruns=1)).well


def test_the_demo_plays_an_adaptive_stream_and_draws_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("matplotlib")
    monkeypatch.setattr(adaptive, "judge", lambda timeline: adaptive.Verdict(stalls=0, lowest=1, last=2, highest=2))
    out = tmp_path / "out"
    arguments = ["--seconds", "5", "--rate", "20000000", "--delay", "0", "--play", "3", "--out", str(out)]
    assert 0 == main(["demo", *arguments])
    shown = capfd.readouterr().out
    assert (out / "adaptive.png").read_bytes().startswith(b"\x89PNG")
    assert [] == [word for word in ("falls to a tenth", "buffer ", "network ", "variant ") if word not in shown]
    assert "adaptive.png" in shown.replace("\n", "")
