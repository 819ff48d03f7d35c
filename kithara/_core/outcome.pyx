"""What can come of a look, a wait or a copy, and the exception that says so to a caller."""

from libc.stdint cimport INT64_MAX, int64_t

from .sync cimport KT_MAX_OFFSET, kt_now

from .. import errors

cdef extern from "Python.h":
    int PyErr_CheckSignals()

_ERRORS = {
    CORRUPT: (
        errors.CacheCorrupt,
        "the cached file was truncated or changed by somebody else; open it again to fetch it anew",
    ),
    CLOSED: (errors.Closed, "I/O operation on a closed file"),
    CANCELLED: (errors.Cancelled, "the transfer was cancelled"),
    TIMED_OUT: (errors.WaitTimeout, "the bytes did not come in the time given"),
    FORKED: (errors.ForkedHandle, "this handle was opened before fork(); open the resource anew in the child"),
    DEADLOCK: (errors.WouldDeadlock, "waiting here would block the very thread that brings the bytes"),
    EXITING: (errors.WriterGone, "the interpreter is shutting down"),
    BACKWARD: (errors.SeekNotSupported, "the source can only be read forwards, and these bytes have passed"),
    INTERRUPTED: (errors.Interrupted, "a seek or interrupt() made this wait stale"),
}


cdef object outcome_error(Outcome outcome, object url, int64_t start, int64_t stop):
    """The exception for an *outcome* of reading [start, stop) of *url* that has a reason of its own."""
    kind, message = _ERRORS[outcome]
    return kind(message, url=url, range=(start, stop), operation="reading")


cdef Outcome signalled() noexcept nogil:
    """Run the Python signal handlers that are due. SIGNALLED when one raised; the exception is set then."""
    with gil:
        return SIGNALLED if PyErr_CheckSignals() else READY


cdef int64_t deadline_after(object timeout) except -1:
    """The monotonic time in ns at which *timeout* seconds from now are over."""
    if timeout is None:
        return INT64_MAX
    cdef double seconds = timeout
    if seconds != seconds:
        raise ValueError("timeout is not a number")
    if seconds > 1e9:
        return INT64_MAX
    return kt_now() + <int64_t>(max(0.0, seconds) * 1e9)


cdef int check_range(int64_t start, int64_t stop) except -1:
    """Raise ValueError unless [start, stop) is a range of bytes."""
    if not 0 <= start <= min(stop, KT_MAX_OFFSET):
        raise ValueError(f"not a range: [{start}, {stop})")
    return 0
