"""Ctrl-C ends a command between two steps of its own, never in the midst of an import or a finalizer.

Python raises KeyboardInterrupt wherever it happens to be. In a finalizer it is printed and lost; in an import it leaves
half a module, whose parts complain when they are collected. There it waits for the next chance.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 130
"""What a command exits with after Ctrl-C, as shells have it: 128 and the number of the signal."""

HOME = os.path.join(os.path.dirname(__file__), "__init__.py")
"""Where everything that a command does is called from."""

SOON = 0.005
"""Seconds until a Ctrl-C that came in the wrong place is asked about again."""

FINALIZERS = frozenset({weakref.__file__, weakref.WeakSet.__init__.__code__.co_filename})


@contextlib.contextmanager
def orderly(*, until_exit: bool) -> Iterator[None]:
    """Take Ctrl-C in an orderly way while the block lasts.

    Where it is taken otherwise or ignored already, and outside the main thread, nothing changes.

    Args:
        until_exit: The process ends after the block, and no Ctrl-C shall disturb it in that.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    taken = _Taken()
    signal.signal(signal.SIGINT, taken)
    try:
        yield
    finally:
        taken.settle()
        signal.signal(signal.SIGINT, signal.SIG_IGN if until_exit else signal.default_int_handler)


class _Taken:
    """The handler of SIGINT: raises where that is orderly, and until then has the signal come again."""

    def __init__(self) -> None:
        self._asking = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not _is_midway(frame):
            self.settle()
            raise KeyboardInterrupt
        if not self._asking:
            self._asking = True
            # `threading` takes locks to start a thread, and what was interrupted may hold them.
            _thread.start_new_thread(self._ask, (number, threading.get_ident()))

    def settle(self) -> None:
        self._asking = False

    def _ask(self, number: int, thread: int) -> None:
        while self._asking:  # more than once: a signal does not end a wait that is only about to begin
            time.sleep(SOON)
            if self._asking:
                signal.pthread_kill(thread, number)


def _is_midway(frame: FrameType | None) -> bool:
    """Whether *frame* stands in an import, in a finalizer, or between a context manager and its block."""
    if frame is not None and frame.f_code.co_filename == contextlib.__file__:
        return True
    while frame is not None and frame.f_code.co_filename != HOME:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_filename in FINALIZERS:
            return True
        if code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
