"""Bytes that one producer writes in any order and many readers read: in a file, or in memory.

The laws of permanence: published bytes never change, overlaps are trimmed before copying, a commit over a hole is
refused, the first terminal state stays, and what is here stays readable after fail and cancel.
"""

import errno
import os

cimport cython
from libc.errno cimport EINTR, ENOMEM, errno as c_errno
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from .guard cimport Mapping, guard_map, guard_unmap, guarded_copy
from .ranges cimport RangeSet, Run, pairs_of
from .resident cimport kt_resident_has, kt_resident_init
from .store cimport (
    ACTIVE,
    BACKWARD,
    CANCELLED,
    CANCELLED_FOR_GOOD,
    CLOSED,
    COMMITTED,
    CORRUPT,
    ENDED,
    FAILED,
    FAILED_FOR_GOOD,
    LATE,
    MISSING,
    READY,
    Cursor,
    Outcome,
    Store,
    Waiter,
    check_range,
    raise_outcome,
)
from .sync cimport (
    KT_MAX_OFFSET,
    kt_acquire_fence,
    kt_broadcast,
    kt_fetch_ahead,
    kt_load,
    kt_lock,
    kt_now_coarse,
    kt_store,
    kt_tally,
    kt_unlock,
)

from .. import errors

cdef extern from *:
    """
    #include <string.h>

    /* memcpy over what others may be copying, in a ring: they find behind their copy that those bytes have passed, and
       drop them. It has a name of its own so that a race detector can be told of it (tests/tsan.supp). */
    static __attribute__((noinline)) void kt_overwrite(char *into, const char *from, size_t size) {
        memcpy(into, from, size);
        __asm__ volatile("" ::: "memory"); /* no tail call: the name stays on the stack */
    }
    """
    void kt_overwrite(char *into, const char *data, size_t size) noexcept nogil

cdef extern from "<sys/stat.h>" nogil:
    """
    #include <sys/stat.h>
    #ifdef __APPLE__
    #define kt_mtime(s) ((int64_t)(s)->st_mtimespec.tv_sec * 1000000000 + (s)->st_mtimespec.tv_nsec)
    #else
    #define kt_mtime(s) ((int64_t)(s)->st_mtim.tv_sec * 1000000000 + (s)->st_mtim.tv_nsec)
    #endif
    """
    ctypedef struct stat_t "struct stat":
        int64_t st_size
        unsigned long st_ino
        unsigned int st_uid
    int c_fstat "fstat"(int fd, stat_t *out)
    int64_t kt_mtime(stat_t *of)

cdef extern from "<unistd.h>" nogil:
    ssize_t c_pread "pread"(int fd, void *into, size_t size, int64_t offset)
    ssize_t c_pwrite "pwrite"(int fd, const void *data, size_t size, int64_t offset)
    int c_close "close"(int fd)
    unsigned int c_geteuid "geteuid"()

cdef enum:
    TOO_MANY_RUNS = -1000
    OUT_OF_ORDER = -1001
    MAX_RUNS = 16384
    BLOCK = 1 << 16  # of a MemoryResource
    KEEP_BELOW = 1 << 14  # a write of so little that meets no disk keeps the GIL, as a small read does

# A cached file is looked at (0.3 us) at the latest after this many bytes or this long, and before an end is answered.
cdef int64_t CHECK_BYTES = 256 << 10
cdef int64_t CHECK_AFTER = 50_000_000


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

    def close(self) -> None:
        """Give the handle up: every wait and later use raises `Closed`. Files and memory go with the last reference."""
        kt_store(&self.shut, 1)
        if kt_load(self.forks) == self.forks_at_birth:
            self.wake()
            self.changed()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

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
        cdef int64_t lowest = -1, position
        cdef Waiter *waiter = self.first_waiter
        cdef Cursor *cursor = self.first_cursor
        while waiter != NULL:
            if waiter.start >= self.passed and (lowest < 0 or waiter.start < lowest):
                lowest = waiter.start
            waiter = waiter.next
        while cursor != NULL:
            position = kt_load(&cursor.position)
            if position >= self.passed and (lowest < 0 or position < lowest):
                lowest = position
            cursor = cursor.next
        return lowest

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


