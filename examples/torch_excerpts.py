"""Excerpts of many files for PyTorch: of each file no more is fetched than its excerpts need, and once only.

    loader = torch.utils.data.DataLoader(Excerpts(urls, seconds=2.0), batch_size=16, num_workers=4)
    for batch in loader: ...                          # (16, channels, 2 s) float32

Files whose rate differs from the first one's would not fit in one batch: give `rate` to have them resampled.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import IterableDataset, get_worker_info

import kithara
from kithara.batch import by_file


class Excerpts(IterableDataset):
    """*count* excerpts of each file, ``(channels, frames)`` float32, drawn anew in every epoch, the same for a *seed*.

    The workers of a loader part the files among them and share the cache; a file shorter than *seconds* is left out.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        seconds: float = 1.0,
        count: int = 1,
        rate: int | None = None,
        seed: int = 0,
        store: str | None = None,
    ) -> None:
        super().__init__()
        self.urls, self.seconds, self.count, self.rate = list(urls), seconds, count, rate
        self.seed, self.store = seed, store
        self.epoch = 0

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        worker = get_worker_info()
        parts = by_file(self.urls, 1 if worker is None else worker.num_workers)
        mine = 0 if worker is None else worker.id
        chance = random.Random(f"{self.seed}/{self.epoch}/{mine}")
        self.epoch += 1
        urls = list(parts[mine]) if mine < len(parts) else []
        chance.shuffle(urls)
        for url in urls:
            yield from self._of_file(url, chance)

    def _decoder(self, file: kithara.SyncReader) -> kithara.Decoder:
        decoder = kithara.Decoder(file)
        return decoder if self.rate is None else decoder.resampled_to(self.rate)

    def _of_file(self, url: str, chance: random.Random) -> Iterator[npt.NDArray[np.float32]]:
        options = kithara.FileOptions(complete=False)  # the rest of the file is nobody's business
        with kithara.open(url, store=self.store, options=options) as file, self._decoder(file) as decoder:
            size = round(self.seconds * decoder.spec.rate)
            frames = decoder.frames
            if frames is None or frames < size:
                return
            for _ in range(self.count):
                yield decoder.read_range(start=chance.randrange(frames - size + 1), frames=size).data.T
