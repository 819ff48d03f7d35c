"""Bytes at absolute offsets that arrive over time: the consumer's side of every store.

A reader knows nothing else: it looks whether a range is here, copies what is, and waits for what is not. What a
producer hears of that is in `demand`.
"""

from libc.stdint cimport int64_t

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from .demand cimport Demand, Waiter, exiting, rounded
from .outcome cimport (
    CANCELLED,
    CLOSED,
    CORRUPT,
    DEADLOCK,
    ENDED,
    EXITING,
    FAILED,
    INTERRUPTED,
    LATE,
    MISSING,
    READY,
    SIGNALLED,
    TIMED_OUT,
    Outcome,
    check_range,
    deadline_after,
    outcome_error,
    signalled,
)
from .sync cimport (
    KT_MAX_OFFSET,
    kt_broadcast,
    kt_load,
    kt_lock,
    kt_now,
    kt_on_main_thread,
    kt_store,
    kt_thread,
    kt_unlock,
    kt_wait_until,
)

from .. import errors
from ..source import WaitOutcome

# The main thread looks for signals this often. Others need no look, but a producer that was told so long ago and never
# looked is told again: when its loop is closed, that is how the wait learns of it.
cdef int64_t MAIN_SLICE = 50_000_000
cdef int64_t OTHER_SLICE = 900_000_000

_STATUS_NAMES = ("active", "committed", "failed", "cancelled")


