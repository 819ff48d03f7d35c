"""Damaged files for a child process: ``python mutants.py SEED COUNT FILE…`` decodes COUNT of them and tells of it.

Nothing may be opened while it decodes: the limit on descriptors is set to those that are open already.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import sys
import time
from pathlib import Path


def mutate(data: bytes, other: bytes, chance: random.Random) -> tuple[str, bytes]:
    """*data* damaged in one of many ways."""
    kind = chance.choice(("flip", "flip head", "truncate", "splice", "zero", "insert", "remove", "body", "big number"))
    body = bytearray(data)
    size = len(body)
    if kind == "flip":
        for _ in range(chance.randrange(1, 60)):
            body[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif kind == "flip head":
        for _ in range(chance.randrange(1, 12)):
            body[chance.randrange(min(size, 2048))] = chance.randrange(256)
    elif kind == "truncate":
        del body[chance.randrange(size) :]
    elif kind == "splice":
        at = chance.randrange(size)
        body[at:] = other[chance.randrange(len(other)) :]
    elif kind == "zero":
        at = chance.randrange(size)
        stop = min(size, at + chance.randrange(1, size // 2))
        body[at:stop] = bytes(stop - at)
    elif kind == "insert":
        at = chance.randrange(size)
        body[at:at] = chance.randbytes(chance.randrange(1, 5000))
    elif kind == "remove":
        at = chance.randrange(size)
        del body[at : at + chance.randrange(1, 5000)]
    elif kind == "big number":
        at = chance.randrange(min(size - 8, 4096))
        body[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0"))
    else:
        body[: chance.randrange(200)] = chance.choice(
            (
                b"ffconcat version 1.0\nfile '/etc/passwd'\n",
                b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 0\r\n",
                b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
                b"<?xml version='1.0'?><MPD><BaseURL>http://127.0.0.1:9/</BaseURL></MPD>",
                b"<!DOCTYPE html><html>",
            )
        )
    return kind, bytes(body)


def main(seed: int, count: int, paths: list[str]) -> None:
    """Decode *count* mutants; the last line of output is what happened, as JSON."""
    import numpy as np

    import kithara.decode as decode
    from kithara.errors import DecodeError

    faulthandler.enable()
    files = [Path(path).read_bytes() for path in paths]
    chance = random.Random(seed)
    for data in files:  # every import and table that decoding needs is here before the limit falls
        decode.load(data)
    limit = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    told = {"decoded": 0, "refused": 0, "damaged": 0, "slowest": 0.0, "slowest_of": ""}
    for number in range(count):
        at = chance.randrange(len(files))
        kind, data = mutate(files[at], chance.choice(files), chance)
        started = time.monotonic()
        faulthandler.dump_traceback_later(20, exit=True)
        print(f"{seed}:{number} {kind} {paths[at]}", flush=True)
        try:
            with decode.Decoder(data) as decoder:
                _ = decoder.tags, decoder.pictures, decoder.frames, decoder.duration
                out = np.empty((50_000, decoder.spec.channels), np.float32)
                for place in (0, chance.randrange(1 << 20), chance.randrange(1 << 34), 7):
                    decoder.seek(place, exact=chance.random() < 0.8)
                    for _ in range(4):
                        decoder.readinto(out)
                told["damaged"] += decoder.damaged
                told["decoded"] += 1
        except DecodeError:
            told["refused"] += 1
        faulthandler.cancel_dump_traceback_later()
        seconds = time.monotonic() - started
        if seconds > told["slowest"]:
            told["slowest"], told["slowest_of"] = seconds, f"{seed}:{number} {kind} {paths[at]}"
    told["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
