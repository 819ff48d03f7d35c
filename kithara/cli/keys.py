"""Single keys from the terminal, while something plays."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from types import TracebackType
from typing import Self

NAMES = {b"\x1b[C": "right", b"\x1b[D": "left", b" ": "space"}


class Keys:
    """The keys pressed while the `with` block lasts; none where stdin is no terminal. Ctrl-C still interrupts."""

    def __init__(self) -> None:
        self._terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._never = threading.Event()

    @property
    def available(self) -> bool:
        return self._terminal is not None

    def __enter__(self) -> Self:
        if self._terminal is not None:
            self._before = termios.tcgetattr(self._terminal)
            tty.setcbreak(self._terminal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal is not None:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def next(self, timeout: float) -> str | None:
        """The next key, ``"left" "right" "space"`` or its letter; None when none comes within *timeout* seconds."""
        if self._terminal is None:
            self._never.wait(timeout)
            return None
        if not select.select([self._terminal], [], [], timeout)[0]:
            return None
        pressed = os.read(self._terminal, 8)
        if not pressed:  # the terminal is gone
            self._terminal = None
            return None
        return NAMES.get(pressed, pressed.decode("ascii", "replace"))
