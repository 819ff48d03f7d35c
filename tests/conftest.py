"""Fixtures and rules for every test: `async def` tests, liveness bounds, leak checks, tools that may be missing."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import leaks, tools, waiting

ROOT = Path(__file__).resolve().parent.parent
LEFT_TASKS: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program, ...): skipped, in CI failed, where a program is not installed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        tools.require(*mark.args)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in a fresh event loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        try:
            await pyfuncitem.obj(**arguments)
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            pyfuncitem.stash[LEFT_TASKS] = [repr(task) for task in left if not task.done()]

    asyncio.run(run())
    return True


@pytest.fixture
def liveness() -> Callable[[float], float]:
    """`liveness(seconds)`: the bound that holds on this machine, three times wider in CI."""
    return waiting.liveness


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves descriptors, threads, file mappings or asyncio tasks behind.

    Ask for it first, so that what other fixtures hold is not counted.
    """
    with leaks.no_leaks():
        yield
    assert request.node.stash.get(LEFT_TASKS, []) == []


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT
