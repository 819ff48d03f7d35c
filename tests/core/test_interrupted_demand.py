"""A Ctrl-C that comes while a reader tells its producer what it wants: the reader raises it, the producer is told."""

from __future__ import annotations

import pytest

from kithara._core.resource import MemoryResource


@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_in_the_middle_of_a_demand_ends_the_wait(times: int, capfd: pytest.CaptureFixture[str]) -> None:
    calls = []

    def demand() -> None:
        calls.append(len(calls))
        if len(calls) <= times:
            raise KeyboardInterrupt

    store = MemoryResource(1000)
    store.produce(demand, look_ahead=1000)
    with pytest.raises(KeyboardInterrupt):
        store.wait_range(0, 10, 20.0)
    assert (list(range(times + 1)), "") == (calls, capfd.readouterr().err)
