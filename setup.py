"""Builds the extensions of kithara/_core; everything else is in pyproject.toml.

``KITHARA_BUILD`` picks one coherent build: ``release`` (default), ``cover`` (gcov, nogil lines included),
``trace`` (Cython line tracing of code that holds the GIL), ``asan`` (address and undefined behaviour), ``tsan``.
``KITHARA_ANNOTATE=1`` writes Cython's HTML beside each source.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

if sys.platform == "win32":
    sys.exit("Kithara does not support Windows yet: its core needs POSIX mmap, pwrite and pthreads.")

MODE = os.environ.get("KITHARA_BUILD", "release")
MODES = {
    "release": (["-O2", "-g0"], []),  # Python's own flags have -g: two thirds of a wheel would be debug sections
    "cover": (["-O0", "--coverage"], ["--coverage"]),
    "trace": (["-O1", "-DCYTHON_TRACE=1"], []),
    "asan": (
        ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"],
        ["-fsanitize=address,undefined"],
    ),
    "tsan": (["-O1", "-g", "-fsanitize=thread"], ["-fsanitize=thread"]),
}
if MODE not in MODES:
    sys.exit(f"KITHARA_BUILD={MODE!r}: expected one of {', '.join(MODES)}")
compile_args, link_args = MODES[MODE]

HARDENING = ["-fstack-protector-strong", "-Werror=implicit-function-declaration", "-Wno-unreachable-code"]
if MODE == "release":
    HARDENING += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    if sys.platform == "linux":
        link_args = ["-Wl,-z,relro,-z,now"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "embedsignature.format": "python",
    "freethreading_compatible": True,
    "warn.unused": True,
    "warn.maybe_uninitialized": True,
    "linetrace": MODE == "trace",
}

extensions = [
    Extension(
        f"kithara._core.{source.stem}",
        [str(source)],
        extra_compile_args=["-std=gnu11", *compile_args, *HARDENING],
        extra_link_args=link_args,
        depends=[str(path) for path in source.parent.glob("*.h")],
    )
    for source in sorted(Path("kithara/_core").glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir=None if MODE == "trace" else f"build/cython-{MODE}",
        annotate=bool(os.environ.get("KITHARA_ANNOTATE")),
        emit_linenums=MODE == "cover",
        compiler_directives=DIRECTIVES,
        nthreads=os.cpu_count() or 1,
    ),
)
