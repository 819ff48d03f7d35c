#!/usr/bin/env bash
# Wheels for Linux with glibc 2.28 or newer, one for each Python given, repaired and tried: packaging/wheels.sh python3.11 ...
#
# The compiler is the one in the ziglang package, which brings glibc's symbols of any version: no container is needed.
# Each wheel is installed into an empty environment, where it decodes and plays the demo; its size and the time of its
# import are printed. What needs containers or other machines is in [tool.cibuildwheel] of pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$root/build/wheels
mkdir -p "$work" dist
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

python3 -m venv "$work/tools"
tools=$work/tools/bin
"$tools/python" -m pip install --quiet --upgrade pip
"$tools/python" -m pip install --quiet --group pyproject.toml:wheels

printf '#!/bin/sh\nexec "%s" -m ziglang cc -target %s-linux-gnu.2.28 "$@"\n' "$tools/python" "$(uname -m)" >"$work/cc"
chmod +x "$work/cc"

for python in "$@"; do
    tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    printf '\n== %s ==\n' "$("$python" --version) ($tag)"
    rm -rf "$work/$tag" build/cython-release
    "$python" -m venv "$work/$tag/building"
    "$work/$tag/building/bin/python" -m pip install --quiet build
    CC=$work/cc LDSHARED="$work/cc -shared" \
        "$work/$tag/building/bin/python" -m build --wheel --outdir "$work/$tag" . >"$work/$tag/log" 2>&1 ||
        { tail -50 "$work/$tag/log"; exit 1; }
    PATH=$tools:$PATH "$tools/auditwheel" repair --plat "manylinux_2_28_$(uname -m)" -w "$work/$tag/repaired" "$work/$tag"/*.whl >>"$work/$tag/log" 2>&1
    wheel=$(echo "$work/$tag/repaired"/*.whl)
    "$tools/auditwheel" show "$wheel" 2>&1 | grep -A 2 "is consistent" | tr "\n" " "; echo

    "$python" -m venv "$work/$tag/empty"
    empty=$work/$tag/empty/bin/python
    "$empty" -m pip install --quiet "$wheel"
    (
        cd "$work/$tag"
        "$empty" - "$wheel" <<'END'
import subprocess, sys
from pathlib import Path

wheel = Path(sys.argv[1])
package = Path(subprocess.check_output([sys.executable, "-c", "import kithara; print(kithara.__path__[0])"], text=True).strip())
assert "site-packages" in str(package), package
size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
clock = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(what):
    return min(float(subprocess.check_output([sys.executable, "-c", clock.format(what)])) for _ in range(7))


print(f"wheel {wheel.stat().st_size / 1e6:.2f} MB, installed {size / 1e6:.2f} MB")
print(f"import kithara {1000 * seconds('kithara'):.0f} ms, of which aiohttp {1000 * seconds('aiohttp'):.0f} ms;", end=" ")
print(f"kithara.decode {1000 * seconds('kithara.decode'):.0f} ms")
END
        "$work/$tag/empty/bin/kithara" demo --out demo-out --json >demo.json
        echo "the demo ran"
    )
    cp "$wheel" dist/
done
