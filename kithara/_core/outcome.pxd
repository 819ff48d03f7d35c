from libc.stdint cimport int64_t


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


cdef object outcome_error(Outcome outcome, object url, int64_t start, int64_t stop)
cdef Outcome signalled() noexcept nogil
cdef int64_t deadline_after(object timeout) except -1
cdef int check_range(int64_t start, int64_t stop) except -1
