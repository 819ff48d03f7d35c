"""Where one reader stands in a store, and how bytes are taken from there: in turn, and without the GIL.

The place and the epoch are one. A read moves the place only if it is still where the read began; when a seek came
meanwhile it begins again where that went.
"""

from libc.stdint cimport INT64_MAX, int64_t

from .demand cimport ramp, rounded
from .outcome cimport (
    BACKWARD,
    CLOSED,
    DEADLOCK,
    ENDED,
    INTERRUPTED,
    LATE,
    MISSING,
    READY,
    Outcome,
    signalled,
)
from .store cimport Store, raise_outcome
from .sync cimport (
    KT_MAX_OFFSET,
    kt_add,
    kt_load,
    kt_lock,
    kt_now,
    kt_on_main_thread,
    kt_replace,
    kt_store,
    kt_swap,
    kt_thread,
    kt_unlock,
    kt_wait_until,
)

from .. import errors

cdef enum:
    PAGE = 1 << 12


cdef class ReadHead:
    """The nogil half of `kithara._core.reader.SyncReader`: what a foreign module calls from any thread."""

    def __cinit__(self, *args, **kwargs):
        self.planned_start = -1
        self.level.closed = 1

    def __dealloc__(self):
        # After a fork __del__ leaves the cursor where it is, and the garbage collector may have taken the store first.
        if kt_load(&self.attached) and self._store is not None and not self._store.is_forked():
            self._store.detach(&self.cursor)

    cdef int enter(self, Store store) except -1:
        """Stand at the start of *store*. Raises `Busy` when it feeds one reader, and has it."""
        self._store = store
        self.level.shut = &store.shut
        store._use()
        if not store.attach(&self.cursor):
            raise errors.Busy("the source feeds one reader, and has it", url=store.label, operation="opening")
        kt_store(&self.attached, 1)
        kt_store(&self.level.closed, 0)
        return 0

    cdef bint leave(self) noexcept:
        """Give the place up: whoever reads here finds it closed. False: that was done, or a child of a fork does it."""
        if kt_swap(&self.level.closed, 1) or self._store is None or self._store.is_forked():
            return False
        if kt_swap(&self.attached, 0):
            self._store.detach(&self.cursor)
        self._store.wake()
        self._store.nudge(-1)
        return True

    cdef int check_outcome(self, int64_t answer, int64_t size) except -1:
        """Raise what a negative *answer* of a nogil read of *size* bytes means. The GIL is held."""
        cdef int64_t position = kt_load(&self.position)
        if answer < 0:
            if kt_load(&self.level.closed):  # whatever its close did to the store meanwhile
                answer = -CLOSED
            raise_outcome(self._store, <Outcome>(-answer), position, position + size)
        return 0

    cdef int64_t read_into(self, char *into, int64_t size) noexcept nogil:
        return self.take(into, size, WHOLE, -1)

    cdef int64_t read_some(self, char *into, int64_t size) noexcept nogil:
        return self.take(into, size, SOME, -1)

    cdef int64_t try_read(self, char *into, int64_t size) noexcept nogil:
        return self.take(into, size, NOW, -1)

    cdef int64_t tell_now(self) noexcept nogil:
        return kt_load(&self.position)

    cdef int64_t seek_to(self, int64_t position) noexcept nogil:
        cdef int64_t epoch, floor, planned = 0, until = 0
        cdef Outcome outcome
        if position < 0 or position > KT_MAX_OFFSET:
            return -INTERRUPTED
        if self._store.forward_only:
            outcome = self._store.glance(position, position + 1, &until)
            if outcome == BACKWARD:
                return -BACKWARD
        if kt_load(&self.planned_start) == position:
            planned = kt_load(&self.planned_stop)
            kt_store(&self.cursor.hint_stop, -1)  # nothing is wanted between the place and its plan
        kt_store(&self.planned_start, -1)
        self._store.expect(position, kt_load(&self.habit))  # while the caller comes back for them
        # The position first: whoever sees the new epoch must find the new position (see `turn`).
        kt_store(&self.position, position)
        kt_store(&self.cursor.position, position)
        kt_store(&self.cursor.run_start, position)
        kt_store(&self.cursor.hint_stop, planned)
        while True:
            epoch = kt_load(&self.level.epoch)
            floor = kt_load(&self.level.floor)
            if kt_replace(&self.level.epoch, epoch, max(epoch + 1, floor)):
                break
        if kt_load(&self.held) or kt_load(&self.waits):  # a read that waits for the old place goes on at the new one
            self._store.wake()
        return position

    cdef Outcome wait_for(self, int64_t start, int64_t stop, int64_t deadline) noexcept nogil:
        cdef Outcome outcome
        cdef int64_t until = 0
        kt_add(&self.waits, 1)
        outcome = self._store.wait(
            start, stop, start, rounded(start, stop), deadline, &self.level, kt_load(&self.level.epoch), &until
        )
        kt_add(&self.waits, -1)
        return outcome

    cdef int64_t glide(self, char *into, int64_t size, int64_t expected) noexcept nogil:
        """`take` where all is here for good and nobody has the turn, without taking it. -MISSING: that is not so.

        The position moves before the copy. To the others that is a read which was over before whatever they do next: a
        seek meanwhile stays, and two reads at once get one piece each. Nothing locked is left to do behind the copy,
        where it would wait for all of its stores.
        """
        cdef int64_t position = kt_load(&self.position), stop = position + size
        cdef Outcome outcome
        if stop > kt_load(&self._store.here) or kt_load(&self.held) or not self.usable():
            return -MISSING
        if expected >= 0 and position != expected:
            return -LATE
        if not kt_replace(&self.position, position, stop):
            return -MISSING
        outcome = self._store.copy(position, into, size)
        if outcome != READY:
            kt_replace(&self.position, stop, position)
            return -MISSING if outcome == LATE else -outcome  # late: here no more, for the store began to let go of bytes
        kt_store(&self.cursor.position, stop)
        if kt_load(&self.position) != stop:  # a seek has said meanwhile where the reader stands
            kt_store(&self.cursor.position, kt_load(&self.position))
        if position != kt_load(&self.cursor.run_start):  # one read behind the other
            self._store.expect(stop, min(size, PAGE))
        kt_store(&self.habit, min(size, PAGE))
        if kt_load(&self._store.demanded):
            self.look_ahead(kt_load(&self._store.here))
        return size

    cdef bint try_hold(self) noexcept nogil:
        """Take the turn of reading if it is free."""
        if not kt_replace(&self.held, 0, 1):
            return False
        kt_store(&self.holder, kt_thread())
        return True

    cdef Outcome hold(self) noexcept nogil:
        """Take the turn of reading; others of the same reader wait until `let_go`. Never with the GIL in hand."""
        cdef Outcome outcome = self._store.check()
        cdef bint main_thread
        if outcome != READY:
            return outcome
        if self.try_hold():
            return READY
        if kt_load(&self.holder) == kt_thread():
            return DEADLOCK  # a signal handler reads what the call it interrupted is reading
        main_thread = kt_on_main_thread()
        kt_lock(&self._store.monitor)
        while kt_swap(&self.held, 2) != 0:
            if kt_load(&self.level.closed):
                outcome = CLOSED
                break
            kt_wait_until(&self._store.monitor, kt_now() + 50_000_000)
            if main_thread:
                kt_unlock(&self._store.monitor)
                outcome = signalled()
                kt_lock(&self._store.monitor)
                if outcome != READY:
                    break
        kt_unlock(&self._store.monitor)
        if outcome == READY:
            kt_store(&self.holder, kt_thread())
        return outcome

    cdef void let_go(self) noexcept nogil:
        kt_store(&self.holder, 0)
        if kt_swap(&self.held, 0) == 2:
            self._store.wake()

    cdef int64_t take(self, char *into, int64_t size, Manner manner, int64_t expected) noexcept nogil:
        """Bytes copied, 0 at the end; or a negated Outcome, with the position unmoved. *size* is positive."""
        cdef int64_t got, until = 0
        cdef Outcome outcome
        if kt_load(&self.level.closed):
            return -CLOSED
        got = self.glide(into, size, expected)
        if got != -MISSING:
            return got
        outcome = self.hold()
        if outcome != READY:
            return -outcome
        got = self.turn(into, size, manner, expected, &until)
        self.let_go()
        self.afterwards(got, until)
        return got

    cdef int64_t turn(
        self, char *into, int64_t size, Manner manner, int64_t expected, int64_t *until
    ) noexcept nogil:
        """`take` with the turn in hand.

        The position moves only if it is still where the read began: a seek meanwhile makes the read begin again.
        """
        cdef int64_t epoch, position, got = 0
        cdef Outcome outcome
        while True:
            epoch = kt_load(&self.level.epoch)  # before the position: see seek_to
            position = kt_load(&self.position)
            if expected >= 0 and position != expected:
                return -LATE
            outcome = self.gather(position, epoch, into, size, manner, &got, until)
            if self.is_stale(outcome, epoch):
                continue
            if not self.is_answer(outcome, got, manner):
                kt_store(&self.cursor.position, kt_load(&self.position))
                return -outcome
            if kt_replace(&self.position, position, position + got):
                return got

    cdef bint is_stale(self, Outcome outcome, int64_t epoch) noexcept nogil:
        """Whether a seek or a store that moved on asks to begin again."""
        return outcome == LATE or (outcome == INTERRUPTED and epoch >= kt_load(&self.level.floor))

    cdef bint is_answer(self, Outcome outcome, int64_t got, Manner manner) noexcept nogil:
        return outcome == READY or outcome == ENDED or (got > 0 and manner != WHOLE and manner != ALL_NOW)

    cdef Outcome gather(
        self, int64_t position, int64_t epoch, char *into, int64_t size, Manner manner, int64_t *got, int64_t *until
    ) noexcept nogil:
        """Copy [position, position + size) as *manner* says. READY or ENDED: that is all; else why there is no more."""
        cdef int64_t at = position, stop = position + size, want
        cdef Outcome outcome
        got[0] = 0
        outcome = self._store.glance(at, stop, until)
        while True:
            if until[0] > at and (outcome != MISSING or manner != ALL_NOW):
                outcome = self._store.copy(at, into + (at - position), min(until[0], stop) - at)
                if outcome != READY:
                    return outcome
                at = min(until[0], stop)
                got[0] = at - position
                kt_store(&self.cursor.position, at)
                if at == stop:
                    return READY
                outcome = self._store.glance(at, stop, until)
                continue
            if outcome != MISSING or manner >= NOW or (manner == SOME and at > position):
                return outcome
            want = kt_load(&self.cursor.hint_stop)
            outcome = self._store.wait(
                at, at + 1, at, want if want > at else rounded(at, stop), INT64_MAX, &self.level, epoch, until
            )
            if outcome != READY and outcome != ENDED:
                return outcome
            if until[0] <= at:  # it ends here, or the kind of store does not say
                outcome = self._store.glance(at, stop, until)

    cdef void afterwards(self, int64_t got, int64_t until) noexcept nogil:
        """With the turn given back: tell the producer of a miss that nobody waits for, and of the low-water mark."""
        if got >= 0:
            self.look_ahead(until)
        elif got == -MISSING:
            self._store.nudge(kt_load(&self.position))

    cdef void look_ahead(self, int64_t until) noexcept nogil:
        """Tell the producer at the low-water mark: what is here ahead is less than half of what should be."""
        cdef int64_t position
        if not self._store.has_producer():
            return
        position = kt_load(&self.cursor.position)
        if until - position < ramp(&self.cursor, self._store.look_ahead) // 2:
            if until != self._store.length_now() and kt_load(&self.cursor.hint_stop) < position:
                self._store.nudge(until)
