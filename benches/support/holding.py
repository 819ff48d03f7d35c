"""What this process holds: run by a bench in an interpreter of its own, whose memory no other bench has touched.

``holding.py sources ROOT URL…`` opens all but the last URL at once and reads their starts; the last was read before, so
that what is needed for any source at all is not counted. ``paused`` opens its URL, reads the start and waits until the
rest is in the cache; ``playing`` reads it to its end; ``decoding`` decodes it to its end. Prints JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time

import kithara
from kithara.file import FileSession

STEPS = 16
"""Looks at the memory within a stream."""


def held() -> dict[str, int]:
    """KiB that no file backs, KiB of files that are mapped and resident, descriptors and threads."""
    gc.collect()
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    kilobytes = {name: int(status[name].split()[0]) for name in ("RssAnon", "RssFile", "RssShmem", "Threads")}
    return {
        "anonymous": kilobytes["RssAnon"] + kilobytes["RssShmem"],
        "mapped": kilobytes["RssFile"],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": kilobytes["Threads"],
    }


def grown(before: dict[str, int], count: int = 1) -> dict[str, float]:
    return {name: (value - before[name]) / count for name, value in held().items()}


def sources(store: kithara.AssetStore, *given: str) -> dict[str, float]:
    *urls, first = given
    with kithara.open(first, store=store) as reader:
        reader.read(4096)

    async def all_at_once() -> list[FileSession]:
        return await asyncio.gather(*(kithara.FileSource.open(url, None, store).opened() for url in urls))

    before, began = held(), time.perf_counter()
    sessions = asyncio.run(all_at_once())
    readers = [session.source() for session in sessions]
    for reader in readers:
        assert len(reader.read(4096)) == 4096
    took = time.perf_counter() - began
    found = {**grown(before, len(urls)), "milliseconds": 1000 * took / len(urls)}
    for reader, session in zip(readers, sessions, strict=True):
        reader.close()
        session.close()
    return found


def paused(store: kithara.AssetStore, url: str) -> dict[str, float]:
    with kithara.open(url, store=store) as reader:
        reader.read(64 << 10)
        before, most = held(), 0.0
        while reader.status == "active":
            time.sleep(0.02)
            most = max(most, grown(before)["anonymous"])
    return {"anonymous": most}


def playing(store: kithara.AssetStore, url: str) -> dict[str, float]:
    with kithara.open(url, store=store) as reader:
        step = (reader.length or 0) // STEPS
        read = reader.read(64 << 10)
        before, most = held(), 0.0
        while read:
            read = reader.read(64 << 10)
            if reader.tell() % step < len(read):
                most = max(most, grown(before)["anonymous"])
    return {"anonymous": most}


def decoding(store: kithara.AssetStore, url: str) -> dict[str, float]:
    with kithara.open(url, store=store) as reader, kithara.Decoder(reader) as decoder:
        out = decoder.read(1 << 15)
        before, most, blocks = held(), 0.0, 0
        while decoder.readinto(out):
            blocks += 1
            if blocks % 256 == 0:
                most = max(most, grown(before)["anonymous"])
    return {"anonymous": most, "seconds": blocks * len(out) / decoder.spec.rate}


if __name__ == "__main__":
    what, root, *urls = sys.argv[1:]
    with kithara.AssetStore(root) as store:
        print(json.dumps(globals()[what](store, *urls)))
