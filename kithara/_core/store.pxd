from libc.stdint cimport int64_t

from .sync cimport kt_monitor


cdef enum Outcome:
    # How a look, a wait or a copy ended. Everything above READY, negated, is what the nogil reads of a reader answer.
    SIGNED = -1  # no outcome: makes the type signed, so that -outcome is negative
    READY = 0
    ENDED = 1  # start is at or past a known end
    MISSING = 2  # not here yet
    INTERRUPTED = 3  # a seek or interrupt() made this wait stale
    TIMED_OUT = 4
    CLOSED = 5
    CANCELLED = 6
    FAILED = 7  # the store's error tells why
    CORRUPT = 8  # the bytes were here once, and are not what was written any more
    FORKED = 9
    DEADLOCK = 10
    SIGNALLED = 11  # a Python exception is set (KeyboardInterrupt)
    EXITING = 12  # the interpreter shuts down
    BACKWARD = 13  # behind what a forward-only store still has
    LATE = 14  # a copy met an epoch that has ended; look again


cdef enum Status:
    ACTIVE = 0
    COMMITTED = 1
    FAILED_FOR_GOOD = 2
    CANCELLED_FOR_GOOD = 3


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


cdef struct Level:
    # Ends waits: all when `closed`; those of another epoch than `epoch` (a seek came), or below `floor`. All atomic.
    int64_t epoch
    int64_t floor
    int64_t closed
    int64_t *shut  # a flag of somebody else that ends the waits too, or NULL


cdef class Store:
    cdef kt_monitor monitor
    cdef bint monitor_ready
    cdef int64_t *forks  # counts forks of this process
    cdef int64_t forks_at_birth
    cdef int64_t known_length  # atomic; -1 while unknown
    cdef int64_t here  # atomic; [0, here) is here for good. A kind of store that cannot promise that leaves 0
    cdef int64_t state  # atomic; Status
    cdef int64_t shut  # atomic; the handle is closed
    cdef int64_t signalled  # under the monitor: the producer was told and has not looked yet
    cdef int64_t told_at  # under the monitor: when
    cdef int64_t producer_thread  # under the monitor; 0: none
    cdef int64_t demanded  # atomic: there is a producer to tell
    cdef bint forward_only
    cdef bint single  # follows one reader; takes no second
    cdef bint cold  # pages may not be in memory: what is not `near` is copied without the GIL
    cdef int64_t look_ahead
    cdef Transfer transfers[2]
    cdef Waiter *first_waiter
    cdef Waiter *last_waiter
    cdef Cursor *first_cursor
    cdef object error
    cdef object demand
    cdef list watches
    cdef public object label  # a path or URL for messages
    cdef object __weakref__

    # To be given by a kind of store. `look` is called with the monitor held: the outcome for all of [start, stop), and
    # in `until` the first byte from start on that is not here. `glance` is the same with the monitor not held. `copy`
    # takes bytes that a look said are here; the monitor is not held. `hole` (monitor held) finds the first bytes of
    # [start, stop) that are not here.
    cdef Outcome look(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil
    cdef Outcome glance(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil
    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil
    cdef bint hole(self, int64_t start, int64_t stop, int64_t *hole_start, int64_t *hole_stop) noexcept nogil

    # What a kind may do otherwise: have [offset, offset + size) at hand, which will probably be read next
    cdef void expect(self, int64_t offset, int64_t size) noexcept nogil

    # What a kind may do otherwise, where it is cold: whether copying [offset, offset + size) meets no disk
    cdef bint near(self, int64_t offset, int64_t size) noexcept nogil

    # What a kind may do otherwise: the length as known now, and why [start, stop) FAILED.
    cdef int64_t length_now(self) noexcept nogil
    cdef bint has_producer(self) noexcept nogil
    cdef object reason(self, int64_t start, int64_t stop)

    cdef Outcome check(self) noexcept nogil
    cdef bint must_tell(self, int64_t missing) noexcept nogil
    cdef void nudge(self, int64_t missing) noexcept nogil  # never waits: it may be called with the GIL in hand
    cdef void wake(self) noexcept nogil
    cdef void tell(self) noexcept nogil
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
    cdef void enter(self, Waiter *waiter) noexcept nogil
    cdef void leave(self, Waiter *waiter) noexcept nogil
    cdef bint attach(self, Cursor *cursor) noexcept nogil  # False: a single store has its reader
    cdef void detach(self, Cursor *cursor) noexcept nogil
    cdef int64_t clipped(self, int64_t stop) noexcept nogil
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
cdef Outcome signalled() noexcept nogil
cdef int64_t deadline_after(object timeout) except -1
cdef int check_range(int64_t start, int64_t stop) except -1
cdef int raise_outcome(Store store, Outcome outcome, int64_t start, int64_t stop) except -1
cdef int64_t rounded(int64_t start, int64_t stop) noexcept nogil
cdef int64_t ramp(Cursor *cursor, int64_t look_ahead) noexcept nogil