cdef class Store(Demand):
    """The consumer's side of bytes that arrive over time.

    Attributes:
        length: Bytes in all, or None while unknown.
        status: ``"active"``, ``"committed"``, ``"failed"`` or ``"cancelled"``.
        label: A path or URL for messages.

    Thread-safe. After ``fork`` every use in the child raises `kithara.errors.ForkedHandle`.
    """

    def __cinit__(self, *args, **kwargs):
        self.watches = []

    @property
    def length(self):
        cdef int64_t length = self.length_now()
        return None if length < 0 else length

    @property
    def status(self) -> str:
        return _STATUS_NAMES[kt_load(&self.state)]

    @property
    def closed(self) -> bool:
        return kt_load(&self.shut) != 0

    @property
    def seekable(self) -> bool:
        """Whether bytes behind a reader can be had again."""
        return not self.forward_only

    def wait_range(self, int64_t start, int64_t stop, timeout=None):
        """Wait until ``[start, stop)`` is here or cannot come.

        Args:
            timeout: Seconds, or None to wait as long as it takes.

        Returns:
            `WaitOutcome`: READY (also for an empty range), or EOF when start is at or past the known length. A stop
            past the known length is clipped to it.

        Raises:
            ValueError: start is negative or past stop.
            WaitTimeout: the time was over first.
            KitharaError: the store failed, was cancelled or closed; a foreign source's own exception as it is.
        """
        check_range(start, stop)
        cdef int64_t deadline = deadline_after(timeout)
        cdef Outcome outcome
        cdef int64_t until = 0
        outcome = self.glance(start, stop, &until)
        if outcome == MISSING:
            with nogil:
                outcome = self.wait(start, stop, start, rounded(start, stop), deadline, NULL, 0, &until)
        return wait_outcome(self, outcome, start, stop)

    def read_at(self, int64_t offset, buffer) -> int:
        """Copy bytes that are here from *offset* on into *buffer*; never waits.

        Returns:
            How many bytes were copied: 0 when none is here.

        Raises:
            CacheCorrupt: the bytes were here once and are lost.
        """
        cdef Py_buffer view
        cdef int64_t size = 0, until = 0
        cdef Outcome outcome = LATE
        if not 0 <= offset <= KT_MAX_OFFSET:
            raise ValueError(f"not an offset: {offset}")
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            with nogil:
                while outcome == LATE:
                    size = view.len
                    outcome = self.glance(offset, offset + size, &until)
                    if until > offset:
                        size = min(size, until - offset)
                        outcome = self.copy(offset, <char *>view.buf, size)
                    elif outcome == MISSING or outcome == ENDED or outcome == FAILED or outcome == CANCELLED:
                        outcome = READY
                        size = 0
        finally:
            PyBuffer_Release(&view)
        if outcome != READY:
            raise_outcome(self, outcome, offset, offset + size)
        return size

    def is_near(self, int64_t start, int64_t stop) -> bool:
        """Whether to copy ``[start, stop)``, if that is here, meets no disk: a small read of it keeps the GIL."""
        check_range(start, stop)
        self._use()
        return self.near(start, stop - start)

    def contains_range(self, int64_t start, int64_t stop) -> bool:
        """Whether all of ``[start, stop)`` is here now."""
        check_range(start, stop)
        cdef int64_t hole_start = 0, hole_stop = 0
        cdef bint found
        self._use()
        kt_lock(&self.monitor)
        found = self.hole(start, stop, &hole_start, &hole_stop)
        kt_unlock(&self.monitor)
        return not found

    def next_gap(self, int64_t start, int64_t stop):
        """The first maximal part of ``[start, stop)`` that is not here, as ``(start, stop)``, or None."""
        check_range(start, stop)
        cdef int64_t hole_start = 0, hole_stop = 0
        cdef bint found
        self._use()
        kt_lock(&self.monitor)
        found = self.hole(start, self.clipped(stop), &hole_start, &hole_stop)
        kt_unlock(&self.monitor)
        return (hole_start, hole_stop) if found else None

    def covered_until(self, int64_t offset) -> int:
        """The first position from *offset* on whose byte is not here."""
        cdef int64_t until = offset
        check_range(offset, offset)
        self._use()
        kt_lock(&self.monitor)
        while True:  # a look may end where a part does
            self.look(offset, offset + 1, &until)
            if until <= offset:
                break
            offset = until
        kt_unlock(&self.monitor)
        return offset

    def close(self) -> None:
        """Give the handle up: every wait and later use raises `Closed`. Files and memory go with the last reference."""
        kt_store(&self.shut, 1)
        if not self.is_forked():
            self.wake()
            self.changed()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    # Async consumers.

    def when(self, int64_t start, int64_t stop, callback):
        """Call *callback* once, in whatever thread settles it, when ``[start, stop)`` is here or cannot come.

        The range is wanted meanwhile. Called at once when that is so already. Returns what `forget` takes.
        """
        check_range(start, stop)
        cdef Watch watch = Watch.__new__(Watch)
        cdef int64_t until = 0
        cdef bint told
        watch.callback = callback
        watch.stop = stop
        watch.waiter.start = start
        watch.waiter.stop = rounded(start, stop)
        self._use()
        kt_lock(&self.monitor)
        self.enter(&watch.waiter)
        watch.entered = True
        told = self.look(start, stop, &until) == MISSING and self.must_tell(until)
        kt_unlock(&self.monitor)
        self.watches.append(watch)
        if told:
            self.tell()
        self.changed()
        return watch

    def forget(self, Watch watch) -> None:
        """Take back a `when`; nothing happens when it was called already."""
        self.drop(watch)

    def _lost(self) -> None:
        """The bytes of this store were found to be gone or changed. For a store that can drop its entry."""

    # What kinds of stores give.

    cdef Outcome look(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil:
        until[0] = start
        return MISSING

    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        return CORRUPT

    cdef int64_t length_now(self) noexcept nogil:
        return kt_load(&self.known_length)

    cdef object reason(self, int64_t start, int64_t stop):
        return self.error

    cdef void expect(self, int64_t offset, int64_t size) noexcept nogil:
        pass

    cdef bint near(self, int64_t offset, int64_t size) noexcept nogil:
        return not self.cold

    # What every store has.

    cdef Outcome glance(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil:
        cdef Outcome outcome = self.check()
        until[0] = start
        if outcome != READY:
            return outcome
        kt_lock(&self.monitor)
        outcome = self.look(start, stop, until)
        kt_unlock(&self.monitor)
        return outcome

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
    ) noexcept nogil:
        """Wait until [start, stop) is here or cannot come; [want_start, want_stop) is what is asked of the producer."""
        cdef Waiter waiter
        cdef Outcome outcome = self.check()
        cdef int64_t now, pause, missing = 0, missing_stop = 0
        cdef bint main_thread, told = False
        until[0] = start
        if outcome != READY:
            return outcome
        if start >= stop:
            return READY
        kt_lock(&self.monitor)
        outcome = self.look(start, stop, until)
        if outcome == MISSING and self.producer_thread == kt_thread():
            outcome = DEADLOCK if deadline > kt_now() else TIMED_OUT  # to look is allowed
        if outcome != MISSING:
            kt_unlock(&self.monitor)
            return outcome
        main_thread = kt_on_main_thread()
        pause = MAIN_SLICE if main_thread else OTHER_SLICE
        waiter.start = want_start
        waiter.stop = max(stop, want_stop)
        self.enter(&waiter)
        while outcome == MISSING:
            if level != NULL and (kt_load(&level.closed) or (level.shut != NULL and kt_load(level.shut))):
                outcome = CLOSED
                break
            if level != NULL and (epoch != kt_load(&level.epoch) or epoch < kt_load(&level.floor)):
                outcome = INTERRUPTED
                break
            if kt_load(&self.shut):
                outcome = CLOSED
                break
            if kt_load(&exiting):
                outcome = EXITING
                break
            if self.signalled and kt_now() - self.told_at >= OTHER_SLICE:
                self.signalled = 0
            missing = until[0]
            if want_start < start:
                self.hole(want_start, waiter.stop, &missing, &missing_stop)
            if not told and self.must_tell(missing):
                kt_unlock(&self.monitor)
                self.tell()
                kt_lock(&self.monitor)
                told = True  # once a round, and look at everything again: it may have come while nothing was held
                outcome = self.look(start, stop, until)
                continue
            told = False
            now = kt_now()
            if now >= deadline:
                outcome = TIMED_OUT
                break
            kt_wait_until(&self.monitor, min(deadline, now + pause))
            outcome = self.look(start, stop, until)
            if outcome == MISSING and main_thread:
                kt_unlock(&self.monitor)
                outcome = signalled()
                kt_lock(&self.monitor)
                if outcome == READY:
                    outcome = self.look(start, stop, until)
        self.leave(&waiter)
        kt_unlock(&self.monitor)
        return outcome

    cdef int changed(self) except -1:
        """Run the callbacks of those `when`s that are settled. Called with no lock held, after any change."""
        cdef Watch watch
        cdef int64_t until = 0
        cdef Outcome outcome
        if not self.watches:
            return 0
        for watch in list(self.watches):
            kt_lock(&self.monitor)
            outcome = self.look(watch.waiter.start, watch.stop, &until)
            kt_unlock(&self.monitor)
            if (outcome != MISSING or kt_load(&self.shut)) and self.drop(watch):
                call(watch.callback)
        return 0

    cdef bint drop(self, Watch watch) except -1:
        """Take *watch* out; False when somebody did already."""
        cdef bint entered
        kt_lock(&self.monitor)
        entered = watch.entered
        watch.entered = False
        if entered:
            self.leave(&watch.waiter)
        kt_unlock(&self.monitor)
        if entered and watch in self.watches:
            self.watches.remove(watch)
        return entered

    cdef void abandon(self, object error) noexcept:
        gone = errors.WriterGone("the producer's event loop is closed", url=self.label)
        gone.__cause__ = error
        self.settle(FAILED_FOR_GOOD, gone)

    cdef bint settle(self, Status state, object error) except -1:
        """Enter a terminal state, unless there is one already; then nothing happens and False comes back."""
        cdef bint first
        kt_lock(&self.monitor)
        first = kt_load(&self.state) == ACTIVE
        if first:
            self.error = error  # before the state: whoever sees FAILED finds it
            kt_store(&self.state, state)
            kt_broadcast(&self.monitor)
        kt_unlock(&self.monitor)
        if first:
            self.changed()
        return first


cdef class Watch:
    """What `Store.when` gave."""


cdef int call(object callback) except -1:
    """Call somebody's *callback*. An error of it goes to `sys.unraisablehook`, not to whoever happens to be here."""
    try:
        callback()
    except Exception as error:
        unraisable(error)
    return 0


cdef void unraisable(object error) noexcept:
    """Give *error* to `sys.unraisablehook`."""
    raise error


cdef object wait_outcome(Store store, Outcome outcome, int64_t start, int64_t stop):
    """The `WaitOutcome` of a wait for [start, stop) of *store*; raises where there is none."""
    if outcome == READY:
        return WaitOutcome.READY
    if outcome == ENDED:
        return WaitOutcome.EOF
    if outcome == INTERRUPTED:
        return WaitOutcome.INTERRUPTED
    raise_outcome(store, outcome, start, stop)


cdef int raise_outcome(Store store, Outcome outcome, int64_t start, int64_t stop) except -1:
    """Raise what *outcome* means for [start, stop) of *store*."""
    if outcome == SIGNALLED:
        return -1  # the exception is set
    if outcome == FAILED:
        error = store.reason(start, stop)
        if isinstance(error, errors.KitharaError) and not store.single:
            raise error.renewed() from error
        raise error
    if outcome == CORRUPT:
        store._lost()
    raise outcome_error(outcome, store.label, start, stop)
