"""``kithara decode``: sound to a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from rich.markup import escape

import kithara

from ..errors import redact_url
from .access import Access, access_options, json_option, quiet_option
from .completion import MEDIA
from .console import clock, errors_console, say_json, seconds_progress, sparse_bar
from .output import translated, whole
from .recorder import FLAC_TYPES, SAMPLE_TYPES, Recorder

if TYPE_CHECKING:
    from .access import Media

BLOCK = 16384


@click.command()
@click.argument("url", type=MEDIA)
@click.option("-o", "--output", required=True, help="FILE.wav, FILE.flac, or - for WAV on stdout.")
@click.option("--samples", type=click.Choice(list(SAMPLE_TYPES)), default="int16", show_default=True)
@click.option("--rate", type=click.IntRange(min=1), help="Resample to so many frames a second.")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Where to begin, in seconds.")
@click.option("--duration", type=click.FloatRange(min=0), help="How much to decode, in seconds.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output.")
@access_options
@json_option
@quiet_option
def decode(
    url: str,
    output: str,
    samples: str,
    rate: int | None,
    start: float,
    duration: float | None,
    force: bool,
    access: Access,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decode URL (or a file) to WAV or FLAC, sample by sample as it arrives.

    An interrupted decode leaves no output; what was fetched stays in the cache.
    """
    container = "wav" if output == "-" else Path(output).suffix.lower().lstrip(".")
    if container not in ("wav", "flac"):
        raise click.UsageError(f"{output}: the output is FILE.wav, FILE.flac, or -")
    if container == "flac" and samples not in FLAC_TYPES:
        raise click.UsageError(f"FLAC holds {' or '.join(FLAC_TYPES)}, not {samples}")
    if as_json and output == "-":
        raise click.UsageError("stdout takes either the sound or --json")
    if output != "-" and Path(output).exists() and not force:
        raise click.UsageError(f"{output} is there already; --force overwrites it")
    kind = SAMPLE_TYPES[samples]
    with access.open_media(url) as media, _decoder(media, kind.dtype, rate) as decoder:
        spec = decoder.spec
        first = round(start * spec.rate)
        if first:
            decoder.seek(first)
        wanted = None if duration is None else round(duration * spec.rate)
        total = wanted if decoder.frames is None else max(0, decoder.frames - first)
        if wanted is not None and total is not None:
            total = min(total, wanted)
        with (
            _target(output) as target,
            Recorder(target, container, kind, rate=spec.rate, channels=spec.channels) as recorder,
            seconds_progress(quiet=quiet or as_json) as progress,
        ):
            task = progress.add_task(f"decoding to {escape(output)}", total=total, note="")
            done = 0
            while wanted is None or done < wanted:
                block = decoder.read(BLOCK if wanted is None else min(BLOCK, wanted - done))
                if not len(block):
                    break
                recorder.write(block)
                done += len(block)
                progress.update(task, completed=done, note=f"{clock(done / spec.rate)}{_arrived(media)}")
    record = {"url": redact_url(url), "output": output, "frames": done, "rate": spec.rate, "channels": spec.channels}
    if as_json:
        say_json(record)
    elif sys.stderr.isatty() and not quiet:
        errors_console().print(f"{output}: {clock(done / spec.rate)}, {spec.rate} Hz, {spec.channels} channels")


def _arrived(media: Media) -> str:
    """Which parts of a file are here."""
    if not isinstance(media, kithara.SyncReader):
        return ""
    return f" {sparse_bar(media.available_ranges(), media.length)}"


@contextmanager
def _decoder(media: Media, dtype: str, rate: int | None) -> Iterator[kithara.Decoder]:
    """A decoder of *media* at *rate*, its own rate where that is None."""
    with kithara.Decoder(media, dtype=dtype) as decoder:
        if rate is None or rate == decoder.spec.rate:
            yield decoder
        else:
            with decoder.resampled_to(rate) as resampled:
                yield resampled


@contextmanager
def _target(output: str) -> Iterator[Path | BinaryIO]:
    """Where to write: stdout, or a file that appears complete or not at all."""
    if output == "-":
        yield sys.stdout.buffer
    else:
        with whole(Path(output)) as path, translated(Path(output)):
            yield path
