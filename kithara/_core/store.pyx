"""Bytes at absolute offsets that arrive over time: the consumer's side of every store.

A reader knows nothing else: it looks whether a range is here, copies what is, and waits for what is not. A producer
learns from the store what somebody wants (`wanted`), and is told by one signal when something else is wanted.
"""

import threading
import weakref

from libc.stdint cimport INT64_MAX, int64_t

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from .sync cimport (
    KT_MAX_OFFSET,
    kt_broadcast,
    kt_load,
    kt_lock,
    kt_monitor_destroy,
    kt_monitor_init,
    kt_now,
    kt_on_main_thread,
    kt_store,
    kt_thread,
    kt_unlock,
    kt_wait_until,
)

from .. import errors
from ..source import WaitOutcome

cdef extern from *:
    """
    #include <pthread.h>
    #include <stdint.h>
    static int64_t kt_fork_count;
    static int64_t kt_exiting_flag;
    static void kt_count_fork(void) { __atomic_add_fetch(&kt_fork_count, 1, __ATOMIC_RELEASE); }
    static void kt_watch_forks(void) { pthread_atfork(NULL, NULL, kt_count_fork); }
    """
    int64_t kt_fork_count
    int64_t kt_exiting_flag
    void kt_watch_forks() noexcept nogil

cdef extern from "Python.h":
    int PyErr_CheckSignals()
    void PyErr_SetInterrupt()

# A transfer whose position is within this of a missing byte will bring it soon; telling the producer gains nothing.
cdef enum:
    SOON = 1 << 18
    QUANTUM = 1 << 14  # what a miss asks for is rounded up to this
    MOST_WANTED = 64

# The main thread looks for signals this often. Others need no look, but a producer that was told so long ago and never
# looked is told again: when its loop is closed, that is how the wait learns of it.
cdef int64_t MAIN_SLICE = 50_000_000
cdef int64_t OTHER_SLICE = 900_000_000

_living = weakref.WeakSet()


