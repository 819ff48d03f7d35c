"""Runs in a process of its own: threads that do everything to one cache at once.

Usage: cachestress.py ROOT SEED SECONDS. Ends with 1, and says why, when a byte was wrong or an error not one of ours.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
import traceback

from kithara.assets import AssetStore, ResourceKey
from kithara.errors import KitharaError
from kithara.storage import StreamingResource, Validators

SIZE = 200_000
NUMBERS = range(6)
DATA = {number: random.Random(number).randbytes(SIZE) for number in NUMBERS}
FACTS = Validators(total=SIZE, etag='"same"')


class Worker(threading.Thread):
    """One who opens, writes, reads, saves, parks, commits, evicts and removes in a seeded order."""

    def __init__(self, stores: list[AssetStore], seed: int, until: float) -> None:
        super().__init__()
        self.stores = stores
        self.chance = random.Random(seed)
        self.until = until
        self.turns = 0
        self.fault: str | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                try:
                    self.turn()
                except (KitharaError, ValueError):  # busy, closed, replaced, over a hole: all that may happen
                    continue
                self.turns += 1
        except BaseException:
            self.fault = traceback.format_exc()

    def turn(self) -> None:
        store = self.chance.choice(self.stores)
        number = self.chance.choice(NUMBERS)
        key = ResourceKey(f"asset{number}", "file/body")
        resource = store.open_streaming(key)
        assert isinstance(resource, StreamingResource)
        if resource.status == "active" and not resource.follow([(0, SIZE, 0)]) and resource.length is None:
            return
        if resource.status == "active" and resource.length is None:
            resource.describe(FACTS)
        for _ in range(self.chance.randrange(8)):
            self.act(store, key, resource, DATA[number])

    def act(self, store: AssetStore, key: ResourceKey, resource: StreamingResource, data: bytes) -> None:
        start = self.chance.randrange(SIZE)
        stop = min(SIZE, start + self.chance.randrange(1, 60_000))
        match self.chance.randrange(100):
            case dice if dice < 50:
                if resource.is_writer:
                    resource.write_at(start, data[start:stop])
                    for begin, end, _ in resource.asked():
                        resource.write_at(begin, data[begin:end])
                else:
                    resource.follow([(start, stop, 0)])
            case dice if dice < 80:
                buffer = bytearray(stop - start)
                got = resource.read_at(start, buffer)
                assert data[start : start + got] == buffer[:got], f"wrong bytes of {key.path} at {start}"
            case dice if dice < 87:
                resource.checkpoint()
            case dice if dice < 91:
                resource.park()
                resource.try_become_writer()
            case dice if dice < 94:
                if resource.next_gap(0, SIZE) is None:
                    resource.commit()
            case 94:
                store.evict(100_000)
            case 95:
                store.remove_resource(key)
            case 96:
                store.supersede(key).describe(FACTS)
            case 97:
                store.verify()
            case 98:
                self.chance.choice([resource.cancel, resource.close])()
            case _:
                store.assets()


def main() -> int:
    root, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    logging.disable()
    stores = [AssetStore(root, 700_000) for _ in range(2)]
    workers = [Worker(stores, seed + number, time.monotonic() + seconds) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for store in stores:
        store.close()
    faults = [worker.fault for worker in workers if worker.fault]
    print(*faults, sum(worker.turns for worker in workers), sep="\n")
    return 1 if faults or not any(worker.turns for worker in workers) else 0


if __name__ == "__main__":
    sys.exit(main())
