"""Records the pictures of the documentation: python docs/assets/record.py FOLDER

Runs `kithara demo`, and `kithara play --null` of an adaptive stream over a link that varies, in a terminal of its own.
Writes each as an asciicast (version 2, for asciinema) and as an animated SVG that any browser plays, and the PNGs that
the commands drew.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from fcntl import ioctl
from html import escape
from itertools import pairwise
from pathlib import Path

from kithara.cli import adaptive, lyre
from kithara.cli.origin import Origin

WIDTH, ROWS = 100, 30
STEP = 0.5
"""Seconds between two pictures of an animation."""
CELL = (8.4, 18)
REST = 3.0
"""Seconds for which the last picture stands."""
TERMINAL = "xterm"  # of sixteen colours
COLORS = {
    "31": "#e05561", "32": "#8cc265", "33": "#d18f52", "34": "#4aa5f0", "35": "#c162de", "36": "#42b3c2",
    "90": "#5c6370", "91": "#ff616e",
}  # fmt: skip
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")

Events = list[tuple[float, str]]
Row = tuple[tuple[str, str], ...]
"""Characters with the codes of their looks, side by side."""


def record(arguments: list[str], folder: Path) -> Events:
    """What `kithara` with *arguments* writes to a terminal, and when; it runs in *folder*."""
    side, other = pty.openpty()
    ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, WIDTH, 0, 0))
    env = {**os.environ, "TERM": TERMINAL, "COLUMNS": str(WIDTH), "LINES": str(ROWS)}
    words = [sys.executable, "-m", "kithara", *arguments]
    began = time.monotonic()
    events: Events = []
    with subprocess.Popen(words, cwd=folder, env=env, stdin=other, stdout=other, stderr=other) as process:
        os.close(other)
        kept = b""
        while chunk := _read(side):
            kept += chunk
            text = kept.decode(errors="ignore")
            kept = kept[len(text.encode()) :]
            events.append((time.monotonic() - began, text))
    os.close(side)
    if process.returncode:
        raise SystemExit(f"kithara {' '.join(arguments)} failed:\n{''.join(text for _, text in events)}")
    return events


def _read(side: int) -> bytes:
    try:
        return os.read(side, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def typed(line: str) -> Events:
    """*line* behind a prompt."""
    return [(0.0, f"\x1b[32m$\x1b[0m {line}\r\n")]


def write_cast(path: Path, events: Events) -> None:
    header = {"version": 2, "width": WIDTH, "height": ROWS, "env": {"TERM": TERMINAL}}
    lines = [json.dumps(header)] + [json.dumps([round(at, 3), "o", text], ensure_ascii=False) for at, text in events]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


class Screen:
    """The little of a terminal that progress bars need: colours, going back, going up, clearing a line."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[str, str]]] = [[]]
        self._row = self._column = 0
        self._look = ""

    def write(self, text: str) -> None:
        for found in CONTROL.finditer(text):
            part, codes, command = found[0], found[1], found[2]
            if command == "m":
                kept = [code for code in self._look.split(";") if code]
                self._look = "" if codes in ("", "0") else ";".join([*kept, *codes.split(";")])
            elif command == "A":
                self._row = max(0, self._row - int(codes or 1))
            elif command == "K":
                self.rows[self._row] = []
            elif part == "\r":
                self._column = 0
            elif part == "\n":
                self._row += 1
                self._column = 0
                self.rows += [[]] * 0 if self._row < len(self.rows) else [[]]
            elif command is None:
                self._put(part)

    def _put(self, text: str) -> None:
        row = self.rows[self._row]
        row += [(" ", "")] * (self._column - len(row))
        row[self._column : self._column + len(text)] = [(each, self._look) for each in text]
        self._column += len(text)

    def look(self) -> list[Row]:
        return [tuple(row) for row in self.rows]


def screens(events: Events) -> Iterator[tuple[float, list[Row]]]:
    """What is on the screen, at most every `STEP` seconds."""
    screen, due = Screen(), STEP
    for (at, text), (following, _) in pairwise([*events, (float("inf"), "")]):
        screen.write(text)
        if following >= due:
            yield at, screen.look()
            due = at + STEP


