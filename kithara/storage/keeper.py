"""Who keeps a resource: what a `StreamingResource` asks of the cache that it is part of, and tells it."""

from __future__ import annotations

import os
from typing import Protocol

from .sidecar import Validators


class Held(Protocol):
    """Something held until released."""

    def release(self) -> None: ...


class Kept(Protocol):
    """What a keeper sees of a resource."""

    validators: Validators

    @property
    def status(self) -> str: ...
    @property
    def length(self) -> int | None: ...
    @property
    def on_disk(self) -> bool:
        """Whether the names in the cache are this one's."""
        ...


class Nothing:
    """The right that everybody has."""

    def release(self) -> None:
        """Nothing was taken."""


class Keeper:
    """A keeper that keeps nothing and allows everything: of a resource that is nobody's but its opener's.

    Attributes:
        shared: Other processes may open the same resource, so they are told how far it is.
    """

    shared = False

    def recall(self, found: os.stat_result) -> Validators | None:
        """What is remembered of the committed file.

        Raises:
            CacheCorrupt: It is not the file that was committed.
        """
        return None

    def make_room(self, size: int, *, pressing: bool = False) -> bool:
        """Have *size* bytes more keep the limits; *pressing*: the disk itself is full. Whether any were freed."""
        return False

    def allow(self, size: int) -> bool:
        """Whether *size* bytes more may be taken at all, where the limit is a hard one."""
        return True

    def saved(self, resource: Kept) -> None:
        """The resource takes another amount of disk, or was committed."""

    def ended(self, resource: Kept) -> None:
        """The resource failed, was cancelled, closed, discarded or superseded: the next open is to start anew."""

    def writer(self) -> Held | None:
        """The right to write, held; None when another has it."""
        return Nothing()

    def slot(self, number: int) -> Held | None:
        """The follower's place *number* on the live page, held; None when another has it."""
        return None
