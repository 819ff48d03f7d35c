"""Time to parse media playlists of 10 000 segments: ``python benches/hls/bench_playlist.py``.

Goal: 20 ms for a plain list, 35 ms with byte ranges. Prints minimum and median of 15 runs.
"""

import gc
import statistics
import time

from kithara.hls import parse_playlist

SEGMENTS = 10_000
ROUNDS = 15
BASE = "https://cdn.example/a/b/list.m3u8?token=1"
HEADER = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n"

LISTS = {
    "plain": HEADER + "".join(f"#EXTINF:6.0,\nseg{n:05d}.ts\n" for n in range(SEGMENTS)),
    "dates, absolute signed URLs": HEADER
    + "".join(
        f"#EXT-X-PROGRAM-DATE-TIME:2024-01-01T00:00:{n % 60:02d}.000Z\n#EXTINF:6.0,\n"
        f"https://cdn.example/x/seg{n:05d}.ts?token=abcdefghijklmnop%2Fqrst&expires=123456789\n"
        for n in range(SEGMENTS)
    ),
    "byte ranges": HEADER
    + '#EXT-X-MAP:URI="all.mp4",BYTERANGE="700@0"\n'
    + "".join(f"#EXTINF:6.0,\n#EXT-X-BYTERANGE:50000@{700 + 50_000 * n}\nall.mp4\n" for n in range(SEGMENTS)),
}


def main() -> None:
    for name, text in LISTS.items():
        data = text.encode()
        spent = []
        for _ in range(ROUNDS):
            gc.collect()
            before = time.perf_counter()
            parse_playlist(data, BASE)
            spent.append(1000 * (time.perf_counter() - before))
        print(f"{name:30} {len(data) / 1000:6.0f} kB  {min(spent):6.1f} ms  median {statistics.median(spent):6.1f} ms")


if __name__ == "__main__":
    main()
