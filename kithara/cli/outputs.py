"""What takes sound from a stream at the speed at which it is heard: a sound card, or nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol

import click
import numpy as np

import kithara

from .console import errors_console

BLOCK_SECONDS = 0.02


class Output(Protocol):
    """What plays a stream between `start` and `stop`, which may alternate."""

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
