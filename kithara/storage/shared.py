"""One writer, many followers: what the processes that have the same file open tell one another of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from .._core.file_resource import FileResource
from ..errors import WriterGone
from .following import Following
from .keeper import Held, Keeper
from .live import Demand, State
from .partfile import PartFile
from .sidecar import Validators
from .unsaved import Unsaved

TELL_EVERY = 0.01
MANY = 1 << 10
"""Seconds between two copies for other processes of what is here, once one takes more than so many bytes."""

_AMPLE = 2  # the need, of `Store.wanted`, of one that has enough for now


class SharedResource(FileResource):
    """The side of a `kithara.storage.StreamingResource` that other processes see. Not made by itself."""

    validators: Validators
    tell_every: float
    _files: PartFile
    _keeper: Keeper
    _following: Following
    _writing: threading.RLock
    _writer: Held | None
    _named: bool
    _inode: int
    _generation: int
    _unsaved: Unsaved
    _published: tuple[float, int]
    _untold: bool

    def _settled(self) -> None:
        """Nothing more will be written here for now."""
        raise NotImplementedError

    def _ended(self) -> None:
        raise NotImplementedError

    @property
    def is_writer(self) -> bool:
        """Whether this process may write it."""
        return self._writer is not None

    def try_become_writer(self) -> bool:
        """Take the right to write if nobody has it, and up what others have done; whether this process has it now."""
        with self._writing:
            if self._writer is None and self._named and self.status == "active" and not self.closed:
                writer = self._keeper.writer()
                if writer is not None and not self._take_up():
                    writer.release()
                    writer = None
                self._writer = writer
                if writer is not None:
                    self._following.lead()
                    self._publish()
            return self._writer is not None

    def follow(self, wanted: Sequence[Demand] | None = None) -> bool:
        """While another process writes: publish here what it has brought, and tell it what is missed here.

        Call it every 10 ms or so while something is missing. Learns the length, and the end, as well.

        Args:
            wanted: What is missed; by default what `wanted` says.

        Returns:
            Whether this process is the writer now. It becomes that as soon as the other one parks or dies.
        """
        with self._writing:
            if self._writer is None and self._named and self.status == "active" and not self.closed:
                self._learn()
                if not self.try_become_writer() and self.status == "active":
                    demands = self.wanted() if wanted is None else wanted
                    self._following.ask([demand for demand in demands if demand[2] < _AMPLE])
            return self._writer is not None

    def asked(self) -> list[Demand]:
        """What other processes miss of what is missing here, in the form of `wanted`."""
        if self._writer is None or self.status != "active":
            return []
        if self._untold:
            with self._writing:
                self._publish()
        gaps = ((self.next_gap(start, stop), need) for start, stop, need in self._following.asked())
        return [(*gap, need) for gap, need in gaps if gap is not None]

    def _learn(self) -> None:
        """Take over what the page says. The other process wrote the bytes before it said so."""
        record = self._following.look()
        if record is None:
            return
        if (record.generation, record.inode) != (self._generation, self._inode) or record.state is State.GONE:
            self._replaced()
            return
        self.validators = record.validators
        if record.length is not None and self.length is None:
            super().set_length(record.length)
        if record.state is State.COMMITTED and record.length is not None:
            self._whole(record.length)
        else:
            self.restore(record.ranges)

    def _take_up(self) -> bool:
        """With the right to write just taken: whether there is something to go on with."""
        if self._files.inode_of(self._files.part) == self._inode:
            self._learn()
            sidecar = self._files.sidecar()
            if sidecar is not None and sidecar.vouches_for(self._files.identity, os.fstat(self.fd)):
                self.restore(sidecar.ranges)
            self._unsaved.inherit(self.total)
        elif self._files.inode_of(self._files.name) == self._inode:
            self._whole(os.fstat(self.fd).st_size)
        else:
            self._replaced()
        return self.status == "active"

    def _whole(self, length: int) -> None:
        """Another process has committed the file that is open here."""
        if self.length is None:
            super().set_length(length)
        self.restore([(0, length)])
        super().commit()
        self._settled()

    def _replaced(self) -> None:
        self._named = False
        super().fail(WriterGone("another process has replaced the cached file; open it again", url=self.label))
        self._ended()

    def tell(self) -> None:
        """Tell other processes what they do not know yet, unless that is much: then `asked` does."""
        if self._untold and self._published[1] <= MANY:
            with self._writing:
                self._publish()

    def _note(self) -> None:
        """Publish what was written, unless that was done just now or costs more than the write; then others will."""
        then, size = self._published
        if time.monotonic() - then < (TELL_EVERY if size > MANY else self.tell_every):
            self._untold = True
        else:
            self._publish()

    def _publish(self, state: State = State.ACTIVE) -> None:
        if self._writer is not None:
            runs = self.packed_ranges()
            self._published = time.monotonic(), len(runs)
            self._untold = False
            self._following.publish(self._generation, self._inode, state, self.length, self.validators, runs)
