from libc.stdint cimport int64_t

from .store cimport Store


cdef struct Pin:
    # A copy out of the ring under way. Lives on the copying thread's stack.
    int64_t offset
    Pin *next
    Pin *previous


cdef class Window(Store):
    # [tail, head) are here; byte i lies at ring[i % capacity]. All under the monitor but the bytes themselves: `head`
    # moves after its bytes are in, and a byte is overwritten only when no pin of any epoch and no demand needs it.
    cdef readonly int64_t capacity
    cdef readonly int64_t behind  # what is kept behind the reader, for small steps back
    cdef char *ring
    cdef int64_t tail
    cdef int64_t head
    cdef int64_t turns  # the epoch: how often a seek opened the window elsewhere
    cdef int64_t told_length  # -1: the source does not know
    cdef int64_t ended  # of this epoch: ACTIVE, COMMITTED (the end was met) or FAILED_FOR_GOOD
    cdef object mishap  # why this epoch, or the last one that did, failed
    cdef Pin *pins
    cdef bint pins_stale  # some pin is of an older epoch: nothing may be put in
    cdef bint putting
    cdef bint pinched  # the producer was told that there is less room than there would be without pins

    cdef int64_t needed(self) noexcept nogil
    cdef int64_t room(self) noexcept nogil
    cdef void turn(self, int64_t offset) noexcept nogil
    cdef bint _end(self, int64_t epoch, int64_t ended, object mishap) except -1