cdef class Store:
    """The consumer's side of bytes that arrive over time.

    Attributes:
        length: Bytes in all, or None while unknown.
        status: ``"active"``, ``"committed"``, ``"failed"`` or ``"cancelled"``.
        label: A path or URL for messages.

    Thread-safe. After ``fork`` every use in the child raises `kithara.errors.ForkedHandle`.
    """

    def __cinit__(self, *args, **kwargs):
        if kt_monitor_init(&self.monitor):
            raise MemoryError
        self.monitor_ready = True
        self.forks = &kt_fork_count
        self.forks_at_birth = kt_load(&kt_fork_count)
        self.known_length = -1
        self.watches = []
        _living.add(self)

    def __dealloc__(self):
        # A child may have inherited the monitor locked by a thread it does not have; leave it alone there.
        if self.monitor_ready and kt_load(self.forks) == self.forks_at_birth:
            kt_monitor_destroy(&self.monitor)

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
        if outcome == READY:
            return WaitOutcome.READY
        if outcome == ENDED:
            return WaitOutcome.EOF
        if outcome == INTERRUPTED:
            return WaitOutcome.INTERRUPTED
        raise_outcome(self, outcome, start, stop)

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
        if kt_load(self.forks) == self.forks_at_birth:
            self.wake()
            self.changed()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    # The producer's view of what is wanted.

    def produce(self, demand, *, int64_t look_ahead, int64_t thread=0) -> None:
        """Name the producer: *demand* is called, from any thread, when something else is wanted.

        Args:
            demand: A callable without arguments that must not wait.
            look_ahead: How many bytes beyond a cursor are wanted at most.
            thread: ``threading.get_ident()`` of the thread that must never wait for this store, or 0.
        """
        self.demand = demand
        self._use()
        kt_lock(&self.monitor)
        self.look_ahead = look_ahead
        self.producer_thread = thread
        self.signalled = 0
        kt_store(&self.demanded, 1)
        kt_unlock(&self.monitor)

    @property
    def produced(self) -> bool:
        """Whether somebody brings bytes now: between `produce` and `retire`."""
        return kt_load(&self.demanded) != 0

    def retire(self) -> None:
        """The producer is no more; nobody is told of demands from now on."""
        self._use()
        kt_lock(&self.monitor)
        kt_store(&self.demanded, 0)
        self.producer_thread = 0
        self.transfers[0].stop = self.transfers[1].stop = 0
        kt_unlock(&self.monitor)
        self.demand = None

    def transfer(self, int slot, int64_t start, int64_t stop) -> None:
        """Note that the producer is bringing ``[start, stop)`` in *slot* 0 or 1; start == stop: it is idle."""
        self._use()
        kt_lock(&self.monitor)
        self.transfers[slot & 1].at = start
        self.transfers[slot & 1].stop = stop
        kt_unlock(&self.monitor)

    def wanted(self) -> list:
        """What is missing and wanted: ``(start, stop, need)`` for each demand, in the order of urgency of its kind.

        Each is the first hole in what the demand asks for. The need is 0 for one who waits, in order of arrival, and for
        what a reader has planned to read, no more than which is fetched; 1 for what lies ahead of a cursor that has
        less than half of its look-ahead left; 2 where more is left, so that nothing new need be asked for yet. Looking
        counts as having been told: the next new demand calls the producer again.
        """
        cdef int64_t starts[MOST_WANTED]
        cdef int64_t stops[MOST_WANTED]
        cdef int needs[MOST_WANTED]
        cdef int64_t position, stop, ahead
        cdef int count = 0
        cdef bint planned
        cdef Waiter *waiter
        cdef Cursor *cursor
        self._use()
        kt_lock(&self.monitor)
        self.signalled = 0
        waiter = self.first_waiter
        while waiter != NULL and count < MOST_WANTED:
            if self.hole(waiter.start, self.clipped(waiter.stop), &starts[count], &stops[count]):
                needs[count] = 0
                count += 1
            waiter = waiter.next
        cursor = self.first_cursor
        while cursor != NULL and count < MOST_WANTED:
            position = kt_load(&cursor.position)
            stop = kt_load(&cursor.hint_stop)
            if kt_load(&cursor.position) != position:  # a seek or read moved it: the two must be of one moment
                continue
            if stop < 0:  # a seek is between its place and its plan; its read will say what is wanted
                cursor = cursor.next
                continue
            planned = 0 < stop and position <= stop  # at its end, too: whoever reads on says so by a miss
            ahead = stop - position
            if not planned:
                ahead = ramp(cursor, self.look_ahead)
                stop = position + ahead
                ahead //= 2
            if self.hole(position, self.clipped(stop), &starts[count], &stops[count]):
                needs[count] = 0 if planned else 1 if starts[count] - position < ahead else 2
                count += 1
            cursor = cursor.next
        kt_unlock(&self.monitor)
        return [(starts[index], stops[index], needs[index]) for index in range(count)]

    @property
    def cursors(self) -> list:
        """Where the attached readers stand."""
        cdef int64_t held[MOST_WANTED]
        cdef int count = 0
        cdef Cursor *cursor
        self._use()
        kt_lock(&self.monitor)
        cursor = self.first_cursor
        while cursor != NULL and count < MOST_WANTED:
            held[count] = kt_load(&cursor.position)
            count += 1
            cursor = cursor.next
        kt_unlock(&self.monitor)
        return [held[index] for index in range(count)]

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

    def _use(self) -> None:
        cdef Outcome outcome = self.check()
        if outcome == FORKED:
            raise_outcome(self, outcome, 0, 0)

    def _lost(self) -> None:
        """The bytes of this store were found to be gone or changed. For a store that can drop its entry."""

    # What kinds of stores give.

    cdef Outcome look(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil:
        until[0] = start
        return MISSING

    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        return CORRUPT

    cdef bint hole(self, int64_t start, int64_t stop, int64_t *hole_start, int64_t *hole_stop) noexcept nogil:
        hole_start[0] = start
        hole_stop[0] = stop
        return start < stop

    cdef int64_t length_now(self) noexcept nogil:
        return kt_load(&self.known_length)

    cdef bint has_producer(self) noexcept nogil:
        return kt_load(&self.demanded) != 0

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

    cdef Outcome check(self) noexcept nogil:
        if kt_load(self.forks) != self.forks_at_birth:
            return FORKED
        return CLOSED if kt_load(&self.shut) else READY

    cdef int64_t clipped(self, int64_t stop) noexcept nogil:
        cdef int64_t length = kt_load(&self.known_length)
        return length if 0 <= length < stop else stop

    cdef bint must_tell(self, int64_t missing) noexcept nogil:
        """Whether the producer must be told that *missing* is wanted; notes that it will be. Monitor held."""
        cdef int slot
        if not kt_load(&self.demanded) or self.signalled:
            return False
        for slot in range(2):
            if self.transfers[slot].at <= missing < self.transfers[slot].stop:
                if missing - self.transfers[slot].at <= SOON:
                    return False
        self.signalled = 1
        self.told_at = kt_now()
        return True

    cdef void nudge(self, int64_t missing) noexcept nogil:
        """Tell the producer, if it must be told, that *missing* will be wanted."""
        cdef bint told
        if self.check() != READY:
            return
        kt_lock(&self.monitor)
        told = self.must_tell(missing)
        kt_unlock(&self.monitor)
        if told:
            self.tell()

    cdef void tell(self) noexcept nogil:
        if kt_load(&kt_exiting_flag):
            return
        with gil:
            demand = self.demand
            interrupted = False
            while demand is not None:
                try:
                    demand()
                except KeyboardInterrupt:  # nothing here can raise it, and the producer is to be told all the same
                    interrupted = True
                    continue
                except RuntimeError as error:  # the producer's loop is closed
                    gone = errors.WriterGone("the producer's event loop is closed", url=self.label)
                    gone.__cause__ = error
                    self.settle(FAILED_FOR_GOOD, gone)
                break
            if interrupted:
                PyErr_SetInterrupt()  # comes again where it can be raised: in the wait, or behind the read

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
            if kt_load(&kt_exiting_flag):
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

    cdef void wake(self) noexcept nogil:
        """Let every wait look again. Does nothing in a forked child, where the monitor may be locked for ever."""
        if kt_load(self.forks) != self.forks_at_birth:
            return
        kt_lock(&self.monitor)
        kt_broadcast(&self.monitor)
        kt_unlock(&self.monitor)

    cdef void enter(self, Waiter *waiter) noexcept nogil:
        waiter.next = NULL
        waiter.previous = self.last_waiter
        if self.last_waiter == NULL:
            self.first_waiter = waiter
        else:
            self.last_waiter.next = waiter
        self.last_waiter = waiter

    cdef void leave(self, Waiter *waiter) noexcept nogil:
        if waiter.previous == NULL:
            self.first_waiter = waiter.next
        else:
            waiter.previous.next = waiter.next
        if waiter.next == NULL:
            self.last_waiter = waiter.previous
        else:
            waiter.next.previous = waiter.previous

    cdef bint attach(self, Cursor *cursor) noexcept nogil:
        kt_lock(&self.monitor)
        if self.single and self.first_cursor != NULL:
            kt_unlock(&self.monitor)
            return False
        cursor.previous = NULL
        cursor.next = self.first_cursor
        if self.first_cursor != NULL:
            self.first_cursor.previous = cursor
        self.first_cursor = cursor
        kt_unlock(&self.monitor)
        return True

    cdef void detach(self, Cursor *cursor) noexcept nogil:
        kt_lock(&self.monitor)
        if cursor.previous == NULL:
            self.first_cursor = cursor.next
        else:
            cursor.previous.next = cursor.next
        if cursor.next != NULL:
            cursor.next.previous = cursor.previous
        kt_unlock(&self.monitor)

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
    raise error


cdef int64_t rounded(int64_t start, int64_t stop) noexcept nogil:
    """Where a request for [start, stop) should end: a multiple of the quantum behind its start."""
    if stop > INT64_MAX - QUANTUM:
        return stop
    return start + (stop - start + QUANTUM - 1) // QUANTUM * QUANTUM


cdef int64_t ramp(Cursor *cursor, int64_t look_ahead) noexcept nogil:
    """How far ahead of *cursor* bytes are wanted: as far again as was read in one go, twice, up to *look_ahead*."""
    cdef int64_t run = kt_load(&cursor.position) - kt_load(&cursor.run_start)
    return min(look_ahead, max(<int64_t>QUANTUM, 2 * run))


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
    if not 0 <= start <= min(stop, KT_MAX_OFFSET):
        raise ValueError(f"not a range: [{start}, {stop})")
    return 0


cdef int raise_outcome(Store store, Outcome outcome, int64_t start, int64_t stop) except -1:
    """Raise what *outcome* means for [start, stop) of *store*."""
    if outcome == SIGNALLED:
        return -1  # the exception is set
    cdef object where = {"url": store.label, "range": (start, stop), "operation": "reading"}
    if outcome == FAILED:
        error = store.reason(start, stop)
        if isinstance(error, errors.KitharaError) and not store.single:
            raise error.renewed() from error
        raise error
    if outcome == CORRUPT:
        store._lost()
        raise errors.CacheCorrupt(
            "the cached file was truncated or changed by somebody else; open it again to fetch it anew", **where
        )
    if outcome == CLOSED:
        raise errors.Closed("I/O operation on a closed file", **where)
    if outcome == CANCELLED:
        raise errors.Cancelled("the transfer was cancelled", **where)
    if outcome == TIMED_OUT:
        raise errors.WaitTimeout("the bytes did not come in the time given", **where)
    if outcome == FORKED:
        raise errors.ForkedHandle("this handle was opened before fork(); open the resource anew in the child", **where)
    if outcome == DEADLOCK:
        raise errors.WouldDeadlock("waiting here would block the very thread that brings the bytes", **where)
    if outcome == EXITING:
        raise errors.WriterGone("the interpreter is shutting down", **where)
    if outcome == BACKWARD:
        raise errors.SeekNotSupported("the source can only be read forwards, and these bytes have passed", **where)
    raise errors.Interrupted("a seek or interrupt() made this wait stale", **where)


_STATUS_NAMES = ("active", "committed", "failed", "cancelled")


def _end_all_waits() -> None:
    """At interpreter exit: no thread may be left waiting for bytes that nobody will bring."""
    cdef Store store
    kt_store(&kt_exiting_flag, 1)
    for store in list(_living):
        if kt_load(store.forks) == store.forks_at_birth:
            store.wake()


kt_watch_forks()
# atexit runs only after non-daemon threads were joined, which is too late for one that waits here.
_register = getattr(threading, "_register_atexit", None)
if _register is not None:
    _register(_end_all_waits)
