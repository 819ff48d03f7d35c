"""Bytes that one producer writes in any order and many readers read.

The laws of permanence: published bytes never change, overlaps are trimmed before copying, a commit over a hole is
refused, the first terminal state stays, and what is here stays readable after fail and cancel.
"""

import errno
import os

cimport cython
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t
from libc.stdlib cimport free

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from .outcome cimport BACKWARD, CANCELLED, ENDED, FAILED, MISSING, READY, Outcome, check_range
from .ranges cimport RangeSet, Run, pairs_of
from .store cimport ACTIVE, CANCELLED_FOR_GOOD, COMMITTED, FAILED_FOR_GOOD, Store, raise_outcome
from .sync cimport KT_MAX_OFFSET, kt_broadcast, kt_load, kt_lock, kt_store, kt_unlock

from .. import errors

cdef enum:
    TOO_MANY_RUNS = -1000
    OUT_OF_ORDER = -1001
    MAX_RUNS = 16384
    KEEP_BELOW = 1 << 14  # a write of so little that meets no disk keeps the GIL, as a small read does


cdef class Resource(Store):
    """The producer's side: `write_at`, `commit`, `fail`, `cancel`, `close`.

    Not made by itself; see `FileResource` and `MemoryResource`.
    """

    def __cinit__(self, *args, **kwargs):
        self.present = RangeSet()
        self.claimed = RangeSet(max_runs=MAX_RUNS)

    def set_length(self, int64_t length) -> None:
        """Say how many bytes there are in all, as soon as that is known. Waits for what lies beyond end.

        Raises:
            ValueError: the length is negative, differs from a known one, or bytes beyond it are here.
        """
        cdef int64_t known
        cdef bint beyond
        if length < 0:
            raise ValueError(f"negative length {length}")
        self._use()
        kt_lock(&self.monitor)
        known = self.known_length
        beyond = self.claimed.end() > length
        if known < 0 and not beyond:
            kt_store(&self.known_length, length)
            kt_broadcast(&self.monitor)
        kt_unlock(&self.monitor)
        if known >= 0 and known != length:
            raise ValueError(f"the length is {known}, not {length}")
        if beyond:
            raise ValueError(f"there are bytes beyond the length {length}")
        self.changed()

    @cython.binding(False)
    def write_at(self, int64_t offset, data) -> int:
        """Write *data* (any bytes-like) at *offset* and publish it; what is here already is left as it is.

        Returns:
            How many bytes were new.

        Raises:
            ValueError: it would reach below 0 or beyond the known length.
            NoSpace, ReadOnlyStore, StoreIo: the file could not be written; nothing new was published.
            Busy: more runs of bytes than a resource may have.
            Cancelled, Closed, or the failure's error: the resource takes no more bytes.
        """
        cdef Py_buffer view
        cdef int64_t written = 0, length, stop
        cdef int failed
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            length = kt_load(&self.known_length)
            if not 0 <= offset <= KT_MAX_OFFSET or 0 <= length < offset + view.len:
                raise ValueError(f"{view.len} bytes at {offset} are not inside a resource of length {length}")
            stop = offset + view.len
            if self.prompt and view.len < KEEP_BELOW:
                failed = self._write(offset, <const char *>view.buf, view.len, &written)
            else:
                with nogil:
                    failed = self._write(offset, <const char *>view.buf, view.len, &written)
        finally:
            PyBuffer_Release(&view)
        if failed:
            self._refuse(failed, offset, stop)
        if written:
            self.changed()
        return written

    cdef int _write(self, int64_t offset, const char *data, int64_t size, int64_t *written) noexcept nogil:
        """0, a positive errno, or a negated Outcome."""
        cdef int64_t position = offset, stop = offset + size, start = 0, end = 0
        cdef Outcome outcome = self.check()
        cdef int failed = 0, slot
        cdef bint awaited = False
        if outcome != READY:
            return -<int>outcome
        kt_lock(&self.monitor)
        while position < stop and self.claimed.gap(position, stop, &start, &end):
            if kt_load(&self.state) != ACTIVE:
                failed = -<int>CANCELLED if kt_load(&self.state) == CANCELLED_FOR_GOOD else -<int>FAILED
                break
            if self.capacity and (start != self.present.reach(0) or end - start > self.capacity):
                failed = OUT_OF_ORDER
                break
            failed = self.claimed.insert(start, end)
            if failed:
                failed = ENOMEM if failed == -1 else TOO_MANY_RUNS
                break
            if self.capacity and end - self.capacity > self.passed:
                kt_store(&self.passed, end - self.capacity)
            kt_unlock(&self.monitor)
            if awaited:
                kt_broadcast(&self.monitor)
            failed = self.place(start, data + (start - offset), end - start)
            kt_lock(&self.monitor)
            if not failed and self.publish(start, end):
                failed = ENOMEM
            if failed:
                self.claimed.remove(start, end)
                break
            written[0] += end - start
            position = end
            awaited = self.first_waiter != NULL
        for slot in range(2):
            if offset <= self.transfers[slot].at < stop and self.transfers[slot].at < self.transfers[slot].stop:
                self.transfers[slot].at = position if failed else stop
        kt_unlock(&self.monitor)
        if awaited:  # with nothing held, or whoever wakes would have to wait for that
            kt_broadcast(&self.monitor)
        return failed

    cdef int _refuse(self, int failed, int64_t offset, int64_t stop) except -1:
        where = {"url": self.label, "range": (offset, stop), "operation": "writing"}
        if failed == OUT_OF_ORDER:
            raise ValueError(f"[{offset}, {stop}) does not follow what is here, of which only the last bytes are kept")
        if failed == TOO_MANY_RUNS:
            raise errors.Busy(f"more than {MAX_RUNS} separate runs of bytes", **where)
        if failed < 0:
            raise_outcome(self, <Outcome>(-failed), offset, stop)
        if failed in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM):
            raise errors.NoSpace(f"no space for the cache: {os.strerror(failed)}", errno=failed, **where)
        if failed in (errno.EROFS, errno.EBADF):
            raise errors.ReadOnlyStore(f"the cache cannot be written: {os.strerror(failed)}", errno=failed, **where)
        raise errors.StoreIo(f"the cache cannot be written: {os.strerror(failed)}", errno=failed, **where)

    def commit(self, length=None) -> None:
        """Declare the resource whole. Does nothing when it is already.

        Args:
            length: Its length, where that was not known before.

        Raises:
            ValueError: the length is not known, or a hole is left.
            Cancelled, or the failure's error: another terminal state came first.
        """
        cdef int64_t whole, hole_start = 0, hole_stop = 0
        cdef bint holed
        if length is not None:
            self.set_length(length)
        whole = kt_load(&self.known_length)
        if whole < 0:
            raise ValueError("commit needs a length")
        kt_lock(&self.monitor)
        holed = self.present.gap(0, whole, &hole_start, &hole_stop)
        kt_unlock(&self.monitor)
        if holed:
            raise ValueError(f"commit over a hole: [{hole_start}, {hole_stop}) is missing")
        if not self.settle(COMMITTED, None) and kt_load(&self.state) != COMMITTED:
            raise_outcome(self, CANCELLED if kt_load(&self.state) == CANCELLED_FOR_GOOD else FAILED, 0, whole)

    def fail(self, error) -> None:
        """End the resource with *error*: whoever waits for a missing byte gets it. Ignored after another end."""
        if not isinstance(error, BaseException):
            raise TypeError(f"fail() takes an exception, not {type(error).__name__}")
        self._use()
        self.settle(FAILED_FOR_GOOD, error)

    def cancel(self) -> None:
        """End the resource: whoever waits for a missing byte gets `Cancelled`. Ignored after another end."""
        self._use()
        self.settle(CANCELLED_FOR_GOOD, None)

    def available_ranges(self) -> list:
        """What is here now: ``[(start, stop), ...]`` in order."""
        cdef Py_ssize_t count = 0
        cdef Run *runs
        cdef int64_t passed
        self._use()
        kt_lock(&self.monitor)  # and no object made while it is held: that may collect garbage, and run anything
        runs = self.present.snapshot(&count)
        passed = self.passed
        kt_unlock(&self.monitor)
        if runs == NULL:
            raise MemoryError
        ranges = pairs_of(runs, count)
        return ranges if not passed else [(max(passed, start), stop) for start, stop in ranges if passed < stop]

    def packed_ranges(self) -> bytes:
        """`available_ranges` as native 64-bit integers, start and stop in turn: for who copies them often."""
        cdef Py_ssize_t count = 0
        cdef Run *runs
        self._use()
        kt_lock(&self.monitor)
        runs = self.present.snapshot(&count)
        kt_unlock(&self.monitor)
        if runs == NULL:
            raise MemoryError
        try:
            return (<char *>runs)[:count * sizeof(Run)]
        finally:
            free(runs)

    @property
    def total(self) -> int:
        """How many bytes are here now; of a resource that keeps only the last ones, how many have come."""
        kt_lock(&self.monitor)
        cdef int64_t size = self.present.size()
        kt_unlock(&self.monitor)
        return size

    def contains_range(self, int64_t start, int64_t stop) -> bool:
        """Whether all of ``[start, stop)`` is here now."""
        return Store.contains_range(self, start, stop) and not (start < stop and start < kt_load(&self.passed))

    def keep_last(self, int64_t capacity) -> None:
        """From now on keep only the last *capacity* bytes: of a body that nobody knows an end of.

        What is written must follow what is here, and takes the place of the oldest. Whoever reads goes forwards only:
        below the bytes that are kept there is `SeekNotSupported`. Nothing that is here already is moved or lost.

        Raises:
            ValueError: a length is known, it is done already, or what is here is more, or does not begin at 0.
        """
        cdef int64_t head
        cdef bint fit
        self._use()
        kt_lock(&self.monitor)
        head = self.present.reach(0)
        fit = self.known_length < 0 and not self.capacity and 0 < capacity and head <= capacity
        fit = fit and self.present.size() == head and self.claimed.size() == head
        if fit:
            self.forward_only = True
            kt_store(&self.here, 0)
            kt_store(&self.capacity, capacity)
        kt_unlock(&self.monitor)
        if not fit:
            raise ValueError(f"{self!r} cannot keep only its last {capacity} bytes from now on")
        self.changed()

    @property
    def head(self) -> int:
        """The end of what has come without a gap from 0 on, be it here still or not."""
        kt_lock(&self.monitor)
        cdef int64_t head = self.present.reach(0)
        kt_unlock(&self.monitor)
        return head

    @property
    def room(self) -> int:
        """How many bytes may be written at the end without taking the place of one that somebody still wants."""
        cdef int64_t room = KT_MAX_OFFSET, head, lowest
        kt_lock(&self.monitor)
        if self.capacity:
            head = self.present.reach(0)
            lowest = self.lowest()
            room = self.capacity - (head - (self.passed if lowest < 0 else min(lowest, head)))
        kt_unlock(&self.monitor)
        return room

    @property
    def slowest(self):
        """Where the reader, or the wait, is that has the furthest to go; None without any. Those passed by don't count."""
        kt_lock(&self.monitor)
        cdef int64_t lowest = self.lowest()
        kt_unlock(&self.monitor)
        return None if lowest < 0 else lowest

    def pass_by(self, int64_t offset) -> None:
        """Let what lies below *offset* go, whoever wants it, where only the last bytes are kept anyway."""
        cdef int64_t head
        self._use()
        kt_lock(&self.monitor)
        head = self.present.reach(0)
        if self.capacity and self.passed < offset <= head:
            kt_store(&self.passed, offset)
            kt_broadcast(&self.monitor)
        kt_unlock(&self.monitor)
        self.changed()

    cdef int64_t lowest(self) noexcept nogil:
        """The lowest offset that a reader or a wait still needs, or -1. Monitor held."""
        cdef int64_t wait = self.lowest_wait(self.passed), cursor = self.lowest_cursor(self.passed)
        return max(wait, cursor) if wait < 0 or cursor < 0 else min(wait, cursor)

    def restore(self, ranges) -> None:
        """Publish *ranges* whose bytes are there already and trusted: an earlier session or another process wrote them."""
        cdef int64_t start, stop
        cdef int failed
        for start, stop in ranges:
            check_range(start, stop)
            kt_lock(&self.monitor)
            failed = self.publish(start, stop)
            if not failed:
                failed = self.claimed.insert(start, stop)
            if self.first_waiter != NULL:
                kt_broadcast(&self.monitor)
            kt_unlock(&self.monitor)
            if failed:
                raise MemoryError
        self.changed()

    cdef int publish(self, int64_t start, int64_t stop) noexcept nogil:
        """Let [start, stop) be read from now on. Monitor held."""
        cdef int failed = self.present.insert(start, stop)
        if not failed and start <= self.here < stop and not self.capacity:
            kt_store(&self.here, self.present.reach(0))
        return failed

    cdef Outcome look(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil:
        cdef int64_t length = self.known_length
        cdef int64_t state
        until[0] = start
        if length >= 0:
            if start >= length and start < stop:
                return ENDED
            stop = min(stop, length)
        if self.capacity:
            if start < self.passed and start < stop:
                return BACKWARD
            stop = min(stop, start + self.capacity // 2)  # no wait is for more than there is room for
        until[0] = self.present.reach(start)
        if until[0] >= stop:
            return READY
        state = kt_load(&self.state)
        if state == ACTIVE:
            return MISSING
        return CANCELLED if state == CANCELLED_FOR_GOOD else FAILED

    cdef bint hole(self, int64_t start, int64_t stop, int64_t *hole_start, int64_t *hole_stop) noexcept nogil:
        return self.present.gap(start, stop, hole_start, hole_stop)

    cdef int place(self, int64_t offset, const char *data, int64_t size) noexcept nogil:
        return ENOMEM
