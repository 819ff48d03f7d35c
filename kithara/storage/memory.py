"""The contract of `StreamingResource` without a disk: what is committed stays as long as somebody keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._core.memory_resource import MemoryResource
from ..errors import NoSpace
from .keeper import Keeper
from .live import Demand
from .sidecar import Validators
from .streaming import StreamingResource


class MemoryStreamingResource(MemoryResource):
    """A `StreamingResource` in memory. Thread-safe; nothing here waits.

    Args:
        shown: What people call it.
        keeper: Whoever keeps it, and says whether more memory may be taken.
    """

    def __init__(self, shown: str, length: int | None = None, *, keeper: Keeper | None = None) -> None:
        super().__init__(length)
        self._keeper = keeper or Keeper()
        self.validators: Validators = Validators()
        self.resumed = False
        self.on_disk: bool = True
        self.shown: str = shown
        self.label: str = shown

    def __repr__(self) -> str:
        return f"<MemoryStreamingResource {self.shown} {self.status} {self.total} of {self.length} bytes>"

    def describe(self, validators: Validators) -> None:
        """As `StreamingResource.describe`."""
        if validators.total is not None and self.length is None:
            self.set_length(validators.total)
        elif validators.total not in (None, self.length):
            raise ValueError(f"the length is {self.length}, not {validators.total}")
        self.validators = validators

    def write_at(self, offset: int, data: Any) -> int:
        """As `Resource.write_at`.

        Raises:
            NoSpace: The store's limit is reached, and nothing more can be evicted.
        """
        size = memoryview(data).nbytes
        if self.on_disk and not self._keeper.allow(size):
            raise NoSpace(
                f"{self.shown}: the limit of the memory store is reached", range=(offset, offset + size),
                operation="writing",
            )  # fmt: skip
        new = super().write_at(offset, data)
        if new:
            self._keeper.saved(self)
        return new

    def commit(self, length: int | None = None) -> None:
        """As `Resource.commit`."""
        super().commit(length)
        self._keeper.saved(self)

    def fail(self, error: BaseException) -> None:
        """As `Resource.fail`."""
        super().fail(error)
        if self.status != "committed":  # the first end stays
            self._keeper.ended(self)

    def cancel(self) -> None:
        """As `Resource.cancel`."""
        super().cancel()
        if self.status != "committed":
            self._keeper.ended(self)

    def close(self) -> None:
        """Give the handle up, and its bytes with the last reference."""
        if not self.closed:
            super().close()
            self._keeper.ended(self)

    def discard(self) -> None:
        """Be forgotten; open readers keep what they have."""
        if self.on_disk:
            self.on_disk = False
            self._keeper.ended(self)

    supersede = discard

    def follow(self, wanted: Sequence[Demand] | None = None) -> bool:
        """True: no other process writes it."""
        return True

    def asked(self) -> list[Demand]:
        """Nothing: no other process sees it."""
        return []

    @property
    def is_writer(self) -> bool:
        """True: no other process sees it."""
        return True

    def try_become_writer(self) -> bool:
        """True: no other process sees it."""
        return True

    @property
    def dirty(self) -> int:
        """0: there is nothing to save."""
        return 0

    @property
    def due(self) -> bool:
        """False: there is nothing to save."""
        return False

    def checkpoint(self, *, durable: bool = False) -> bool:
        """False: there is nothing to save."""
        return False

    def park(self) -> None:
        """Nothing: there is nothing to save."""


AnyStreaming = StreamingResource | MemoryStreamingResource
