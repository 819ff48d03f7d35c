cimport cython
from libc.stdint cimport int64_t

from .outcome cimport Outcome
from .sync cimport kt_load, kt_monitor


cdef struct Waiter:
    # Somebody waits for [start, stop). Lives on the waiting thread's stack, or in a Watch.
    int64_t start
    int64_t stop
    Waiter *next
    Waiter *previous


cdef struct Cursor:
    # Where a reader stands. `position` is atomic; the rest is under the store's monitor.
    int64_t position
    int64_t run_start  # atomic: where the reading in one go began, for the read-ahead ramp
    int64_t hint_stop  # atomic: a planner's word that no more than this will be read; 0: none
    Cursor *next
    Cursor *previous


cdef struct Transfer:
    # What a producer is bringing: bytes from `at` on, up to `stop`. 0, 0 when idle.
    int64_t at
    int64_t stop


cdef class Demand:
    cdef kt_monitor monitor
    cdef bint monitor_ready
    cdef int64_t *forks  # counts forks of this process
    cdef int64_t forks_at_birth
    cdef int64_t shut  # atomic; the handle is closed
    cdef int64_t known_length  # atomic; -1 while unknown
    cdef public object label  # a path or URL for messages
    cdef object __weakref__

    # Who brings. All under the monitor, but what is said to be atomic.
    cdef object demand
    cdef int64_t demanded  # atomic: there is a producer to tell
    cdef int64_t producer_thread  # 0: none
    cdef int64_t look_ahead
    cdef int64_t signalled  # the producer was told and has not looked yet
    cdef int64_t told_at  # when
    cdef Transfer transfers[2]

    # Who wants. Under the monitor.
    cdef Waiter *first_waiter
    cdef Waiter *last_waiter
    cdef Cursor *first_cursor
    cdef bint single  # follows one reader; takes no second

    # To be given by a kind of store: finds the first bytes of [start, stop) that are not here. Monitor held.
    cdef bint hole(self, int64_t start, int64_t stop, int64_t *hole_start, int64_t *hole_stop) noexcept nogil

    # What a kind may do otherwise.
    cdef bint has_producer(self) noexcept nogil
    cdef bint must_tell(self, int64_t missing) noexcept nogil
    cdef void nudge(self, int64_t missing) noexcept nogil  # never waits: it may be called with the GIL in hand
    cdef void wake(self) noexcept nogil
    cdef void abandon(self, object error) noexcept  # the producer cannot be told any more: *error* came of trying

    cdef Outcome check(self) noexcept nogil
    cdef int64_t clipped(self, int64_t stop) noexcept nogil
    cdef void tell(self) noexcept nogil
    cdef void enter(self, Waiter *waiter) noexcept nogil
    cdef void leave(self, Waiter *waiter) noexcept nogil
    cdef bint attach(self, Cursor *cursor) noexcept nogil  # False: a single store has its reader
    cdef void detach(self, Cursor *cursor) noexcept nogil
    # Where the wait, or the reader, is that has the furthest to go, of those that are not below *floor*; -1: none is.
    # Monitor held.
    cdef int64_t lowest_wait(self, int64_t floor) noexcept nogil
    cdef int64_t lowest_cursor(self, int64_t floor) noexcept nogil

    @cython.final
    cdef inline bint is_forked(self) noexcept nogil:
        """Whether the process has forked since this was made: then it may be asked for nothing else."""
        return kt_load(self.forks) != self.forks_at_birth


cdef int64_t exiting  # atomic: the interpreter shuts down
cdef int64_t rounded(int64_t start, int64_t stop) noexcept nogil
cdef int64_t ramp(Cursor *cursor, int64_t look_ahead) noexcept nogil
