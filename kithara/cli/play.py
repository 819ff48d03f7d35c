"""``kithara play``: through the sound card, or in real time into nothing."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Protocol

import click
import numpy as np
from rich.progress import Progress, TaskID

import kithara

from .access import Access, access_options, quiet_option
from .console import clock, errors_console, seconds_progress, total
from .keys import Keys

if TYPE_CHECKING:
    from .access import Media

TICK = 0.1
BLOCK_SECONDS = 0.02
STEP_SECONDS = 10.0


class Output(Protocol):
    """What takes sound from a stream at the speed at which it is heard."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Nothing:
    """An output that takes real time and makes no sound: a sound card's callback without the card."""

    def __init__(self, stream: kithara.AudioStream) -> None:
        self._stream = stream
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="kithara-null-output", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        spec = self._stream.spec
        block = np.empty((round(BLOCK_SECONDS * spec.rate), spec.channels), np.float32)
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            self._stream.readinto(block)
            due += len(block) / spec.rate


@contextlib.contextmanager
def sounding(stream: kithara.AudioStream, *, null: bool) -> Iterator[Output]:
    """An output that plays *stream*: the sound card, or `Nothing` where there is none or *null* asks for it."""
    output: Output = Nothing(stream) if null else _sound_card(stream) or Nothing(stream)
    output.start()
    try:
        yield output
    finally:
        output.stop()


def _sound_card(stream: kithara.AudioStream) -> Output | None:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the PortAudio library is missing
        errors_console().print(f"no sound: {error}", style="yellow", markup=False)
        errors_console().print("  try: pip install 'kithara[play]'; playing into nothing now", markup=False)
        return None
    try:
        card: Output = sounddevice.OutputStream(
            samplerate=stream.spec.rate,
            channels=stream.spec.channels,
            dtype="float32",
            callback=lambda out, frames, when, status: stream.readinto(out),
        )
    except sounddevice.PortAudioError as error:
        raise click.ClickException(f"the sound card refuses {stream.spec.rate} Hz: {error}; try --null") from error
    return card


@click.command()
@click.argument("url")
@click.option("--null", is_flag=True, help="Play into nothing, in real time.")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Where to begin, in seconds.")
@click.option("--duration", type=click.FloatRange(min=0), help="How much to play, in seconds.")
@access_options
@quiet_option
def play(url: str, null: bool, start: float, duration: float | None, access: Access, quiet: bool) -> None:
    """Play URL (or a file) from its first second on, while it arrives.

    On a terminal: space pauses, ← and → go 10 s back and on, v changes the variant of an adaptive stream, q ends.
    """
    with (
        access.open_media(url) as media,
        kithara.AudioStream(media, dtype="float32", start=start) as stream,
        sounding(stream, null=null) as output,
        seconds_progress(quiet=quiet) as progress,
        Keys() as keys,
    ):
        task = progress.add_task("playing", total=stream.duration, note="")
        stop = None if duration is None else start + duration
        paused = False
        variants: Iterator[int | Literal["auto"]] = itertools.cycle((*range(len(stream.variants)), "auto"))
        while not stream.ended and (stop is None or stream.position < stop):
            key = keys.next(TICK)
            if key == "q":
                break
            if key == "space":
                paused = not paused
                (output.stop if paused else output.start)()
            elif key in ("left", "right"):
                _step(stream, STEP_SECONDS if key == "right" else -STEP_SECONDS)
            elif key == "v" and stream.variants:
                stream.set_variant(next(variants))
            _show(stream, media, progress, task, paused=paused)
        if (error := stream.stats().failed) is not None:
            raise error


def _step(stream: kithara.AudioStream, seconds: float) -> None:
    target = max(0.0, stream.position + seconds)
    stream.seek(target if stream.duration is None else min(target, stream.duration))


def _show(stream: kithara.AudioStream, media: Media, progress: Progress, task: TaskID, *, paused: bool) -> None:
    progress.update(
        task,
        description="paused" if paused else "playing",
        total=stream.duration,
        completed=stream.position,
        note=f"{clock(stream.position)} of {clock(stream.duration)}, {stream.buffered:.1f} s ahead{_arrived(media)}",
    )


def _arrived(media: Media) -> str:
    """How much of a file is here, or which variant of a presentation is decoded."""
    if isinstance(media, kithara.SyncReader):
        return f", {total(media.available_ranges()) / media.length:.0%} here" if media.length else ""
    variant = media.variants[media.session.variant]
    return f", {variant.bandwidth / 1000:.0f} kbit/s"
