"""The thread behind an `AudioStream`: decodes into a ring, from wherever the last seek wants it."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

import numpy as np

from .._core.ring import RingBuffer
from ..errors import Interrupted
from ..events import EventBus
from .decoder import Decoder
from .happenings import Ended, Sought, VariantSwitched

__all__ = ["BLOCK", "PATIENCE", "Turn", "Worker"]

BLOCK = 1024
"""Frames decoded between two looks at what is wanted."""
PATIENCE = 1.0
"""Seconds after which a thread that waits looks around, though nobody woke it."""


class Turn:
    """From *frame* of *epoch* on, PCM comes from *variant*."""

    __slots__ = ("discontinuity", "epoch", "frame", "variant")

    def __init__(self, epoch: int, frame: int, variant: int | None, discontinuity: bool) -> None:
        self.epoch: int = epoch
        self.frame: int = frame
        self.variant: int | None = variant
        self.discontinuity: bool = discontinuity


class Worker:
    """The decoder's thread: owns the decoder, writes the ring. Knows nothing of the stream, which may be collected."""

    def __init__(self, decoder: Decoder, ring: RingBuffer, bus: EventBus, start: int) -> None:
        self.decoder: Decoder = decoder
        self.ring: RingBuffer = ring
        self.bus: EventBus = bus
        self.epoch: int = 0
        self.bases: dict[int, int] = {0: start}  # the frame an epoch begins at
        self.target: tuple[int, bool] = (start, True)
        self.closed: bool = False
        self.error: BaseException | None = None
        self.decoded: int = 0
        self.turns: collections.deque[Turn] = collections.deque()
        self.watchers: set[Callable[[], None]] = set()
        self.lock = threading.Lock()  # between seekers
        self.thread: threading.Thread = threading.Thread(target=self._run, name="kithara-decoder", daemon=True)
        self.thread.start()

    def seek(self, frame: int, *, exact: bool) -> int:
        """Begin a new epoch at *frame*; its number. Any thread; never waits for the decoder."""
        with self.lock:
            epoch = (self.epoch + 1) & 0xFFFF
            self.target = (frame, exact)
            self.bases[epoch] = frame
            self.bases.pop((epoch - 16) & 0xFFFF, None)
            self.error = None
            self.epoch = epoch
            self.ring.reset(epoch)
        self.decoder.interrupt()
        return epoch

    def stop(self) -> None:
        """End the thread, soon; it is not waited for."""
        self.closed = True
        self.decoder.interrupt()
        self.ring.wake()

    def _run(self) -> None:
        epoch = 0
        try:
            while not self.closed:
                try:
                    self._play(epoch)
                except Interrupted:
                    pass  # a seek, or the end
                except BaseException as exc:  # handed to whoever reads
                    with self.lock:
                        if epoch == self.epoch:
                            self.error = exc
                            self.ring.end(epoch)
                self._notify()
                while not self.closed and self.epoch == epoch:
                    self.ring.wait_room(epoch, 1 << 62, PATIENCE)
                epoch = self.epoch
        finally:
            self.decoder.close()
            self._notify()

    def _play(self, epoch: int) -> None:
        """Decode from the target of *epoch* until another begins."""
        with self.lock:
            frame, exact = self.target
        decoder, ring = self.decoder, self.ring
        if epoch or frame:
            decoder.seek(frame, exact=exact)
            if self.epoch != epoch:
                return
            self.bus.publish(Sought(seconds=frame / decoder.spec.rate, exact=exact, epoch=epoch))
        spec = decoder.spec
        block = np.empty((BLOCK, spec.channels), decoder.dtype)
        width = block.itemsize * spec.channels
        raw = block.data.cast("B")
        place, variant = frame, decoder.variant
        self.turns.append(Turn(epoch, frame, variant, False))
        while not self.closed and self.epoch == epoch:
            count = decoder.readinto(block)
            if place == frame and count and decoder.tell() - count != frame:  # a broadcast offers it no more
                place = self.bases[epoch] = decoder.tell() - count
            if decoder.variant != variant:
                variant = decoder.variant
                self.turns.append(Turn(epoch, place, variant, True))
                self.bus.publish(VariantSwitched(variant=variant, seconds=place / spec.rate))
            done, size = 0, count * width
            while done < size:
                put = ring.write(raw[done:size], epoch)
                if put < 0 or self.closed:
                    return
                done += put
                if put:
                    self._notify()
                if done < size:
                    ring.wait_room(epoch, min(size - done, ring.capacity // 4), PATIENCE)
            place += count
            self.decoded += count
            if count < BLOCK:
                ring.end(epoch)
                self.bus.publish(Ended(seconds=place / spec.rate))
                return

    def _notify(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()
