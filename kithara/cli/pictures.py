"""The timeline of what a command played: to a PNG where ``--picture`` asks for it, as sparklines on a terminal."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..timeline import Timeline
from .output import translated, whole

NARROWEST, WIDEST = 20, 80
LABELS = 32
"""Columns for what stands left and right of a sparkline."""


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def _drawable(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and not can_draw():  # said before anything is played
        raise click.BadParameter("a picture takes matplotlib: pip install 'kithara[pictures]'", ctx, parameter)
    return value


def picture_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--picture FILE.png`` to a command, which gets it as its ``picture``."""
    return click.option(
        "--picture",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        metavar="FILE.png",
        callback=_drawable,
        help=text,
    )


def draw(timeline: Timeline, picture: Path, title: str) -> None:
    """Draw *timeline* to *picture*, complete or not at all; to stdout where that is "-"."""
    if str(picture) == "-":
        timeline.to_png(sys.stdout.buffer, title=title)
        return
    with whole(picture) as path, translated(picture), path.open("wb") as file:
        timeline.to_png(file, title=title)


def show(timeline: Timeline, console: Console) -> None:
    """Draw *timeline* on *console* in a few lines."""
    width = max(NARROWEST, min(WIDEST, console.width - LABELS))
    console.print(timeline.sparklines(width), markup=False, highlight=False, no_wrap=True, crop=True)
