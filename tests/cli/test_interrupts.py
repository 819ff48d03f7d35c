"""Ctrl-C is orderly: it waits for the end of an import or a finalizer, and leaves the handler as it was."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kithara.cli import main
from kithara.cli.interrupts import orderly

CTRL_C = "import signal; signal.raise_signal(signal.SIGINT)"


def interrupted(act: Callable[[], object]) -> bool:
    """Whether Ctrl-C ends *act* and a wait behind it."""
    try:
        with orderly(until_exit=False):
            act()
            threading.Event().wait(20)
    except KeyboardInterrupt:
        return True
    return False


def test_ctrl_c_in_an_import_comes_when_the_module_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupted_module.py").write_text(f"{CTRL_C}\nlines = [n for n in range(100)]\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert interrupted(lambda: importlib.import_module("interrupted_module"))
    assert sys.modules.pop("interrupted_module").whole


def test_ctrl_c_in_a_finalizer_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    steps = []

    class Collected:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)
            steps.append("finalized")

    assert interrupted(Collected)
    assert (["finalized"], "") == (steps, capfd.readouterr().err)


def test_elsewhere_ctrl_c_comes_at_once() -> None:
    steps = []
    assert interrupted(lambda: [signal.raise_signal(signal.SIGINT), steps.append("went on")])
    assert [] == steps


def test_the_handler_is_as_it_was_after_a_command(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert 0 == main(["--version"])
    assert before is signal.getsignal(signal.SIGINT)
    assert "kithara" in capfd.readouterr().out


def test_a_process_that_ignores_ctrl_c_goes_on_to() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with orderly(until_exit=True):
            assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_command_runs_in_any_thread(capfd: pytest.CaptureFixture[str]) -> None:
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["--version"])))
    thread.start()
    thread.join()
    assert [0] == codes
    assert "kithara" in capfd.readouterr().out
