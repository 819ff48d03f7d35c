"""``kithara play``: through the sound card, or in real time into nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
import numpy as np
import numpy.typing as npt

import kithara

from ..decode import PcmSpec
from .access import Access, access_options, quiet_option
from .console import clock, errors_console, seconds_progress, size

BLOCK_SECONDS = 0.05


class Output(Protocol):
    """Takes float32 blocks of shape (n, channels) at the speed at which they are heard."""

    def write(self, block: npt.NDArray[np.float32]) -> None: ...


class Nothing:
    """An output that takes real time and makes no sound."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._due: float | None = None
        self._never = threading.Event()

    def write(self, block: npt.NDArray[np.float32]) -> None:
        now = time.monotonic()
        # A pause in the supply is heard as silence; it is not made up for by playing faster.
        self._due = max(self._due or now, now - 0.5) + len(block) / self._rate
        self._never.wait(max(0.0, self._due - now))


@contextmanager
def opened_output(spec: PcmSpec, *, null: bool) -> Iterator[Output]:
    """The sound card where there is one and *null* does not rule it out, else `Nothing`."""
    if null:
        yield Nothing(spec.rate)
        return
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the PortAudio library is missing
        errors_console().print(
            f"no sound ({error}): playing into nothing; for sound, pip install 'kithara\\[play]'", style="yellow"
        )
        yield Nothing(spec.rate)
        return
    try:
        stream = sounddevice.OutputStream(samplerate=spec.rate, channels=spec.channels, dtype="float32")
    except sounddevice.PortAudioError as error:
        raise click.ClickException(f"the sound card refuses {spec.rate} Hz: {error}; try --null") from error
    with stream:
        yield stream


@click.command()
@click.argument("url")
@click.option("--null", is_flag=True, help="Play into nothing, in real time.")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Where to begin, in seconds.")
@click.option("--duration", type=click.FloatRange(min=0), help="How much to play, in seconds.")
@access_options
@quiet_option
def play(url: str, null: bool, start: float, duration: float | None, access: Access, quiet: bool) -> None:
    """Play URL (or a file) from its first second on, while it arrives."""
    with access.open(url) as reader, kithara.Decoder(reader, dtype="float32") as decoder:
        spec = decoder.spec
        if start:
            decoder.seek(round(start * spec.rate))
        position = decoder.tell()
        stop = None if duration is None else position + round(duration * spec.rate)
        with opened_output(spec, null=null) as output, seconds_progress(quiet=quiet) as progress:
            task = progress.add_task("playing", total=decoder.frames, completed=position, note="")
            while stop is None or position < stop:
                count = max(1, round(BLOCK_SECONDS * spec.rate))
                block = decoder.read(count if stop is None else min(count, stop - position))
                if not len(block):
                    break
                output.write(block)
                position += len(block)
                here = sum(stop - start for start, stop in reader.available_ranges())
                note = f"{clock(position / spec.rate)} of {clock(decoder.duration)}, {size(here)} here"
                progress.update(task, completed=position, total=decoder.frames, note=note)
