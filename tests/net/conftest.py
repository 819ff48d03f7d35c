"""A misbehaving server and a client with small limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.faultserver import FaultServer


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[FaultServer]:
    """A server on another host."""
    with FaultServer(host="127.0.0.2") as running:
        yield running
