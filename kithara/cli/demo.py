"""``kithara demo``: the whole path on this machine, checked at each step."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape

import kithara

from ..timeline import Timeline
from . import adaptive, lyre
from .access import json_option
from .console import bytes_progress, errors_console, results_console, say_json, size, sparse_bar, total
from .origin import Origin
from .output import folder, translated
from .pictures import can_draw, draw, picture_option
from .pictures import show as sparklines
from .recorder import SAMPLE_TYPES, Recorder

SONG, LATE_INDEX = "lyre.flac", "lyre.m4a"
NEAR_END = 0.9
PICTURE, TITLE = "adaptive.png", "An adaptive stream; its link falls to a tenth, and recovers"


@dataclass(slots=True, kw_only=True)
class Step:
    """One thing the demo did: how long it took, what it had the origin send, and what came of it."""

    name: str
    seconds: float = 0.0
    fetched: int = 0
    requests: int = 0
    here: str = ""
    note: str = ""
    wrong: bool = False


@dataclass(slots=True, kw_only=True)
class Show:
    """The steps so far, each printed when it is done."""

    origin: Origin
    console: Console
    quiet: bool
    steps: list[Step] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """The names of what went wrong."""
        return [step.name for step in self.steps if step.wrong]

    @contextmanager
    def step(self, name: str, reader: kithara.SyncReader | None = None) -> Iterator[Step]:
        """Measure the block as one step; *reader* shows which parts are here after it."""
        step = Step(name=name)
        mark, started = self.origin.mark(), time.monotonic()
        yield step
        step.seconds = time.monotonic() - started
        step.fetched, step.requests = step.fetched or mark.sent, step.requests or len(mark.requests)
        if reader is not None:
            step.here = sparse_bar(reader.available_ranges(), reader.length)
        self.steps.append(step)
        if not self.quiet:
            _print(self.console, step)


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="demo-out",
    show_default=True,
    help="Folder for the WAV and the picture.",
)
@click.option("--rate", type=click.IntRange(min=10_000), default=1_000_000, show_default=True, help="Bytes a second.")
@click.option(
    "--delay", type=click.FloatRange(min=0), default=0.03, show_default=True, help="Seconds before an answer."
)
@click.option("--seconds", type=click.IntRange(min=5), default=60, show_default=True, help="Length of the music.")
@click.option(
    "--play",
    "playing",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Seconds to play an adaptive stream; 0 leaves that out.",
)
@picture_option("Where to draw how that went; in the folder by default, if matplotlib is installed.")
@json_option
def demo(out: Path, rate: int, delay: float, seconds: int, playing: int, picture: Path | None, as_json: bool) -> int:
    """Show the whole path on this machine, without a network.

    An origin on loopback serves music made here over a throttled link. It is opened by URL, heard before it is here,
    sought near its end, decoded to a WAV file, and played again from the cache with the origin switched off. Then an
    adaptive stream plays in real time, into nothing, while the link falls to a tenth and recovers.
    """
    music = lyre.melody(seconds)
    bodies = {SONG: lyre.flac(music), LATE_INDEX: lyre.m4a(music)}
    with (
        tempfile.TemporaryDirectory(prefix="kithara-demo-") as cache,
        Origin(bodies, rate=rate, delay=delay) as origin,
    ):
        show = Show(origin=origin, console=results_console(), quiet=as_json)
        if not as_json:
            show.console.print(
                f"[bold]{origin.url(SONG)}[/], {seconds} s of sound, {size(len(bodies[SONG]))}.\n"
                f"The link: {rate / 1e6:g} MB/s, {delay * 1000:g} ms; "
                f"a download takes {len(bodies[SONG]) / rate:.1f} s.\n"
            )
        wav = folder(out) / "lyre.wav"
        with kithara.AssetStore(cache) as store:
            _online(show, store, origin.url(SONG), music, wav)
            _late_index(show, store, origin.url(LATE_INDEX))
        origin.switch_off()
        with kithara.AssetStore(cache) as store:
            _offline(show, store, origin.url(SONG), music)
    timeline = _adaptive(show, music, playing) if playing else None
    sent = sum(request.sent for request in origin.requests if request.path == f"/{SONG}")
    if timeline is not None and picture is None and can_draw():
        picture = out / PICTURE
    if timeline is not None and picture is not None:
        draw(timeline, picture, TITLE)
    if as_json:
        return _report(show, timeline, sent, len(bodies[SONG]))
    return _verdict(show, timeline, wav, picture, sent, len(bodies[SONG]))


def _online(show: Show, store: kithara.AssetStore, url: str, music: npt.NDArray[np.int16], wav: Path) -> None:
    with show.step("first byte") as step:
        reader = kithara.open(url, store=store)
        first = reader.read(4)
        step.note = f"{first!r}"
    with reader:
        with show.step("first sample", reader) as step:
            decoder = kithara.Decoder(reader, dtype="int16")
            _check(step, decoder.read(1), music[:1])
        with decoder:
            place = round(NEAR_END * len(music))
            with show.step(f"seek to {NEAR_END:.0%}", reader) as step:
                decoder.seek(place)
                _check(step, decoder.read(4096), music[place : place + 4096])
            with show.step("last 128 bytes", reader) as step:
                reader.seek(-128, io.SEEK_END)
                step.note = f"{len(reader.read())} bytes"
            with show.step(f"decode to {wav}", reader) as step:
                _check(step, _decode_to(wav, decoder, reader, quiet=show.quiet), music)


def _decode_to(wav: Path, decoder: kithara.Decoder, reader: kithara.SyncReader, *, quiet: bool) -> npt.NDArray[Any]:
    decoder.seek(0)
    spec = decoder.spec
    blocks = []
    with (
        translated(wav),
        Recorder(wav, "wav", SAMPLE_TYPES["int16"], rate=spec.rate, channels=spec.channels) as recorder,
        bytes_progress(quiet=quiet) as progress,
    ):
        task = progress.add_task("decoding", total=reader.length, map="")
        for block in decoder.blocks(lyre.RATE // 4):
            blocks.append(block.copy())
            recorder.write(block)
            spans = reader.available_ranges()
            progress.update(task, completed=total(spans), map=sparse_bar(spans, reader.length))
    return np.concatenate(blocks)


def _late_index(show: Show, store: kithara.AssetStore, url: str) -> None:
    with show.step("m4a with its index last: first sample") as step:
        with kithara.open(url, store=store) as reader, kithara.Decoder(reader) as decoder:
            decoder.read(1)
            length = reader.length or 0
            step.here = sparse_bar(reader.available_ranges(), length)
            missing = length - total(reader.available_ranges())
        step.note = f"{missing / max(1, length):.0%} of it not fetched yet"


def _offline(show: Show, store: kithara.AssetStore, url: str, music: npt.NDArray[np.int16]) -> None:
    with (
        show.step("origin off, all of it from the cache") as step,
        kithara.open(url, store=store, offline=True) as reader,
        kithara.Decoder(reader, dtype="int16") as decoder,
    ):
        _check(step, decoder.read(), music)
        step.here = sparse_bar(reader.available_ranges(), reader.length)


def _adaptive(show: Show, music: npt.NDArray[np.int16], seconds: int) -> Timeline:
    bodies = lyre.hls(np.resize(music, ((seconds + adaptive.MORE) * lyre.RATE, 2)), adaptive.RATES, adaptive.SEGMENT)
    with show.step(f"{seconds} s, the link falls to a tenth") as step:
        timeline = adaptive.play(bodies, seconds, quiet=show.quiet)
        verdict = adaptive.judge(timeline)
        step.wrong, step.note = not verdict.well, str(verdict)
        step.fetched = timeline.received
        step.requests = len(timeline.fetched)
    return timeline


def _check(step: Step, heard: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    step.wrong = not np.array_equal(heard, expected)
    count = "1 frame" if len(heard) == 1 else f"{len(heard)} frames"
    step.note = f"{count}, {'not what was played' if step.wrong else 'each as it was played'}"


def _print(console: Console, step: Step) -> None:
    """Print *step* in two lines of at most 79 characters: what it cost, and what came of it."""
    took = f"{step.seconds * 1000:.0f} ms" if step.seconds < 1 else f"{step.seconds:.2f} s"
    requests = "1 request" if step.requests == 1 else f"{step.requests} requests"
    mark = "[red]✗[/]" if step.wrong else "[green]✓[/]"
    console.print(f"{mark} {escape(f'{step.name:<38}')} [bold]{took:>9}[/] {size(step.fetched):>10} {requests:>14}")
    shown = "  ".join(part for part in (step.here, step.note) if part)
    console.print(f"  [dim]{escape(shown)}[/]", soft_wrap=True)


def _verdict(show: Show, timeline: Timeline | None, wav: Path, picture: Path | None, sent: int, length: int) -> int:
    if timeline is not None:
        show.console.print()
        sparklines(timeline, show.console)
    show.console.print(f"\nThe origin sent {size(sent)} for {size(length)}. The sound is in {escape(str(wav))}.")
    if timeline is not None and picture is not None:
        show.console.print(f"How the adaptive stream went is drawn in {escape(str(picture))}.")
    elif timeline is not None:
        show.console.print("To have the adaptive stream drawn: pip install 'kithara\\[pictures]'.")
    if failed := show.failed:
        errors_console().print(f"wrong: {', '.join(failed)}", style="bold red")
    return 1 if failed else 0


def _report(show: Show, timeline: Timeline | None, sent: int, length: int) -> int:
    say_json(
        {
            "steps": [asdict(step) for step in show.steps],
            "length": length,
            "sent": sent,
            "adaptive": None if timeline is None else timeline.summary(),
            "failed": show.failed,
        }
    )
    return 1 if show.failed else 0
