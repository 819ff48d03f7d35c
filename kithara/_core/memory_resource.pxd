from libc.stdint cimport int64_t

from .resource cimport Resource


cdef class MemoryResource(Resource):
    cdef int64_t chunks  # atomic; char **, the table of blocks now in use
    cdef int64_t chunk_count
    cdef readonly int64_t limit  # bytes of blocks, -1: none
    cdef readonly int64_t held  # bytes of blocks there are

    cdef bint grow(self, int64_t count) noexcept nogil
