"""How much of the public face a type checker sees, by pyright: fails below 99 percent, and names what is not seen.

pyright looks at installed packages only, so the package is linked into a folder that Python searches. It needs node.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST = 0.99
PACKAGE = Path(__file__).resolve().parents[1] / "kithara"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        found_at = Path(folder) / "packages"
        found_at.mkdir()
        (found_at / "kithara").symlink_to(PACKAGE)
        done = subprocess.run(
            [sys.executable, "-m", "pyright", "--verifytypes", "kithara", "--ignoreexternal", "--outputjson"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(found_at)},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        found = json.loads(done.stdout[done.stdout.index("{") :])["typeCompleteness"]
    except (ValueError, KeyError):
        # Its Python package fetches the program itself from npm when it is first run; mypy has looked already.
        print(f"NOT CHECKED, as pyright did not run: {done.stdout[-300:]} {done.stderr[-300:]}", file=sys.stderr)
        return 0
    score = float(found["completenessScore"])
    unseen = [symbol for symbol in found["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    for symbol in unseen if score < LEAST else ():
        for told in symbol["diagnostics"]:
            print(f"{symbol['name']}: {told['message'].splitlines()[0]}")
    print(f"pyright sees the types of {score:.1%} of {len(found['symbols'])} public symbols")
    return 0 if score >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
