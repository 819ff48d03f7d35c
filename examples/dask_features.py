"""How loud many files are, measured on a Dask cluster: a node fetches each byte once, however many work on it.

    python examples/dask_features.py urls.txt --cache /scratch/kithara --workers 2

The list has a URL a line. The answer is a line of JSON for each. Needs `dask[distributed]`.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster

import kithara
from kithara.batch import Failure, ForEach, by_file


def loudness(decoder: kithara.Decoder) -> dict[str, float]:
    """Seconds, and the level in dB relative to full scale."""
    squares = frames = 0.0
    for block in decoder.blocks(1 << 16):
        squares += float(np.square(block, dtype="float64").mean(axis=1).sum())
        frames += len(block)
    return {"seconds": frames / decoder.spec.rate, "level": 10 * float(np.log10(max(squares / max(frames, 1), 1e-20)))}


def measured(task: ForEach[dict[str, float]], urls: list[str]) -> list[tuple[str, dict[str, float] | Failure]]:
    return [(url, task(url)) for url in urls]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("list", type=Path, help="a file with a URL a line")
    parser.add_argument("--cache", help="directory of the cache that the workers share; the default one if not given")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    args = parser.parse_args()
    urls = args.list.read_text().split()
    task = ForEach(loudness, store=args.cache, on_error="return")
    # Files that are listed twice go to the same worker; small parts keep all of them busy to the end.
    parts = by_file(urls, 8 * args.workers)
    with (
        LocalCluster(n_workers=args.workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for part in client.gather(client.map(measured, [task] * len(parts), parts)):
            for url, found in part:
                told = {"error": str(found.error)} if isinstance(found, Failure) else found
                print(json.dumps({"url": url, **told}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
