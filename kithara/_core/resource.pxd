from libc.stdint cimport int64_t

from .ranges cimport RangeSet
from .store cimport Store


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
