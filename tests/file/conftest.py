import pytest
from support.secrecy import overhearing, written

import kithara


@pytest.fixture
def store(tmp_path):
    """A cache of its own."""
    with kithara.AssetStore(tmp_path / "cache") as store:
        yield store


@pytest.fixture(scope="session", autouse=True)
def _portal_is_up():
    """The portal's thread and descriptors are made once a process; they are no test's leak."""
    from kithara.portal import portal

    portal()


@pytest.fixture(scope="package")
def overheard():
    """Everything that is logged and told while the tests of this folder run."""
    with overhearing() as overheard:
        yield overheard


@pytest.fixture(autouse=True)
def _no_secret_is_left(request, overheard):
    """No test of this folder may log, tell or write the marker that stands for a secret."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    found, overheard.found = overheard.found, []
    assert found == []
    if folder is not None and folder.exists():
        assert written(folder) == []
