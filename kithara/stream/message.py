"""What a stream opened with ``events=True`` gives: data, control messages and events in the order they happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

C = TypeVar("C")
M = TypeVar("M")
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Data(Generic[C]):
    """The next chunk of the stream."""

    data: C


@dataclass(frozen=True, slots=True)
class Control(Generic[M]):
    """Something about the stream itself that took effect here, between the data before and after it."""

    message: M


@dataclass(frozen=True, slots=True)
class Event(Generic[E]):
    """An event of the source; it says nothing about the data around it."""

    event: E


@dataclass(frozen=True, slots=True)
class SeekBytes:
    """The command, and as a control message the effect: the data that follows is from *position* on."""

    position: int


Message: TypeAlias = Data[bytes] | Control[SeekBytes]
"""Data and control multiplexed, without events."""

StreamMsg: TypeAlias = Data[bytes] | Control[SeekBytes] | Event[object]
"""All that a stream opened with ``events=True`` gives."""
