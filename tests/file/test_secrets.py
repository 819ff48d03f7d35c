"""That the look-out for secrets, which every test of this folder is under, sees what it is to see."""

from __future__ import annotations

import logging

import pytest
from support.oracles import SECRET
from support.secrecy import Overheard, overhearing, written

from kithara.errors import NetError
from kithara.events import EventBus, Failed, Started


@pytest.fixture
def planted():
    """A look-out of its own, so that what is planted is not held against this test."""
    with overhearing() as overheard:
        yield overheard
    overheard.found.clear()


@pytest.fixture(autouse=True)
def _forgiven(planted, overheard: Overheard):
    yield
    overheard.found.clear()


def test_it_sees_what_is_logged_at_any_level(planted: Overheard) -> None:
    logging.getLogger("kithara.net").debug("fetching %s", f"http://h/?token={SECRET}")
    assert len(planted.found) == 1


def test_it_sees_what_listeners_are_told(planted: Overheard) -> None:
    EventBus().publish(Started(url=f"http://{SECRET}@h/", cached=0))
    assert len(planted.found) == 1


def test_it_sees_what_hangs_on_an_error(planted: Overheard) -> None:
    error = NetError("broken")
    error.__cause__ = OSError(SECRET)
    EventBus().publish(Failed(error=error))
    assert len(planted.found) == 1


def test_it_lets_pass_what_holds_no_secret(planted: Overheard) -> None:
    logging.getLogger("kithara.net").debug("fetching %s", "http://h/?token=…")
    EventBus().publish(Started(url="http://h/", cached=0))
    assert (planted.found, planted.looked_at) == ([], 2)


def test_it_sees_names_and_contents_of_files(tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "empty").touch()
    (folder / "fine").write_text("nothing here")
    assert written(folder) == []
    (folder / f"body-{SECRET}").touch()
    (folder / "sub").mkdir()
    (folder / "sub" / "meta").write_bytes(bytes(100_000) + SECRET.encode())
    assert len(written(folder)) == 2
