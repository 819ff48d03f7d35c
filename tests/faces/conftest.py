import pytest
from support.libraries import need

import kithara


@pytest.fixture
def cache(tmp_path):
    """The directory of a cache of its own."""
    return str(tmp_path / "cache")


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
