from libc.stdint cimport int64_t

from .guard cimport Mapping
from .resident cimport kt_resident
from .resource cimport Resource


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