def write_svg(path: Path, events: Events) -> None:
    """An animation of *events* that begins again when it is over; a row that stays as it is stands there once."""
    shown = list(screens(events))
    whole = shown[-1][0] + REST
    tall = max(len(rows) for _, rows in shown)
    width, height = WIDTH * CELL[0] + 24, tall * CELL[1] + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-size="14" '
        "font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\">",
        "<style>text{white-space:pre;fill:#d7dae0}.b{font-weight:bold}.d{opacity:.6}"
        + "".join(f".c{code}{{fill:{color}}}" for code, color in COLORS.items())
        + "</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#23272e"/>',
    ]
    for number in range(tall):
        runs: list[tuple[float, Row]] = []
        for at, rows in shown:
            row = rows[number] if number < len(rows) else ()
            if not runs or runs[-1][1] != row:
                runs.append((at, row))
        for (at, row), (until, _) in pairwise([*runs, (whole, ())]):
            if row:
                out.append(_line(row, number, at / whole, until / whole, whole))
    path.write_text("\n".join([*out, "</svg>", ""]), encoding="utf-8")


def _line(row: Row, number: int, begin: float, end: float, whole: float) -> str:
    parts: list[list[str]] = []
    for letter, look in row:
        if not parts or parts[-1][1] != look:
            parts.append(["", look])
        parts[-1][0] += letter
    spans = "".join(_span(text, look) for text, look in parts)
    values, times = ["hidden", "visible", "hidden"], [0.0, begin, end]
    if begin <= 0.001:
        values, times = values[1:], [0.0, end]
    if end >= 0.999:
        values, times = values[:-1], times[:-1]
    moves = ""
    if len(values) > 1:
        keys = ";".join(f"{each:.4f}" for each in times)
        moves = (
            f'<animate attributeName="visibility" values="{";".join(values)}" keyTimes="{keys}" '
            f'dur="{whole:.1f}s" calcMode="discrete" repeatCount="indefinite"/>'
        )
    return f'<text x="12" y="{12 + (number + 0.75) * CELL[1]:.1f}">{moves}{spans}</text>'


def _span(text: str, look: str) -> str:
    codes = look.split(";")
    names = [name for code, name in (("1", "b"), ("2", "d")) if code in codes]
    names += [f"c{code}" for code in codes if code in COLORS][-1:]
    return f'<tspan class="{" ".join(names)}">{escape(text)}</tspan>' if names else escape(text)


def varying_play(folder: Path, seconds: int) -> Events:
    """`kithara play --null` while the link of its origin falls to a tenth and recovers."""
    bodies = lyre.hls(lyre.melody(seconds), adaptive.RATES, adaptive.SEGMENT)
    with Origin(bodies, rate=adaptive.LINK, delay=adaptive.DELAY) as origin:
        over = threading.Event()

        def vary() -> None:
            for share, rate in ((adaptive.FALL, adaptive.LINK / 10), (adaptive.RISE, adaptive.LINK)):
                left = began + share * seconds - time.monotonic()
                if over.wait(max(0.0, left)):
                    return
                origin.rate = rate

        began = time.monotonic()
        thread = threading.Thread(target=vary)
        thread.start()
        try:
            url = origin.url(adaptive.MASTER)
            events = record(["play", "--null", "--no-cache", "--picture", "played.png", url], folder)
        finally:
            over.set()
            thread.join()
    return [*typed(f"kithara play --null --picture played.png {url}"), *events]


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo = [*typed("kithara demo"), *record(["demo"], folder)]
        shutil.copy(folder / "demo-out" / "adaptive.png", target / "adaptive.png")
        play = varying_play(folder, 60)
        shutil.copy(folder / "played.png", target / "played.png")
    for stem, events in (("demo", demo), ("play", play)):
        write_cast(target / f"{stem}.cast", events)
        write_svg(target / f"{stem}.svg", events)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
