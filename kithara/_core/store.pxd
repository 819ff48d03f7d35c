from libc.stdint cimport int64_t

from .demand cimport Demand, Waiter
from .outcome cimport Outcome


cdef enum Status:
    ACTIVE = 0
    COMMITTED = 1
    FAILED_FOR_GOOD = 2
    CANCELLED_FOR_GOOD = 3


cdef struct Level:
    # Ends waits: all when `closed`; those of another epoch than `epoch` (a seek came), or below `floor`. All atomic.
    int64_t epoch
    int64_t floor
    int64_t closed
    int64_t *shut  # a flag of somebody else that ends the waits too, or NULL


cdef class Store(Demand):
    cdef int64_t here  # atomic; [0, here) is here for good. A kind of store that cannot promise that leaves 0
    cdef int64_t state  # atomic; Status
    cdef bint forward_only
    cdef bint cold  # pages may not be in memory: what is not `near` is copied without the GIL
    cdef object error
    cdef list watches

    # To be given by a kind of store. `look` is called with the monitor held: the outcome for all of [start, stop), and
    # in `until` the first byte from start on that is not here. `glance` is the same with the monitor not held. `copy`
    # takes bytes that a look said are here; the monitor is not held.
    cdef Outcome look(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil
    cdef Outcome glance(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil
    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil

    # What a kind may do otherwise: have [offset, offset + size) at hand, which will probably be read next
    cdef void expect(self, int64_t offset, int64_t size) noexcept nogil

    # What a kind may do otherwise, where it is cold: whether copying [offset, offset + size) meets no disk
    cdef bint near(self, int64_t offset, int64_t size) noexcept nogil

    # What a kind may do otherwise: the length as known now, and why [start, stop) FAILED.
    cdef int64_t length_now(self) noexcept nogil
    cdef object reason(self, int64_t start, int64_t stop)

    cdef Outcome wait(
        self,
        int64_t start,
        int64_t stop,
        int64_t want_start,
        int64_t want_stop,
        int64_t deadline,
        Level *level,
        int64_t epoch,
        int64_t *until,
    ) noexcept nogil  # READY: what is here goes to `until` at least, unless that is left at start
    cdef int changed(self) except -1
    cdef bint drop(self, Watch watch) except -1
    cdef bint settle(self, Status state, object error) except -1


cdef class Watch:
    cdef Waiter waiter
    cdef int64_t stop
    cdef bint entered  # under the monitor; whoever ends it runs the callback
    cdef object callback


cdef int call(object callback) except -1
cdef void unraisable(object error) noexcept
cdef object wait_outcome(Store store, Outcome outcome, int64_t start, int64_t stop)
cdef int raise_outcome(Store store, Outcome outcome, int64_t start, int64_t stop) except -1
