"""What a package exports is what one sees in it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import tomllib
from pathlib import Path

import pytest

import kithara
from kithara import errors

ROOMS = ("abr", "assets", "decode", "file", "hls", "net", "storage", "stream", "timeline")
FOUND = [f"kithara.{module.name}" for module in pkgutil.iter_modules(kithara.__path__) if module.name in ROOMS]


def visible(name: str) -> set[str]:
    """The names of Kithara's own making that one sees in the package called *name*, except the modules in it."""
    package = importlib.import_module(name)
    values = {key: getattr(package, key) for key in dir(package) if not key.startswith("_")}
    return {
        key
        for key, value in values.items()
        if key in exported(name)
        or (not inspect.ismodule(value) and str(getattr(value, "__module__", "")).split(".")[0] == "kithara")
    }


def exported(name: str) -> set[str]:
    """``__all__``, or what the package gathers by ``from .x import Y as Y``."""
    package = importlib.import_module(name)
    if hasattr(package, "__all__"):
        return set(package.__all__)
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    imported = [alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {alias.name for alias in imported if alias.asname == alias.name}


@pytest.mark.parametrize("name", ["kithara", *FOUND])
def test_what_is_exported_is_what_is_visible(name: str) -> None:
    assert exported(name) == visible(name)


def test_what_type_checkers_see_is_what_is_imported_when_asked_for() -> None:
    assert kithara.__file__ is not None
    tree = ast.parse(Path(kithara.__file__).read_text(encoding="utf-8"))
    [seen] = [node.body for node in tree.body if isinstance(node, ast.If)]
    gathered = [(node.module, alias.name) for node in seen if isinstance(node, ast.ImportFrom) for alias in node.names]
    rooms = {name for module, name in gathered if module is None}
    assert (rooms, kithara._LATER) == (set(kithara._ROOMS), {name: module for module, name in gathered if module})


def test_the_package_spells_out_all() -> None:
    names = list(getattr(kithara, "__all__", ()))
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(kithara))


def test_every_error_is_at_hand_where_it_is_caught() -> None:
    tree = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert tree <= set(kithara.__all__)
    assert all(getattr(kithara, name) is getattr(errors, name) for name in tree)


def test_the_version_is_the_one_of_the_project_file() -> None:
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("the project file is not beside the tests: they run against an installed wheel")
    assert kithara.__version__ == tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
