import gc
import os

import pytest
from support.libraries import need

import kithara
from kithara.assets import shared


@pytest.fixture
def cache(tmp_path):
    """The directory of a cache of its own."""
    root = str(tmp_path / "cache")
    yield root
    store = shared._shared.pop(os.path.realpath(root), None)
    if store is not None:
        gc.collect()  # pyarrow leaves its files to the collector, and they want to save what they fetched
        store.close()


@pytest.fixture
def fs(cache):
    """The file system of that cache."""
    need("fsspec")
    import fsspec

    from kithara.fsspec import KitharaFileSystem

    fsspec.register_implementation("kithara", KitharaFileSystem, clobber=True)
    KitharaFileSystem.clear_instance_cache()
    yield fsspec.filesystem("kithara", store=cache)
    KitharaFileSystem.clear_instance_cache()


@pytest.fixture
def store(cache):
    with kithara.AssetStore(cache) as store:
        yield store
