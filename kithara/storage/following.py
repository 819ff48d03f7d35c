"""The side of a resource that other processes see: its live page, and the place there of whoever only follows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ..errors import StoreError
from .keeper import Held, Keeper
from .live import SLOTS, Demand, LivePage, Record, State
from .partfile import Found, PartFile
from .sidecar import Validators


class Following:
    """The live page that goes with *files*, if *keeper* shares them at all. Its owner serialises the calls."""

    def __init__(self, files: PartFile, keeper: Keeper) -> None:
        self._files = files
        self._keeper = keeper
        self._page: LivePage | None = None
        self._slot: tuple[int, Held] | None = None

    # ── the writer's side ────────────────────────────────────────────────────────────────────

    def lead(self) -> None:
        """Have a page to publish on: the one that was followed, or a new one, which nobody has seen yet."""
        self.leave()
        if self._keeper.shared and not self._current():
            self.close()
            self._page = LivePage.create(self._files.directory, self._files.live)

    def publish(
        self,
        generation: int,
        inode: int,
        state: State,
        length: int | None,
        validators: Validators,
        runs: bytes,
    ) -> None:
        """Tell followers how far it is. The bytes are in the file already."""
        if self._page is not None:
            record = Record(
                generation=generation, inode=inode, state=state, length=length, validators=validators, ranges=()
            )
            self._page.publish(record, runs)

    def asked(self) -> list[Demand]:
        """What followers miss."""
        return [] if self._page is None else self._page.asked()

    # ── a follower's side ────────────────────────────────────────────────────────────────────

    def join(self) -> Found | None:
        """The partial that another process writes, and how far it is; None when that cannot be learned."""
        page = self._open()
        record = None if page is None else page.look()
        if page is None or record is None or record.state is not State.ACTIVE:
            return None
        try:
            fd = self._files.directory.open_file(self._files.part, os.O_RDWR)
        except (FileNotFoundError, StoreError):
            return None
        facts = os.fstat(fd)
        if facts.st_ino != record.inode or facts.st_nlink != 1 or any(b > facts.st_size for _, b in record.ranges[-1:]):
            os.close(fd)
            return None
        validators = replace(record.validators, total=record.length)
        return Found(
            fd, facts.st_ino, generation=record.generation, ranges=record.ranges, validators=validators
        )

    def look(self) -> Record | None:
        """News from the writer, or None."""
        record = None if self._page is None else self._page.look()
        if record is None and not self._current():
            page = self._open()  # another writer has come, who did not follow the last one
            record = None if page is None else page.look()
        return record

    def ask(self, wanted: Sequence[Demand]) -> None:
        """Tell the writer that *wanted* is missed here."""
        if self._page is None:
            return
        if self._slot is None and wanted:
            for number in range(SLOTS):
                held = self._keeper.slot(number)
                if held is not None:
                    self._slot = number, held
                    break
        if self._slot is not None:
            self._page.ask(self._slot[0], wanted)

    def leave(self) -> None:
        """Ask for nothing more, and give the place to another."""
        if self._slot is not None:
            number, held = self._slot
            if self._page is not None:
                self._page.ask(number, ())
            held.release()
            self._slot = None

    # ── the page ─────────────────────────────────────────────────────────────────────────────

    def _current(self) -> bool:
        """Whether the page that is open here is the one that its name means."""
        return self._page is not None and self._files.inode_of(self._files.live) == self._page.inode

    def _open(self) -> LivePage | None:
        """The page that the name means now."""
        try:
            page = LivePage(self._files.directory, self._files.live)
        except (FileNotFoundError, StoreError):
            return None
        self.leave()
        self.close()
        self._page = page
        return page

    def close(self) -> None:
        """Give the page's descriptor back."""
        page, self._page = self._page, None
        if page is not None:
            page.close()
