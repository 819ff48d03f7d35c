from libc.stdint cimport int64_t

from .guard cimport Mapping
from .ranges cimport RangeSet
from .resident cimport kt_resident
from .store cimport Outcome, Store


cdef class Resource(Store):
    cdef RangeSet present  # published: readable, never to change
    cdef RangeSet claimed  # published, or being written right now; a superset of `present`
    # A resource that keeps only its last bytes is a ring of them: byte i lies at i % capacity. `present` goes on saying
    # what has come; what lies below `passed` has gone again. `passed` moves before the bytes are written over, and a
    # copy looks at it once more when it has its bytes.
    cdef int64_t capacity  # atomic; 0: everything is kept
    cdef int64_t passed  # atomic
    cdef bint prompt  # a write never waits for a disk

    cdef int publish(self, int64_t start, int64_t stop) noexcept nogil
    cdef int place(self, int64_t offset, const char *data, int64_t size) noexcept nogil  # 0, or an errno
    cdef int _write(self, int64_t offset, const char *data, int64_t size, int64_t *written) noexcept nogil
    cdef int _refuse(self, int failed, int64_t offset, int64_t stop) except -1
    cdef int64_t lowest(self) noexcept nogil


cdef class FileResource(Resource):
    cdef readonly int fd
    cdef int64_t mapping  # atomic; a Mapping*, 0 while there is none
    cdef bint unmappable
    cdef bint tells  # whose pages are in memory is told to us
    cdef kt_resident resident  # before `mapping`: whoever sees that finds it
    cdef int64_t unchecked  # atomic; bytes copied since the file was last looked at
    cdef int64_t checked_at  # atomic; coarse monotonic ns
    cdef int64_t written_end  # atomic; the file is at least this long
    cdef int64_t frozen_size  # atomic; of a committed file, else -1
    cdef int64_t frozen_mtime
    cdef int64_t frozen_ino

    cdef Mapping *map(self) noexcept nogil
    cdef bint intact(self) noexcept nogil


cdef class MemoryResource(Resource):
    cdef int64_t chunks  # atomic; char **, the table of blocks now in use
    cdef int64_t chunk_count
    cdef readonly int64_t limit  # bytes of blocks, -1: none
    cdef readonly int64_t held  # bytes of blocks there are

    cdef bint grow(self, int64_t count) noexcept nogil
