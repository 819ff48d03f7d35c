"""A range that is asked for at once, and taken at once: of whom nobody waits for, no task is made.

Who jumps about in a file asks for hundreds of small ranges, and all that is learned from the head of each answer is
that it is like the one before. So that is all that is looked at: an answer whose head differs from one that was
accepted in nothing but the date and the numbers of the range, which are those asked for, and whose whole body came
with it, needs no second look. Every other goes the long way, as if it had been asked for there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, Self

from .headers import Representation
from .slots import Slot

if TYPE_CHECKING:
    from aiohttp.connector import Connection

    from .exchange import Request
    from .pool import Pool
    from .wire import Wire

_VARIES = re.compile(
    rb"\r\n(?:Date: [^\r\n\0]*|Content-Length: (\d{1,18})|"
    rb"Content-Range: bytes (\d{1,18})-(\d{1,18})/(\d{1,18}))(?=\r\n)",
    re.IGNORECASE,
)
_GROUPS = 4
_CLOSES = re.compile(rb"\r\nConnection:(?! *keep-alive\r\n)", re.IGNORECASE)
_BEGINNING = b"HTTP/1.1 206 "


class Likeness:
    """What the heads of parts of one representation have in common.

    Attributes:
        known: The representation that the accepted one was a part of.
    """

    __slots__ = ("_length_at", "_part_at", "_pieces", "known")

    def __init__(self, pieces: list[bytes | None], length_at: int, part_at: int, known: Representation) -> None:
        self._pieces = pieces
        self._length_at = length_at
        self._part_at = part_at
        self.known = known

    @classmethod
    def of(cls, head: bytes, known: Representation) -> Self | None:
        """Of a *head* that was accepted for a part of *known*; None where one says too little, or ends a connection."""
        pieces: list[bytes | None] = list(_VARIES.split(head))
        lengths = [at for at in range(1, len(pieces), 1 + _GROUPS) if pieces[at] is not None]
        parts = [at for at in range(2, len(pieces), 1 + _GROUPS) if pieces[at] is not None]
        if len(lengths) != 1 or len(parts) != 1 or not head.startswith(_BEGINNING) or _CLOSES.search(head):
            return None
        return cls(pieces, lengths[0], parts[0], known)

    def has(self, head: bytes, start: int, stop: int) -> bool:
        """Whether *head* is such a one, of the part [start, stop) and no other."""
        like = self._pieces.copy()
        like[self._length_at] = b"%d" % (stop - start)
        like[self._part_at] = b"%d" % start
        like[self._part_at + 1] = b"%d" % (stop - 1)
        return _VARIES.split(head) == like


class Listener(Protocol):
    """Who asked for a range, and is told what became of it: `whole` or `other`, or nothing once it was dropped."""

    @property
    def is_ready(self) -> bool:
        """Whether a whole body can be taken now."""

    def whole(self, body: memoryview) -> None:
        """The body, good until the call returns. Must not raise."""

    def other(self) -> None:
        """Something else has come, or nothing in time: `kithara.net.HttpClient.stream` tells what."""


class Prompt:
    """A request for [start, stop) that is on its way on a connection that was there, with nobody waiting yet.

    Attributes:
        until: When the head of its answer must be here, in the loop's time.
    """

    __slots__ = (
        "_likeness", "_listener", "_open", "connection", "pool", "request", "slot", "start", "stop", "until", "wire",
    )  # fmt: skip

    def __init__(
        self,
        pool: Pool,
        request: Request,
        likeness: Likeness,
        connection: Connection,
        wire: Wire,
        slot: Slot,
        start: int,
        stop: int,
        until: float,
    ) -> None:
        self.pool = pool
        self.request = request
        self.connection = connection
        self.wire = wire
        self.slot = slot
        self.start = start
        self.stop = stop
        self.until = until
        self._likeness = likeness
        self._listener: Listener | None = None
        self._open = True

    def listen(self, listener: Listener) -> None:
        """Name who is told. To be called at once."""
        self._listener = listener

    def fits(self, head: bytes, size: int) -> bool:
        """Whether *head* and the *size* bytes behind it are the answer, whole and as expected."""
        listener = self._listener
        if listener is None or size != self.stop - self.start or not listener.is_ready:
            return False
        return self._likeness.has(head, self.start, self.stop)

    def take(self, body: memoryview) -> None:
        """Hand on the whole *body*. The connection and the place are another's from now on."""
        listener, self._listener = self._listener, None
        self._open = False
        self.connection.release()
        self.slot.release()
        if listener is not None:
            listener.whole(body)

    def turn_down(self) -> None:
        """Send whoever listens the long way."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.other()

    def adopt(self) -> Slot:
        """Go on with it: the connection is the caller's from now on, and so is the place, which this gives."""
        self._open = False
        return self.slot

    def drop(self) -> None:
        """Want no answer any more. Does nothing once it came, or somebody goes on with it."""
        if self._open:
            self._open = False
            self._listener = None
            self.wire.forget(self)
            self.connection.close()
            self.slot.release_soon()
