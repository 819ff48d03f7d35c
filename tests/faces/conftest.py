import importlib.util

import pytest
from support.tools import IN_CI

import kithara


def pytest_configure(config):
    config.addinivalue_line("markers", "library(name, ...): skipped, in CI failed, where a library is not installed")


def pytest_runtest_setup(item):
    asked = [name for mark in item.iter_markers("library") for name in mark.args]
    missing = [name for name in asked if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"needs {', '.join(missing)}: pip install --group faces"
        (pytest.fail if IN_CI else pytest.skip)(reason)


@pytest.fixture
def cache(tmp_path):
    """The directory of a cache of its own."""
    return str(tmp_path / "cache")


@pytest.fixture
def fs(cache):
    """The file system of that cache."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install --group faces")
    from kithara.fsspec import KitharaFileSystem

    fsspec.register_implementation("kithara", KitharaFileSystem, clobber=True)
    KitharaFileSystem.clear_instance_cache()
    yield fsspec.filesystem("kithara", store=cache)
    KitharaFileSystem.clear_instance_cache()


@pytest.fixture
def store(cache):
    with kithara.AssetStore(cache) as store:
        yield store
