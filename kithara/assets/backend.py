"""What a place for assets can do: the seam between the rules of a store and where its bytes are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ..storage.keeper import Keeper
from ..storage.memory import AnyStreaming
from .index import Index
from .keys import ResourceKey
from .lease import LockTable


class Atomic(Protocol):
    """A small object that is read and written as a whole."""

    def read(self) -> bytes | None: ...
    def write(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Something that verification found torn and took away."""

    path: str
    """Below the root."""
    reason: str


class Backend(Protocol):
    """Where assets are: on a disk, or in memory.

    Attributes:
        index: The hints about what is there.
        locks: Who holds what.
        shown: The place, for people.
        leases: Whether a resource leases its asset as long as anybody refers to it.
    """

    index: Index
    locks: LockTable
    shown: str
    leases: bool

    def open_streaming(self, key: ResourceKey, keeper: Keeper, *, fresh: bool) -> AnyStreaming:
        """The resource of *key*: whole, resumed or new; with *fresh* a new generation of it."""
        ...

    def holds(self, key: ResourceKey) -> bool:
        """Whether the resource of *key* is here as a whole, as far as its name tells."""
        ...

    def open_atomic(self, key: ResourceKey) -> Atomic:
        """The small object of *key*."""
        ...

    def measure(self, resource: AnyStreaming) -> tuple[int, list[int] | None]:
        """The bytes that *resource* takes, and what would show that a committed one was changed."""
        ...

    def in_use(self, name: str) -> bool:
        """Whether an asset is in use by somebody who holds no lease of it."""
        ...

    def remove_asset(self, name: str) -> None:
        """Remove all of an asset. Open readers keep their bytes."""
        ...

    def remove_resource(self, key: ResourceKey) -> bool:
        """Remove one resource; whether nothing is left of its asset, which is gone with it."""
        ...

    def keep(self, name: str, kept: bool) -> None:
        """Mark the asset as pinned, for ever or until told otherwise."""
        ...

    def assets(self) -> Iterator[tuple[str, bool, list[tuple[str, int, bool]]]]:
        """What is really there: ``(name, pinned, [(path, size, complete), ...])``."""
        ...

    def verify(self) -> Iterator[Removed]:
        """Remove what is torn, and say what it was."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...