cdef class FileResource(Resource):
    """A `Resource` in a file: written by pwrite, read through a guarded read-only mapping.

    Args:
        fd: An open regular file, readable, and writable unless *committed*. Owned: closed with the last reference.
        length: Bytes in all, where known.
        ranges: What the file already holds and can be trusted, as ``(start, stop)``.
        cold: The bytes were not written by this process, so reading may fault pages in from disk: a read gives the GIL up
            unless its pages were seen in memory within the last second.
        committed: The file is whole; *length* defaults to its size.
        io: ``"auto"`` maps where that is possible; ``"pread"`` never maps.

    Writing never goes through the mapping (a full disk would kill the process), and the file is never truncated.
    """

    def __cinit__(self, *args, **kwargs):
        self.fd = -1
        self.frozen_size = -1

    def __init__(self, int fd, *, length=None, ranges=(), bint cold=False, bint committed=False, str io="auto"):
        cdef stat_t now
        if io not in ("auto", "pread"):
            raise ValueError(f"io={io!r}: expected 'auto' or 'pread'")
        if self.fd >= 0:
            raise ValueError("already open")
        if c_fstat(fd, &now):
            raise errors.StoreIo(f"not an open file: {os.strerror(c_errno)}", errno=c_errno, operation="opening")
        self.fd = fd
        self.unmappable = io == "pread"
        self.cold = cold or committed
        self.tells = now.st_uid == c_geteuid()  # of a file of somebody else Linux says that all of it is in memory
        if committed:
            length = now.st_size if length is None else length
            if length != now.st_size:
                raise errors.CacheCorrupt(f"the file has {now.st_size} bytes instead of {length}", operation="opening")
            ranges = [(0, length)]
        self.restore(ranges)
        self.written_end = max([stop for _, stop in ranges], default=0)
        if now.st_size < self.written_end:
            raise errors.CacheCorrupt(
                f"the file has {now.st_size} bytes, fewer than the {self.written_end} it should", operation="opening"
            )
        if length is not None:
            self.set_length(length)
        if committed:
            self._freeze()
            kt_store(&self.state, COMMITTED)

    def __dealloc__(self):
        if self.mapping:
            guard_unmap(<Mapping *><uintptr_t>self.mapping)
        free(self.resident.seen)
        if self.fd >= 0:
            c_close(self.fd)  # not os.close: at interpreter exit there may be no os any more

    def commit(self, length=None) -> None:
        Resource.commit(self, length)
        self._freeze()

    def _freeze(self):
        cdef stat_t now
        if c_fstat(self.fd, &now) == 0:
            self.frozen_mtime = kt_mtime(&now)
            self.frozen_ino = <int64_t>now.st_ino
            kt_store(&self.frozen_size, now.st_size)

    cdef Outcome glance(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil:
        cdef Outcome outcome = self.check()
        cdef int64_t length
        until[0] = start
        if outcome != READY:
            return outcome
        if kt_load(&self.state) == COMMITTED:  # nothing changes any more: no lock
            length = kt_load(&self.known_length)
            if start < kt_load(&self.passed) and start < stop:
                return BACKWARD
            if start < length:
                until[0] = length
                return READY
            if start >= stop:
                return READY
            outcome = ENDED
        else:
            kt_lock(&self.monitor)
            outcome = self.look(start, stop, until)
            kt_unlock(&self.monitor)
        if outcome == ENDED and not self.intact():
            return CORRUPT
        return outcome

    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        cdef Mapping *mapping = <Mapping *><uintptr_t>kt_load(&self.mapping)
        cdef int64_t now, capacity = kt_load(&self.capacity), at, part, first = offset
        cdef ssize_t got
        if mapping == NULL and not self.unmappable:
            mapping = self.map()
        if mapping != NULL and offset + size <= mapping.length:
            if not guarded_copy(mapping, into, offset, size):
                return CORRUPT
            now = kt_now_coarse()
            if kt_tally(&self.unchecked, size) >= CHECK_BYTES or now - kt_load(&self.checked_at) >= CHECK_AFTER:
                return READY if self.intact() else CORRUPT
            return READY
        while size > 0:
            at = offset % capacity if capacity else offset
            part = min(size, capacity - at) if capacity else size
            got = c_pread(self.fd, into, part, at)
            if got < 0 and c_errno == EINTR:
                continue
            if got <= 0:
                return CORRUPT
            offset += got
            into += got
            size -= got
        return LATE if first < kt_load(&self.passed) else READY

    cdef void expect(self, int64_t offset, int64_t size) noexcept nogil:
        cdef Mapping *mapping = <Mapping *><uintptr_t>kt_load(&self.mapping)
        if mapping != NULL and offset + size <= mapping.length:
            kt_fetch_ahead(<char *><uintptr_t>mapping.base + offset, size)

    cdef bint near(self, int64_t offset, int64_t size) noexcept nogil:
        cdef Mapping *mapping = <Mapping *><uintptr_t>kt_load(&self.mapping)
        if not self.cold:
            return True
        if mapping == NULL:
            return False
        size = min(size, mapping.length - offset)
        return kt_resident_has(
            &self.resident, <char *><uintptr_t>mapping.base, mapping.length, offset, size, kt_now_coarse()
        )

    cdef Mapping *map(self) noexcept nogil:
        cdef int64_t length = kt_load(&self.known_length)
        cdef Mapping *mapping
        if length < 0 or kt_load(&self.capacity):  # a ring has no place for every byte
            return NULL
        kt_lock(&self.monitor)
        if not self.mapping and not self.unmappable:
            if self.cold and self.tells:
                kt_resident_init(&self.resident, length)
            kt_store(&self.mapping, <int64_t><uintptr_t>guard_map(self.fd, length))
            self.unmappable = self.mapping == 0
        mapping = <Mapping *><uintptr_t>self.mapping
        kt_unlock(&self.monitor)
        return mapping

    cdef bint intact(self) noexcept nogil:
        """Whether the file is still what was written, as far as its size, inode and time of change tell."""
        cdef stat_t now
        cdef int64_t frozen = kt_load(&self.frozen_size), least = kt_load(&self.written_end)  # before looking
        kt_store(&self.unchecked, 0)
        kt_store(&self.checked_at, kt_now_coarse())
        if c_fstat(self.fd, &now):
            return False
        if frozen >= 0:
            return now.st_size == frozen and kt_mtime(&now) == self.frozen_mtime and <int64_t>now.st_ino == self.frozen_ino
        return now.st_size >= least

    cdef int place(self, int64_t offset, const char *data, int64_t size) noexcept nogil:
        cdef ssize_t done
        cdef int64_t at, part, end = 0, capacity = kt_load(&self.capacity)
        cdef int64_t least = kt_load(&self.written_end)  # before looking
        cdef stat_t now
        # A file that somebody has cut would grow back to its size here, with zeros for what was cut off.
        if c_fstat(self.fd, &now) == 0 and now.st_size < least:
            return -CORRUPT
        while size > 0:
            at = offset % capacity if capacity else offset
            part = min(size, capacity - at) if capacity else size
            done = c_pwrite(self.fd, data, part, at)
            if done < 0:
                if c_errno == EINTR:
                    continue
                return c_errno
            end = max(end, at + done)
            offset += done
            data += done
            size -= done
        kt_lock(&self.monitor)
        if end > self.written_end:
            kt_store(&self.written_end, end)
        kt_unlock(&self.monitor)
        return 0


cdef class MemoryResource(Resource):
    """A `Resource` in memory, in blocks of 64 KiB that come as they are written.

    Args:
        length: Bytes in all, where known.
        limit: The most bytes of blocks; a write that needs more raises `NoSpace`. None: no limit.
    """

    def __init__(self, length=None, *, limit=None):
        self.limit = -1 if limit is None else limit
        self.prompt = True
        if length is not None:
            self.set_length(length)

    def __dealloc__(self):
        cdef char **table = <char **><uintptr_t>self.chunks
        cdef int64_t index
        if table != NULL:
            for index in range(self.chunk_count):
                free(table[index])
            _free_tables(table)

    cdef bint grow(self, int64_t count) noexcept nogil:
        """Make room for *count* blocks. Readers may be in the old table, so it is kept until the end."""
        cdef char **old = <char **><uintptr_t>self.chunks
        cdef int64_t larger = max(<int64_t>64, max(count, 2 * self.chunk_count))
        cdef char **table = <char **>calloc(larger + 1, sizeof(char *))
        if table == NULL:
            return False
        table += 1  # the word before a table leads to the one it replaced
        (table - 1)[0] = <char *>old
        if old != NULL:
            memcpy(table, old, self.chunk_count * sizeof(char *))
        self.chunk_count = larger
        kt_store(&self.chunks, <int64_t><uintptr_t>table)
        return True

    cdef int place(self, int64_t offset, const char *data, int64_t size) noexcept nogil:
        cdef int64_t capacity = kt_load(&self.capacity), at, part, index, first, last
        cdef char **table
        cdef bint enough = True
        if capacity and offset % capacity + size > capacity:  # over the end of the ring: in two
            part = capacity - offset % capacity
            index = self.place(offset, data, part)
            return index if index else self.place(offset + part, data + part, size - part)
        at = offset % capacity if capacity else offset
        first, last = at // BLOCK, (at + size - 1) // BLOCK
        kt_lock(&self.monitor)
        if last >= self.chunk_count:
            enough = self.grow(last + 1)
        table = <char **><uintptr_t>self.chunks
        if enough:
            for index in range(first, last + 1):
                if table[index] == NULL:
                    if self.limit >= 0 and self.held + BLOCK > self.limit:
                        enough = False
                        break
                    table[index] = <char *>malloc(BLOCK)
                    if table[index] == NULL:
                        enough = False
                        break
                    self.held += BLOCK
        kt_unlock(&self.monitor)
        if not enough:
            return ENOMEM
        while size > 0:
            part = min(size, BLOCK - at % BLOCK)
            if capacity:
                kt_overwrite(table[at // BLOCK] + at % BLOCK, data, part)
            else:
                memcpy(table[at // BLOCK] + at % BLOCK, data, part)
            at += part
            data += part
            size -= part
        return 0

    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        cdef char **table = <char **><uintptr_t>kt_load(&self.chunks)
        cdef int64_t part, capacity = kt_load(&self.capacity), at, first = offset
        while size > 0:
            at = offset % capacity if capacity else offset
            part = min(size, BLOCK - at % BLOCK)
            if capacity:
                part = min(part, capacity - at)
            memcpy(into, table[at // BLOCK] + at % BLOCK, part)
            offset += part
            into += part
            size -= part
        kt_acquire_fence()
        return LATE if first < kt_load(&self.passed) else READY


cdef void _free_tables(char **table) noexcept nogil:
    cdef char **older
    while table != NULL:
        older = <char **>(table - 1)[0]
        free(table - 1)
        table = older
