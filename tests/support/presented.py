"""Lists of segments as a `SegmentSource`, without a server: `packaged` makes one variant, `Presentation` plays some.

::

    low, high = packaged(folder / "a", source, *AAC), packaged(folder / "b", source, *FLAC)
    decode.Decoder(Presentation(low, high, pattern=(0, 1)))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from support import corpus

from kithara._core.memory_resource import MemoryResource
from kithara.events import EventBus
from kithara.source import Segment

FMP4 = ("-hls_segment_type", "fmp4")
TS = ("-hls_segment_type", "mpegts")


def held(data: bytes) -> MemoryResource:
    """A store that has *data* as a whole."""
    store = MemoryResource(len(data))
    store.write_at(0, data)
    store.commit()
    return store


@dataclass
class Listed:
    """One variant's segments: bytes, seconds, init section."""

    files: list[bytes]
    seconds: list[float]
    init: bytes | None


class Presentation:
    """A `SegmentSource` over lists made beforehand.

    Attributes:
        pattern: The variants of segments in turn; without, `set_variant` chooses.
        primed: Whether a segment whose variant is new brings the one before it along.
        skipped: Indexes of segments that are missing.
        stores: What stands in for a segment's own store, by its index.
    """

    def __init__(
        self, *variants: Listed, pattern: Sequence[int] | None = None, primed: bool = False, start: int = 0
    ) -> None:
        self.lists = variants
        self.variants = tuple(range(len(variants)))
        self.duration: float | None = sum(variants[0].seconds)
        self.events = EventBus()
        self.epoch = 0
        self.pattern = pattern
        self.primed = primed
        self.chosen = start
        self.skipped: set[int] = set()
        self.discontinuities: dict[int, int] = {}
        self.stores: dict[int, MemoryResource] = {}
        self._inits = [None if each.init is None else held(each.init) for each in variants]

    def variant_of(self, index: int) -> int:
        return self.pattern[index % len(self.pattern)] if self.pattern else self.chosen

    def _segment(self, index: int) -> Segment | None:
        while index in self.skipped:
            index += 1
        variant = self.variant_of(index)
        if index >= len(self.lists[variant].files):
            return None
        changed = self.primed and index > 0 and self.variant_of(index - 1) != variant
        return self.piece(variant, index, before=self.piece(variant, index - 1) if changed else None)

    def piece(self, variant: int, index: int, *, before: Segment | None = None) -> Segment:
        """Segment *index* of *variant*, whatever the pattern says."""
        listed = self.lists[variant]
        return Segment(
            index=index,
            start=sum(listed.seconds[:index]),
            duration=listed.seconds[index],
            store=self.stores.get(index) or held(listed.files[index]),
            init=self._inits[variant],
            variant=variant,
            discontinuity=self.discontinuities.get(index, 0),
            epoch=self.epoch,
            before=before,
        )

    def segment_at(self, seconds: float) -> Segment | None:
        self.epoch += 1
        for index in range(max(len(listed.files) for listed in self.lists)):
            if seconds < sum(self.lists[self.variant_of(index)].seconds[: index + 1]):
                return self._segment(index)
        return None

    def next(self, segment: Segment) -> Segment | None:
        return self._segment(segment.index + 1)

    def set_variant(self, variant: int | str) -> None:
        self.chosen = int(variant) if variant != "auto" else 0


def packaged(folder: Path, source: Path, *options: str | Path, seconds: int = 2) -> Listed:
    """*source* in segments of about *seconds*, as ffmpeg makes them with *options* in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus.run("ffmpeg", "-v", "error", "-i", source, *options, "-f", "hls", "-hls_time", str(seconds),
               "-hls_list_size", "0", folder / "list.m3u8")  # fmt: skip
    return read_list(folder)


def read_list(folder: Path) -> Listed:
    """The variant whose list is in *folder*."""
    text = (folder / "list.m3u8").read_text()
    names = [line for line in text.splitlines() if line and not line.startswith("#")]
    init = re.search(r'EXT-X-MAP:URI="([^"]+)"', text)
    return Listed(
        [(folder / name).read_bytes() for name in names],
        [float(value) for value in re.findall(r"#EXTINF:([0-9.]+)", text)],
        (folder / init[1]).read_bytes() if init else None,
    )


def loudest_step(pcm: np.ndarray, place: int, rate: int) -> float:
    """How much sharper *pcm*, ``(n, channels)``, bends within 40 ms of *place* than in the half second to both sides.

    By second differences: a smooth signal has small ones, a cut has one as large as its step.
    """
    bends = np.abs(np.diff(np.asarray(pcm, float), 2, axis=0)).max(axis=1)
    near, far = rate // 25, rate // 2
    around = np.concatenate((bends[place - far : place - near], bends[place + near : place + far]))
    return float(bends[place - near : place + near].max() / around.max())
