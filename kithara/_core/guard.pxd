from libc.stddef cimport size_t
from libc.stdint cimport int64_t


cdef struct Mapping:
    # One read-only mapping of a cache file that may lose its bytes under us. `base` is 0 while the slot is free.
    int64_t base
    int64_t length
    int64_t poisoned


cdef Mapping *guard_map(int fd, size_t length) noexcept nogil  # NULL: mapping is impossible here, use pread
cdef void guard_unmap(Mapping *mapping) noexcept nogil
cdef bint guarded_copy(Mapping *mapping, void *into, int64_t offset, size_t size) noexcept nogil  # False: bytes are gone
