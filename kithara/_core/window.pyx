"""A ring of memory that follows one reader through a source: what it read lately and what comes next.

The producer puts bytes at the head and never waits; the reader's demand moves the tail along, and a demand elsewhere
opens a new epoch there. What happens to a source (its end, its error) belongs to the epoch in which it happened.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from .outcome cimport BACKWARD, CANCELLED, ENDED, FAILED, LATE, MISSING, READY, Outcome
from .store cimport ACTIVE, CANCELLED_FOR_GOOD, COMMITTED, FAILED_FOR_GOOD, Store
from .sync cimport kt_broadcast, kt_load, kt_lock, kt_store, kt_unlock

from .. import errors

cdef enum:
    RELEASE_FROM = 1 << 16


cdef class Window(Store):
    """The bytes ``[tail, head)`` around one reader, in a ring of *capacity* bytes.

    Args:
        capacity: Bytes of memory, never more.
        length: Bytes in all, where the source knows.
        forward_only: The source cannot go back: a seek behind the window raises `SeekNotSupported`, one beyond it
            reads through. Otherwise a demand outside the window opens a new epoch there.

    A quarter of the ring keeps what was read last; waits for more than the rest are clipped to it. The producer names
    itself by `produce` and then asks `claim` where to go on, whenever it is told and as long as there is room.
    """

    def __cinit__(self, *args, **kwargs):
        self.told_length = -1
        self.single = True

    def __init__(self, int64_t capacity, *, length=None, bint forward_only=False):
        if self.ring != NULL:
            raise ValueError("already made")
        if capacity < 1:
            raise ValueError(f"capacity={capacity}: expected at least 1")
        self.ring = <char *>malloc(capacity)
        if self.ring == NULL:
            raise MemoryError
        self.capacity = capacity
        self.behind = capacity // 4
        self.forward_only = forward_only
        if length is not None:
            if length < 0:
                raise ValueError(f"negative length {length}")
            self.told_length = length
            kt_store(&self.known_length, self.told_length)

    def __dealloc__(self):
        free(self.ring)

    def __repr__(self) -> str:
        return f"<Window [{self.tail}, {self.head}) epoch {self.turns} {self.status}>"

    @property
    def status(self) -> str:
        """Of this epoch: ``"active"``, ``"committed"`` (the end was met), ``"failed"``; or ``"cancelled"`` for good."""
        cdef int64_t state = kt_load(&self.state)
        if state == ACTIVE:
            state = kt_load(&self.ended)
        return ("active", "committed", "failed", "cancelled")[state]

    @property
    def epoch(self) -> int:
        """How often a demand elsewhere has opened the window anew."""
        kt_lock(&self.monitor)
        cdef int64_t turns = self.turns
        kt_unlock(&self.monitor)
        return turns

    def available_ranges(self) -> list:
        """What is here now: ``[(tail, head)]``, or nothing."""
        self._use()
        kt_lock(&self.monitor)
        cdef int64_t tail = self.tail, head = self.head
        kt_unlock(&self.monitor)
        return [(tail, head)] if tail < head else []

    # The producer's side.

    def set_length(self, int64_t length) -> None:
        """Say how long the source is, as soon as it knows.

        Raises:
            ValueError: the length is negative, or not the one that is known.
        """
        cdef int64_t known
        if length < 0:
            raise ValueError(f"negative length {length}")
        self._use()
        kt_lock(&self.monitor)
        known = self.told_length
        if known < 0:
            self.told_length = length
            kt_store(&self.known_length, length)
            kt_broadcast(&self.monitor)
        kt_unlock(&self.monitor)
        if known >= 0 and known != length:
            raise ValueError(f"the length is {known}, not {length}")
        self.changed()

    def claim(self, int64_t least=1) -> tuple:
        """Where to go on: ``(epoch, offset, room)``. No room: wait until told; the demand comes when there is some.

        Looking counts as having been told, as in `wanted`. Bytes for *offset* are to be `put` with *epoch*.

        Args:
            least: Less room than this is none, unless somebody waits.
        """
        cdef int64_t epoch, offset, room
        self._use()
        kt_lock(&self.monitor)
        self.signalled = 0
        epoch, offset, room = self.turns, self.head, self.room()
        if room < least and self.first_waiter == NULL:
            room = 0
        kt_unlock(&self.monitor)
        return epoch, offset, room

    def put(self, int64_t epoch, int64_t offset, data) -> int:
        """Put the first bytes of *data* in at *offset*, as many as there is room for. Never waits.

        Returns:
            How many were taken: 0 when *epoch* is over, *offset* is not the head, or there is no room.
        """
        cdef Py_buffer view
        cdef int64_t size, at, part
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self._use()
            kt_lock(&self.monitor)
            size = 0
            if epoch == self.turns and offset == self.head and not self.putting:
                size = min(view.len, self.room())
            if size > 0:
                self.putting = True
                self.tail = max(self.tail, offset + size - self.capacity)
            kt_unlock(&self.monitor)
            if size == 0:
                return 0
            at = offset % self.capacity
            part = min(size, self.capacity - at)
            if size < RELEASE_FROM:
                memcpy(self.ring + at, view.buf, part)
                memcpy(self.ring, <char *>view.buf + part, size - part)
            else:
                with nogil:
                    memcpy(self.ring + at, view.buf, part)
                    memcpy(self.ring, <char *>view.buf + part, size - part)
            kt_lock(&self.monitor)
            self.putting = False
            if epoch == self.turns:
                self.head = offset + size
            else:
                size = 0
            kt_broadcast(&self.monitor)
            kt_unlock(&self.monitor)
        finally:
            PyBuffer_Release(&view)
        self.changed()
        return size

    def finish(self, int64_t epoch) -> bool:
        """Say that the source ends at the head, which is an error short of a known length.

        Returns:
            False, and nothing done, when *epoch* is over.
        """
        cdef int64_t head, length
        self._use()
        kt_lock(&self.monitor)
        head, length = self.head, self.told_length
        kt_unlock(&self.monitor)
        if length < 0 or head >= length:
            return self._end(epoch, COMMITTED, None)
        short = errors.StreamError(f"the source ended at {head}, short of its length {length}", operation="reading")
        return self._end(epoch, FAILED_FOR_GOOD, short)

    def fail(self, error, epoch=None) -> bool:
        """Say that the source failed at the head with *error*; the reader gets it when it arrives there.

        Args:
            epoch: The epoch concerned, or None: every one, for good.

        Returns:
            False, and nothing done, when *epoch* is over.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"fail() takes an exception, not {type(error).__name__}")
        self._use()
        if epoch is None:
            return self.settle(FAILED_FOR_GOOD, error)
        return self._end(epoch, FAILED_FOR_GOOD, error)

    def cancel(self) -> None:
        """End the window for good: whoever waits gets `Cancelled`. Ignored after another end for good."""
        self._use()
        self.settle(CANCELLED_FOR_GOOD, None)

    cdef bint _end(self, int64_t epoch, int64_t ended, object mishap) except -1:
        cdef bint now
        self._use()
        kt_lock(&self.monitor)
        now = epoch == self.turns and self.ended == ACTIVE
        if now:
            if mishap is not None:
                self.mishap, mishap = mishap, self.mishap  # swapped: the old one must not die with the monitor held
            kt_store(&self.ended, ended)
            if ended == COMMITTED and self.told_length < 0:
                kt_store(&self.known_length, self.head)
            kt_broadcast(&self.monitor)
        kt_unlock(&self.monitor)
        if now:
            self.changed()
        return now

    # What a store gives.

    cdef object reason(self, int64_t start, int64_t stop):
        return self.error if kt_load(&self.state) == FAILED_FOR_GOOD else self.mishap

    cdef Outcome look(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil:
        cdef int64_t length = self.known_length
        cdef int64_t state = kt_load(&self.state)
        until[0] = start
        if start >= stop:
            return READY
        if length >= 0:
            if start >= length:
                return ENDED
            stop = min(stop, length)
        if self.tail <= start < self.head:
            until[0] = self.head
            if self.head >= min(stop, start + self.capacity - self.behind):
                return READY
        if state != ACTIVE:
            return CANCELLED if state == CANCELLED_FOR_GOOD else FAILED
        if self.forward_only or (self.tail <= start <= self.head):
            if start < self.tail:
                return BACKWARD
            if self.ended != ACTIVE:
                return FAILED if self.ended == FAILED_FOR_GOOD else ENDED
        return MISSING

    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        cdef Pin pin
        cdef int64_t at = offset % self.capacity, part = min(size, self.capacity - at)
        cdef bint told = False
        kt_lock(&self.monitor)
        if offset < self.tail or offset + size > self.head:
            kt_unlock(&self.monitor)
            return LATE
        pin.offset = offset
        pin.previous = NULL
        pin.next = self.pins
        if self.pins != NULL:
            self.pins.previous = &pin
        self.pins = &pin
        kt_unlock(&self.monitor)
        memcpy(into, self.ring + at, part)
        memcpy(into + part, self.ring, size - part)
        kt_lock(&self.monitor)
        if pin.previous == NULL:
            self.pins = pin.next
        else:
            pin.previous.next = pin.next
        if pin.next != NULL:
            pin.next.previous = pin.previous
        if self.pins == NULL:
            self.pins_stale = False
            told = self.pinched and Store.must_tell(self, self.head)
            self.pinched = False
        kt_unlock(&self.monitor)
        if told:
            self.tell()
        return READY

    cdef bint hole(self, int64_t start, int64_t stop, int64_t *hole_start, int64_t *hole_stop) noexcept nogil:
        hole_start[0] = self.head if self.tail <= start < self.head else start
        hole_stop[0] = self.tail if start < self.tail < stop and self.tail < self.head else stop
        return hole_start[0] < hole_stop[0]

    cdef bint must_tell(self, int64_t missing) noexcept nogil:
        if missing >= 0 and not self.forward_only and not self.tail <= missing <= self.head:
            if kt_load(&self.state) != ACTIVE or not kt_load(&self.demanded):
                return False
            self.turn(missing)
            self.signalled = 0
        return Store.must_tell(self, missing)

    cdef void turn(self, int64_t offset) noexcept nogil:
        """Open a new epoch at *offset*. Monitor held."""
        self.turns += 1
        self.tail = self.head = offset
        self.pins_stale = self.pins != NULL
        kt_store(&self.ended, ACTIVE)
        kt_store(&self.known_length, self.told_length)

    cdef int64_t needed(self) noexcept nogil:
        """The lowest offset that a demand still needs: a waiter's, for it waits, else a reader's. Monitor held."""
        cdef int64_t lowest = self.lowest_wait(self.tail)
        if lowest < 0:
            lowest = self.lowest_cursor(self.tail)
        return self.tail if lowest < 0 else min(lowest, self.head)

    cdef int64_t room(self) noexcept nogil:
        """How many bytes may be put in now. Monitor held."""
        cdef int64_t keep
        cdef Pin *pin = self.pins
        if self.putting or self.ended != ACTIVE or kt_load(&self.state) != ACTIVE:
            return 0
        if self.pins_stale:
            self.pinched = True
            return 0
        keep = max(self.tail, self.needed() - self.behind)
        while pin != NULL:
            if pin.offset < keep:
                self.pinched = True
                keep = pin.offset
            pin = pin.next
        return self.capacity - (self.head - keep)
