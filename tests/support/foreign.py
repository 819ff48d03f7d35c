"""Cython modules that a test builds against the package as it is imported here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kithara

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
above, name = sys.argv[1:]
setup(
    script_args=["-q", "build_ext", "--inplace"],
    ext_modules=cythonize(
        [Extension(name, [f"{name}.pyx"], extra_compile_args=["-std=gnu11", "-O1", "-w"])],
        include_path=[above],
        quiet=True,
    ),
)
"""


def build(folder: Path, name: str, source: str) -> ModuleType:
    """The module *name* of the Cython *source*, built in *folder*."""
    pytest.importorskip("Cython", reason="building a foreign module needs Cython")
    (folder / f"{name}.pyx").write_text(source)
    above = Path(kithara.__file__).parent.parent
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(above), name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(above)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 0 == built.returncode, built.stderr
    [library] = folder.glob(f"{name}*.so")
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
