"""Who wants what of a store, and how its producer is told.

Readers and waits say where they are; a producer is told by one signal when something is wanted that it does not bring,
and asks then what that is (`wanted`).
"""

import threading
import weakref

from libc.stdint cimport INT64_MAX, int64_t

from .outcome cimport CLOSED, FORKED, READY, Outcome, outcome_error
from .sync cimport (
    kt_broadcast,
    kt_load,
    kt_lock,
    kt_monitor_destroy,
    kt_monitor_init,
    kt_now,
    kt_store,
    kt_unlock,
)

cdef extern from *:
    """
    #include <pthread.h>
    #include <stdint.h>
    static int64_t kt_fork_count;
    static void kt_count_fork(void) { __atomic_add_fetch(&kt_fork_count, 1, __ATOMIC_RELEASE); }
    static void kt_watch_forks(void) { pthread_atfork(NULL, NULL, kt_count_fork); }
    """
    int64_t kt_fork_count
    void kt_watch_forks() noexcept nogil

cdef extern from "Python.h":
    void PyErr_SetInterrupt()

cdef enum:
    SOON = 1 << 18  # a transfer that is so near a missing byte will bring it; telling the producer gains nothing
    QUANTUM = 1 << 14  # what a miss asks for is rounded up to this
    MOST_WANTED = 64

cdef int64_t exiting = 0

_living = weakref.WeakSet()


cdef class Demand:
    """What a store keeps of those who use it: its lock, where readers are, who waits, who brings.

    Attributes:
        label: A path or URL for messages.
    """

    def __cinit__(self, *args, **kwargs):
        if kt_monitor_init(&self.monitor):
            raise MemoryError
        self.monitor_ready = True
        self.forks = &kt_fork_count
        self.forks_at_birth = kt_load(&kt_fork_count)
        self.known_length = -1
        _living.add(self)

    def __dealloc__(self):
        # A child may have inherited the monitor locked by a thread it does not have; leave it alone there.
        if self.monitor_ready and not self.is_forked():
            kt_monitor_destroy(&self.monitor)

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

    def _use(self) -> None:
        cdef Outcome outcome = self.check()
        if outcome == FORKED:
            raise outcome_error(outcome, self.label, 0, 0)

    # What a kind of store gives.

    cdef bint hole(self, int64_t start, int64_t stop, int64_t *hole_start, int64_t *hole_stop) noexcept nogil:
        hole_start[0] = start
        hole_stop[0] = stop
        return start < stop

    cdef bint has_producer(self) noexcept nogil:
        return kt_load(&self.demanded) != 0

    cdef void abandon(self, object error) noexcept:
        pass

    # What every store has.

    cdef Outcome check(self) noexcept nogil:
        if self.is_forked():
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
        if kt_load(&exiting):
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
                    self.abandon(error)
                break
            if interrupted:
                PyErr_SetInterrupt()  # comes again where it can be raised: in the wait, or behind the read

    cdef void wake(self) noexcept nogil:
        """Let every wait look again. Does nothing in a forked child, where the monitor may be locked for ever."""
        if self.is_forked():
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

    cdef int64_t lowest_wait(self, int64_t floor) noexcept nogil:
        cdef int64_t lowest = -1
        cdef Waiter *waiter = self.first_waiter
        while waiter != NULL:
            if waiter.start >= floor and (lowest < 0 or waiter.start < lowest):
                lowest = waiter.start
            waiter = waiter.next
        return lowest

    cdef int64_t lowest_cursor(self, int64_t floor) noexcept nogil:
        cdef int64_t lowest = -1, position
        cdef Cursor *cursor = self.first_cursor
        while cursor != NULL:
            position = kt_load(&cursor.position)
            if position >= floor and (lowest < 0 or position < lowest):
                lowest = position
            cursor = cursor.next
        return lowest

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


cdef int64_t rounded(int64_t start, int64_t stop) noexcept nogil:
    """Where a request for [start, stop) should end: a multiple of the quantum behind its start."""
    if stop > INT64_MAX - QUANTUM:
        return stop
    return start + (stop - start + QUANTUM - 1) // QUANTUM * QUANTUM


cdef int64_t ramp(Cursor *cursor, int64_t look_ahead) noexcept nogil:
    """How far ahead of *cursor* bytes are wanted: as far again as was read in one go, twice, up to *look_ahead*."""
    cdef int64_t run = kt_load(&cursor.position) - kt_load(&cursor.run_start)
    return min(look_ahead, max(<int64_t>QUANTUM, 2 * run))


def _end_all_waits() -> None:
    """At interpreter exit: no thread may be left waiting for bytes that nobody will bring."""
    cdef Demand store
    kt_store(&exiting, 1)
    for store in list(_living):
        store.wake()


kt_watch_forks()
# atexit runs only after non-daemon threads were joined, which is too late for one that waits here.
_register = getattr(threading, "_register_atexit", None)
if _register is not None:
    _register(_end_all_waits)
