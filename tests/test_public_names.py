"""What a package says it exports is what one sees in it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import kithara

PUBLIC = ("abr", "assets", "decode", "file", "hls", "net", "storage", "stream")
PACKAGES = [
    "kithara",
    *(f"kithara.{found.name}" for found in pkgutil.iter_modules(kithara.__path__) if found.name in PUBLIC),
]


def visible(name: str) -> set[str]:
    """The names one sees in the package called *name* that Kithara made, except the modules in it."""
    package = importlib.import_module(name)
    values = {key: getattr(package, key) for key in dir(package) if not key.startswith("_")}
    exported = set(getattr(package, "__all__", ()))
    return {
        key
        for key, value in values.items()
        if key in exported
        or (not inspect.ismodule(value) and str(getattr(value, "__module__", "")).split(".")[0] == "kithara")
    }


@pytest.mark.parametrize("name", PACKAGES)
def test_all_names_what_is_visible(name: str) -> None:
    exported = list(getattr(importlib.import_module(name), "__all__", ()))
    assert visible(name) == set(exported)
    assert len(set(exported)) == len(exported)
