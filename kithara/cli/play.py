"""``kithara play``: through the sound card, or in real time into nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.progress import Progress, TaskID

import kithara

from ..errors import redact_url
from ..timeline import Watch
from .access import Access, access_options, json_option, quiet_option
from .completion import MEDIA
from .console import clock, errors_console, say_json, seconds_progress, total
from .keys import Keys
from .outputs import Output, sounding
from .pictures import draw, picture_option, show

if TYPE_CHECKING:
    from .access import Media

TICK = 0.1
STEP_SECONDS = 10.0
KEYS = {"space": "pause", "← →": f"{STEP_SECONDS:.0f} s back, on", "v": "variant", "q": "quit"}


@click.command()
@click.argument("url", type=MEDIA)
@click.option("--null", is_flag=True, help="Play into nothing, in real time.")
@click.option("--start", type=click.FloatRange(min=0), help="Where to begin, in seconds.")
@click.option("--duration", type=click.FloatRange(min=0), help="How much to play, in seconds.")
@picture_option("Draw what happened, as a PNG; - for stdout.")
@access_options
@json_option
@quiet_option
def play(
    url: str,
    null: bool,
    start: float | None,
    duration: float | None,
    picture: Path | None,
    access: Access,
    as_json: bool,
    quiet: bool,
) -> None:
    """Play URL (or a file) from its first second on, while it arrives.

    On a terminal: space pauses, ← and → go 10 s back and on, v changes the variant of an adaptive stream, q ends; at
    the end a few lines show what happened.
    """
    if as_json and str(picture) == "-":
        raise click.UsageError("stdout takes either the picture or --json")
    with (
        access.open_media(url) as media,
        kithara.AudioStream(media, dtype="float32", start=start) as stream,
        Watch(stream) as watch,
        sounding(stream, null=null) as output,
        seconds_progress(quiet=quiet or as_json) as progress,
        Keys() as keys,
    ):
        if keys.available and not progress.disable:
            words = "   ".join(f"{key} {meaning}" for key, meaning in KEYS.items() if key != "v" or stream.variants)
            progress.console.print(words, style="dim", markup=False)
        player = _Player(stream, media, watch, output)
        task = progress.add_task("playing", total=stream.duration, note="")
        stop = None if duration is None else stream.position + duration
        while not stream.ended and (stop is None or stream.position < stop) and player.press(keys.next(TICK)):
            player.show(progress, task)
        error, position = stream.stats().failed, stream.position
    timeline = watch.timeline()
    if not (progress.disable or as_json):
        show(timeline, errors_console())
    if picture is not None:
        draw(timeline, picture, redact_url(url))
    if error is not None:
        raise error
    if as_json:
        say_json({"url": redact_url(url), "position": round(position, 3), **timeline.summary()})


class _Player:
    """What plays, and how the keys change it."""

    def __init__(self, stream: kithara.AudioStream, media: Media, watch: Watch, output: Output) -> None:
        self._stream = stream
        self._media = media
        self._watch = watch
        self._output = output
        self._paused = False
        self._wish: int | Literal["auto"] = "auto"
        self._wishes: Iterator[int | Literal["auto"]] = itertools.cycle((*range(len(stream.variants)), "auto"))

    def press(self, key: str | None) -> bool:
        """Do what *key* asks for, if one was pressed. False when it ends the player."""
        if key == "space":
            self._paused = not self._paused
            (self._output.stop if self._paused else self._output.start)()
        elif key in ("left", "right"):
            self._step(STEP_SECONDS if key == "right" else -STEP_SECONDS)
        elif key == "v" and self._stream.variants:
            self._wish = next(self._wishes)
            self._stream.set_variant(self._wish)
        return key != "q"

    def _step(self, seconds: float) -> None:
        target = max(0.0, self._stream.position + seconds)
        self._stream.seek(target if self._stream.duration is None else min(target, self._stream.duration))

    def show(self, progress: Progress, task: TaskID) -> None:
        """Show position, buffer, and what of the media plays."""
        stream, now = self._stream, self._watch.now
        ahead = stream.buffered if now is None or now.ahead is None else now.ahead
        progress.update(
            task,
            description="paused" if self._paused else "playing",
            total=stream.duration,
            completed=stream.position,
            note=f"{clock(stream.position)} of {clock(stream.duration)}, {ahead:.1f} s ahead{self._source()}",
        )

    def _source(self) -> str:
        """How much of a file is here, or which variant of a presentation is heard, and which is wished for."""
        if isinstance(self._media, kithara.SyncReader):
            media = self._media
            return f", {total(media.available_ranges()) / media.length:.0%} here" if media.length else ""
        now = self._watch.now
        variants = self._media.variants
        heard = variants[self._media.session.variant if now is None or now.variant is None else now.variant]
        wish = "auto" if self._wish == "auto" else f"{variants[self._wish].bandwidth / 1000:.0f} wanted"
        return f", {heard.bandwidth / 1000:.0f} kbit/s ({wish})"
