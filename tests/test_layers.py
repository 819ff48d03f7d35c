"""Imports go down only: the table of layers, asserted from the sources."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import kithara
from kithara.assets import ResourceKey

PACKAGE = Path(kithara.__file__).parent

# From the top down; a module imports only what stands in a lower row (and its own room).
LAYERS = (
    ("cli", "fsspec", "batch", "stream"),
    ("timeline",),
    ("decode",),
    ("opening",),
    ("file", "hls"),
    ("abr",),
    ("fetch",),
    ("prefetch",),
    ("io",),
    ("portal",),
    ("assets", "net"),
    ("storage",),
    ("_core",),
)
LEAVES = ("errors", "events", "media", "source", "version")
GATHERERS = ("__init__", "__main__")  # of the package itself; they may import every room

# Where the table is narrower than its rows: these rooms import nothing of the package but what is named here.
NARROW = {
    "abr": {*LEAVES},
    "net": {*LEAVES},  # knows no storage
}


def sources() -> list[Path]:
    return sorted(path for suffix in ("py", "pyi", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{suffix}"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import of this package in *path*, wherever in the module it stands."""
    found = _python_imports(path) if path.suffix in (".py", ".pyi") else _cython_imports(path)
    for line, name in found:
        parts = name.split(".")
        if parts[0] == "kithara" and len(parts) > 1:
            yield line, parts[1]


def _python_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(path, node.level, node.module or "")
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}" if module == "kithara" else module


def _cython_imports(path: Path) -> Iterator[tuple[int, str]]:
    statement = re.compile(r"\s*(?:from\s+(\.*)([\w.]*)\s+c?import\s+(\w+)|c?import\s+([\w.]+))")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if match := statement.match(line):
            dots, module, name, plain = match.groups()
            base = plain if plain is not None else _absolute(path, len(dots), module)
            yield number, f"{base}.{name}" if base == "kithara" else base


def _absolute(path: Path, level: int, module: str) -> str:
    if level == 0:
        return module
    package = ["kithara", *path.relative_to(PACKAGE).parent.parts]
    return ".".join([*package[: len(package) - level + 1], *([module] if module else [])])


def allowed(importer: str) -> set[str]:
    """The rooms that *importer* may import."""
    if importer in NARROW:
        return NARROW[importer] | {importer}
    if importer in LEAVES:
        return {*LEAVES}
    [row] = [number for number, rooms in enumerate(LAYERS) if importer in rooms]
    return {*LEAVES, importer, *(name for rooms in LAYERS[row + 1 :] for name in rooms)}


def test_every_room_stands_in_the_table() -> None:
    named = {*LEAVES, *GATHERERS, *(name for rooms in LAYERS for name in rooms)}
    assert {room(path) for path in sources()} - named == set()


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    if room(path) in GATHERERS:
        return
    above = [f"line {line}: {name}" for line, name in imports(path) if name not in allowed(room(path))]
    assert above == []


def test_the_documentation_shows_this_table(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split() for line in page.partition("```\n")[2].partition("```")[0].splitlines()]
    shown = [tuple(row) for row in rows if row[-1] != "all"]
    assert ([*LAYERS], [*LEAVES]) == (shown, rows[-1][: len(LEAVES)])


def test_the_scan_sees_python_and_cython_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "net").mkdir()
    python = (
        "import os",
        "from ..storage.atomic import A",
        "from .. import fetch",
        "def f():",
        "    import kithara.io",
    )
    cython = ("from libc.string cimport memcpy", "from kithara._core.store cimport Store", "from ..errors import X")
    (tmp_path / "net" / "client.py").write_text("\n".join(python))
    (tmp_path / "net" / "fast.pyx").write_text("\n".join(cython))
    assert {(2, "storage"), (3, "fetch"), (5, "io")} == set(imports(tmp_path / "net" / "client.py"))
    assert [(2, "_core"), (3, "errors")] == list(imports(tmp_path / "net" / "fast.pyx"))


def imported_by(script: str) -> set[str]:
    """The packages that a new interpreter has imported when *script* has run."""
    tell = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\n{tell}"], capture_output=True, check=True, text=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_importing_kithara_imports_no_library() -> None:
    assert {"aiohttp", "asyncio", "av", "cryptography", "numpy", "sqlite3"} & imported_by("import kithara") == set()


def test_names_of_the_network_import_no_http_library() -> None:
    named = "from kithara import HttpClient, HttpOptions; HttpClient(HttpOptions())"
    assert {"aiohttp", "yarl"} & imported_by(named) == set()


def test_what_is_at_hand_is_opened_without_an_http_library(tmp_path: Path) -> None:
    (tmp_path / "local.bin").write_bytes(b"local")
    url = "http://host.example/cached.bin"
    with kithara.AssetStore(tmp_path / "cache") as store, store.open_streaming(ResourceKey.from_url(url)) as cached:
        cached.write_at(0, b"cached")
        cached.commit(6)
    script = f"""
        import kithara
        with kithara.open({str(tmp_path / "local.bin")!r}) as local:
            assert b"local" == local.read()
        with kithara.open({url!r}, store={str(tmp_path / "cache")!r}) as cached:
            assert b"cached" == cached.read()
    """
    assert {"aiohttp", "yarl"} & imported_by(textwrap.dedent(script)) == set()


def test_opening_from_several_threads_at_once_imports_once(tmp_path: Path) -> None:
    """Each thread is the first one to ask for something; none sees half a module."""
    script = """
        import threading, kithara
        from kithara.cli.origin import Origin
        came, ready = [], threading.Barrier(8)
        def read(url):
            ready.wait()
            with kithara.open(url, store=False) as file:
                came.append(file.read())
        with Origin({"a": b"abc"}) as origin:
            threads = [threading.Thread(target=read, args=(origin.url("a"),)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [b"abc"] * 8 == came, came
    """
    assert "aiohttp" in imported_by(textwrap.dedent(script))


def _foreign(tree: ast.AST) -> Iterator[str]:
    """The packages that *tree* imports when it runs, not only for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        yield from _foreign(node)


def test_every_package_that_is_imported_is_declared(root: Path) -> None:
    """What only comes along with another dependency is missing where that one no longer needs it."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    declared = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in declared}
    found = {name for path in sources() if path.suffix == ".py" for name in _foreign(ast.parse(path.read_text()))}
    assert {"aiohttp", "av"} <= found
    assert set() == found - names - sys.stdlib_module_names - {"kithara"}
