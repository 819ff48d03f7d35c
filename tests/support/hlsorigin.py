"""A presentation of made-up media that tells its own place, in a server that can be told to misbehave."""

import math

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from support.faultserver import finish, head, send

from kithara.hls import HlsOptions
from kithara.net import HttpOptions

FAST = HttpOptions(retries=1)
KEY = bytes(range(16))
IV = bytes(15) + b"\x01"
RATES = (64_000, 256_000)
DURATION = 2.0
COUNT = 6


def packet(variant, index, rate):
    """Something that looks like MPEG-TS and tells its own place."""
    return (b"G" + f"<{variant}:{index}>".encode().ljust(187, b".")) * math.ceil(rate * DURATION / 8 / 188)


def encrypted(plain, key=KEY):
    count = 16 - len(plain) % 16
    cipher = Cipher(AES(key), CBC(IV)).encryptor()
    return cipher.update(plain + bytes([count]) * count) + cipher.finalize()


class Origin:
    """A presentation of two variants in a server that can be told to misbehave."""

    def __init__(self, server, *, keyed=False, rates=RATES, count=COUNT):
        self.server = server
        self.rates = rates
        self.count = count
        self.url = server.url("/master.m3u8")
        lines = ["#EXTM3U"]
        for number, rate in enumerate(rates):
            lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={rate}", f"v{number}.m3u8"]
        server.serve("/master.m3u8", "\n".join([*lines, ""]).encode())
        self.citizens = {}
        for number, rate in enumerate(rates):
            listing = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-PLAYLIST-TYPE:VOD"]
            if keyed:
                listing.append(f'#EXT-X-KEY:METHOD=AES-128,URI="k{number}",IV=0x{IV.hex()}')
                server.serve(f"/k{number}", KEY)
            for index in range(count):
                listing += [f"#EXTINF:{DURATION},", f"{number}-{index}.ts"]
                plain = packet(number, index, rate)
                body = encrypted(plain) if keyed else plain
                self.citizens[number, index] = server.serve(f"/{number}-{index}.ts", body)
            server.serve(f"/v{number}.m3u8", "\n".join([*listing, "#EXT-X-ENDLIST", ""]).encode())

    def refuse(self, path, status):
        """Answer *path* with *status* from now on."""
        self.server._scripts[path] = []
        self.server.on(path, head(status, {"Content-Length": 0}), finish())

    def answer(self, path, body, kind="application/octet-stream"):
        """Answer *path* with *body* from now on, whatever range is asked."""
        self.server._scripts[path] = []
        self.server.on(path, head(200, {"Content-Length": len(body), "Content-Type": kind}), send(body))

    def asked(self, path):
        return sum(request.path == path for request in self.server.requests)


def options(**changes):
    return HlsOptions(**{"http": FAST, **changes})


async def played(session, found=None):
    """Index, variant and bytes of every segment; also in *found*."""
    found = [] if found is None else found
    async for segment in session.segments():
        buffer = bytearray(segment.store.length)
        segment.store.read_at(0, buffer)
        found.append((segment.index, segment.variant, bytes(buffer)))
    return found
