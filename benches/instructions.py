"""Instructions of the hottest calls, counted by valgrind: a regression shows without a quiet machine.

``python benches/instructions.py`` counts and compares with ``instructions.json``, and fails when a call costs more than
a twentieth more than recorded; ``--record`` writes the figures of this build. Two counts of one build differ by less
than one in a thousand; those of two compilers, or of two versions of Python, are not comparable, so both are recorded.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "instructions.json"
SLACK = 0.05
CALLS = 20_000

# Only the core is imported: under valgrind every import costs seconds. The loop itself is counted apart.
SCRIPT = """
import sys, types
package = types.ModuleType("kithara"); package.__path__ = [sys.argv[1] + "/kithara"]; sys.modules["kithara"] = package
from kithara._core.ranges import RangeSet
from kithara._core.reader import SyncReader
from kithara._core.file_resource import FileResource
from kithara._core.memory_resource import MemoryResource
import os
what, count, path = sys.argv[2], int(sys.argv[3]), sys.argv[4]
SIZE = 1 << 20
data, buffer = bytes(4096), bytearray(4096)
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.pwrite(fd, bytes(SIZE), 0)
store = FileResource(fd, length=SIZE, ranges=[(0, SIZE)])
store.commit()
reader = SyncReader(store)
reader.readall()
reader.seek(0)
memory = MemoryResource(CALLS * 4096)
ranges = RangeSet()
for n in range(CALLS):
    ranges.add(n * 100, n * 100 + 60)
places = [n * 7919 % CALLS for n in range(CALLS)]

def nothing(place): pass
def readinto(place, seek=reader.seek, readinto=reader.readinto): seek(0); readinto(buffer)
def read(place, seek=reader.seek, read=reader.read): seek(0); read(4096)
def seek(place, seek=reader.seek): seek(place)
def write_at(place, write_at=memory.write_at): write_at(place * 4096, data)
def covered_until(place, covered_until=ranges.covered_until): covered_until(place * 100)

call = locals()[what]
for place in places[:count]:
    call(place)
reader.close()
""".replace("CALLS", str(CALLS))

NAMES = {
    "readinto": "seek(0) + readinto(4 KiB)",
    "read": "seek(0) + read(4096)",
    "seek": "seek",
    "write_at": "MemoryResource.write_at(4 KiB)",
    "covered_until": "RangeSet.covered_until in 20,000 runs",
}


def instructions(what: str, count: int) -> int:
    """What a run of *count* calls costs in all, start and end of the interpreter included."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [
                "valgrind", "--tool=callgrind", f"--callgrind-out-file={place}/out", sys.executable, "-S", "-c",
                SCRIPT, str(HERE.parent), what, str(count), f"{place}/file",
            ],
            capture_output=True, text=True, env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}, check=True,
        )  # fmt: skip
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


def build() -> dict[str, str]:
    """What the figures depend on."""
    compiler = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    return {"python": platform.python_version(), "gcc": compiler, "machine": platform.machine()}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--record", action="store_true", help="write the figures of this build")
    record = options.parse_args().record
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: no instructions counted")
        return 0
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"build": {}, "calls": {}}
    base = instructions("nothing", 0)
    loop = instructions("nothing", CALLS) - base
    counted = {
        name: round((instructions(what, CALLS) - base - loop) / CALLS) for what, name in NAMES.items()
    }  # fmt: skip
    comparable = known["build"] == build()
    worse = False
    print(f"{'instructions a call':42} {'now':>8} {'recorded':>9}")
    for name, count in counted.items():
        before = known["calls"].get(name)
        missed = comparable and before is not None and count > before * (1 + SLACK)
        worse = worse or missed
        print(f"{name:42} {count:8,} {'—' if before is None else f'{before:,}':>9} {'MORE' if missed else ''}")
    if not comparable:
        print(f"recorded with {known['build']}, counted with {build()}: not compared")
    if record:
        RECORD.write_text(json.dumps({"build": build(), "calls": counted}, indent=2) + "\n", encoding="utf-8")
        return 0
    return worse


if __name__ == "__main__":
    sys.exit(main())
