from libc.stdint cimport int64_t

from .parts cimport Parts
from .store cimport Level, Watch


cdef class Chain(Parts):
    cdef Level life  # ends waits that come without a reader's level
    cdef list pending
    cdef int64_t corrupt  # atomic; the part that lost bytes last


cdef class ChainWatch(Watch):
    cdef int64_t start
    cdef int64_t stop
    cdef int64_t index  # the part that is watched, or -1
    cdef int64_t round  # counts the parts watched so far
    cdef Watch inner
    cdef bint over
