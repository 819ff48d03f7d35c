"""A resource in a file: written by pwrite, read through a guarded read-only mapping, looked at now and then.

The file may be cut, replaced or written over by others at any time. What that costs is an error where it is read.
"""

import os

from libc.errno cimport EINTR, errno as c_errno
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport free

from .guard cimport Mapping, guard_map, guard_unmap, guarded_copy
from .outcome cimport BACKWARD, CORRUPT, ENDED, LATE, READY, Outcome
from .resident cimport kt_resident_has, kt_resident_init
from .resource cimport Resource
from .store cimport COMMITTED
from .sync cimport kt_fetch_ahead, kt_load, kt_lock, kt_now_coarse, kt_store, kt_tally, kt_unlock

from .. import errors

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

# A cached file is looked at (0.3 us) at the latest after this many bytes or this long, and before an end is answered.
cdef int64_t CHECK_BYTES = 256 << 10
cdef int64_t CHECK_AFTER = 50_000_000


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
