"""A server that can be told to misbehave, and a cache of one test's own."""

import pytest
from support.faultserver import FaultServer

from kithara.assets import AssetStore
from kithara.hls import priming


@pytest.fixture(autouse=True)
def time_to_prime(monkeypatch):
    """However slow this machine is, what primes a decoder comes soon enough."""
    monkeypatch.setattr(priming, "SOON", 60.0)


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    with AssetStore(tmp_path / "cache") as store:
        yield store
