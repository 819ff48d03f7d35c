"""Several stores read as one: parts that open when a demand reaches them and close behind the readers."""

from libc.stdint cimport int64_t

from .demand cimport Waiter
from .outcome cimport CORRUPT, ENDED, FAILED, LATE, MISSING, READY, Outcome, check_range
from .parts cimport Parts, Piece
from .store cimport Level, Store, Watch, call
from .sync cimport kt_broadcast, kt_load, kt_lock, kt_store, kt_unlock

from .. import errors


cdef class Chain(Parts):
    """Parts one behind the other, read as one store.

    Args:
        parts: Stores, callables that give one, or `Part` where more is known.
        look_ahead: Bytes before the end of a part within which the next one opens.

    While the length of a part is unknown, so is that of the chain and where later parts begin: a seek beyond it fetches
    what lies between. Waits and low-water marks reach the producers of the parts they concern; the chain has none
    of its own. A part is open while a reader or a wait is in it, or in the one before.
    """

    def __cinit__(self, *args, **kwargs):
        self.pending = []
        self.life.shut = &self.shut

    def __del__(self):
        self.close()

    def close(self) -> None:
        """Give the chain up: every wait and later use raises `Closed`, and the parts close. May be repeated."""
        cdef int64_t index
        kt_store(&self.shut, 1)
        if self.is_forked():
            return
        self.wake()
        for watch in list(self.pending):
            self._fire(watch)
        for index in range(self.count):
            self._release(index)

    # What a store gives.

    cdef bint has_producer(self) noexcept nogil:
        return True

    cdef object reason(self, int64_t start, int64_t stop):
        cdef int64_t base = 0, length = 0, index = self.find_now(start, &base, &length)
        while index < self.count:
            if self.pieces[index].failed:
                return self.failures[index]
            if self.stores[index] is not None:
                error = (<Store>self.stores[index]).reason(max(<int64_t>0, start - base), stop - base)
                # Somebody else may ask for something else instead; who reads these bytes is told why they do not come.
                while isinstance(error, errors.Interrupted) and error.__cause__ is not None:
                    error = error.__cause__
                if error is not None:
                    return error
            if length < 0 or base + length >= stop:
                break
            index += 1
            base += length
            length = self.pieces[index].length
        return errors.StreamError("a part is shorter than it was said to be", url=self.label, range=(start, stop))

    def _lost(self) -> None:
        store = self.stores[kt_load(&self.corrupt)]
        if store is not None:
            store._lost()

    cdef Outcome look(self, int64_t start, int64_t stop, int64_t *until) noexcept nogil:
        cdef int64_t at = start, index, base, length, limit, part_until = 0
        cdef Outcome outcome
        until[0] = start
        while at < stop:
            index = self.find(at)
            if index == self.count:
                return ENDED if at == start else READY
            if self.pieces[index].store == NULL:
                return FAILED if self.pieces[index].failed else MISSING
            base, length = self.bases[index], self.pieces[index].length
            limit = stop if length < 0 else min(stop, base + length)
            kt_lock(&(<Store>self.pieces[index].store).monitor)
            outcome = (<Store>self.pieces[index].store).look(at - base, limit - base, &part_until)
            kt_unlock(&(<Store>self.pieces[index].store).monitor)
            part_until += base
            if length >= 0:
                part_until = min(part_until, base + length)
            if outcome == READY and part_until > at:  # short of the limit where the part ends or can hold no more
                at = until[0] = part_until
            elif outcome == READY or outcome == ENDED:
                if length >= 0 or (<Store>self.pieces[index].store).length_now() < 0:
                    return FAILED  # shorter than it was said to be
                # The part knows its length by now; look again.
            else:
                until[0] = max(at, part_until)
                return outcome
        return READY

    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        cdef int64_t index, local = 0, part_size = 0
        cdef Outcome outcome
        cdef Piece *piece
        while size > 0:
            index = self.hold(offset, size, &local, &part_size)
            if index < 0:
                return LATE
            piece = &self.pieces[index]
            outcome = (<Store>piece.store).copy(local, into, part_size)
            if outcome == READY:
                if local != kt_load(&piece.cursor.position):
                    kt_store(&piece.cursor.run_start, local)
                kt_store(&piece.cursor.position, local + part_size)
            self.unuse(index)
            if outcome == CORRUPT:
                kt_store(&self.corrupt, index)
            if outcome != READY:
                return outcome
            offset += part_size
            into += part_size
            size -= part_size
        return READY

    cdef bint near(self, int64_t offset, int64_t size) noexcept nogil:
        cdef int64_t index, local = 0, part_size = 0
        cdef bint near = True
        while near and size > 0:
            index = self.hold(offset, size, &local, &part_size)
            if index < 0:  # nothing to copy yet
                return True
            near = (<Store>self.pieces[index].store).near(local, part_size)
            self.unuse(index)
            offset += part_size
            size -= part_size
        return near

    cdef bint hole(self, int64_t start, int64_t stop, int64_t *hole_start, int64_t *hole_stop) noexcept nogil:
        cdef int64_t index, base, length, limit
        cdef bint found
        while start < stop:
            index = self.find(start)
            base = self.bases[index]
            length = self.pieces[index].length if index < self.count else -1
            limit = stop if length < 0 else min(stop, base + length)
            found = index == self.count or self.pieces[index].store == NULL
            hole_start[0], hole_stop[0] = start - base, limit - base
            if not found:
                kt_lock(&(<Store>self.pieces[index].store).monitor)
                found = (<Store>self.pieces[index].store).hole(start - base, limit - base, hole_start, hole_stop)
                kt_unlock(&(<Store>self.pieces[index].store).monitor)
            if found:
                hole_start[0] += base
                hole_stop[0] += base
                return True
            start = limit
        return False

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
        cdef int64_t at = start, base = 0, length = 0, index, local, here = 0, low, limit, want
        cdef Outcome outcome = self.check()
        cdef Waiter waiter
        until[0] = start
        if outcome != READY:
            return outcome
        if level == NULL:
            level = &self.life
        waiter.start = want_start
        waiter.stop = max(stop, want_stop)
        kt_lock(&self.monitor)
        self.enter(&waiter)
        kt_unlock(&self.monitor)
        while outcome == READY and at < stop:
            index = self.find_now(at, &base, &length)
            if index == self.count:
                outcome = ENDED if at == start else READY
                break
            outcome = self.use(index, True)
            if outcome != READY:
                break
            local = at - base
            want = max(stop, want_stop) - base
            low = max(<int64_t>0, want_start - base)
            if length >= 0:
                limit = min(stop - base, length)
                outcome = (<Store>self.pieces[index].store).wait(
                    local, limit, min(low, local), min(want, length), deadline, level, epoch, &here
                )
                if outcome == READY:
                    at = base + limit
                elif outcome == ENDED:
                    outcome = FAILED  # shorter than it was said to be
            else:  # what lies between is asked for too: maybe only that tells where this part ends
                outcome = (<Store>self.pieces[index].store).glance(local, stop - base, &here)
                if outcome == MISSING:
                    local = max(here, local)
                    outcome = (<Store>self.pieces[index].store).wait(
                        local, local + 1, 0, want, deadline, level, epoch, &here
                    )
                elif outcome == READY:
                    at = min(stop, base + here)
                if outcome == ENDED:
                    outcome = READY  # its length is known by now
            self.unuse(index)
        kt_lock(&self.monitor)
        self.leave(&waiter)
        kt_unlock(&self.monitor)
        return outcome

    cdef void wake(self) noexcept nogil:
        cdef int64_t index
        if self.is_forked():
            return
        kt_lock(&self.monitor)
        kt_broadcast(&self.monitor)
        for index in range(self.count):
            if self.pieces[index].store != NULL:
                (<Store>self.pieces[index].store).wake()
        kt_unlock(&self.monitor)

    cdef void nudge(self, int64_t missing) noexcept nogil:
        cdef int64_t base = 0, length = 0, index, until = 0
        if self.check() != READY:
            return
        if missing < 0:  # a reader has gone
            with gil:
                self._tidy()
            return
        index = self.find_now(missing, &base, &length)
        if index == self.count or self.use(index, False) != READY:
            return
        if (<Store>self.pieces[index].store).glance(missing - base, missing - base + 1, &until) == MISSING:
            (<Store>self.pieces[index].store).nudge(missing - base)
        self.unuse(index)

    # Async consumers.

    def when(self, int64_t start, int64_t stop, callback):
        check_range(start, stop)
        cdef ChainWatch watch = ChainWatch.__new__(ChainWatch)
        watch.callback = callback
        watch.start = start
        watch.stop = stop
        watch.index = -1
        self._use()
        self.pending.append(watch)
        self._watch_on(watch)
        return watch

    def forget(self, Watch watch) -> None:
        if watch in self.pending:
            self.pending.remove(watch)
            self._unwatch(watch)

    def _watch_on(self, ChainWatch watch):
        """Watch the part that holds the first byte which is missing, until none is."""
        cdef int64_t until = 0, base = 0, length = 0, index = 0, stop, this_round
        cdef Outcome outcome
        cdef Store part
        cdef Watch inner
        with nogil:
            outcome = self.glance(watch.start, watch.stop, &until)
            if outcome == MISSING:
                index = self.find_now(until, &base, &length)
                outcome = self.use(index, True)
                outcome = MISSING if outcome == READY else outcome
        if outcome != MISSING:
            self._fire(watch)
            return
        if watch.over:
            self.unuse(index)
            return
        part = self.stores[index]
        watch.index = index
        watch.inner = None
        watch.round += 1
        this_round = watch.round
        until = part.covered_until(0) if length < 0 else until - base
        stop = until + 1 if length < 0 else min(watch.stop - base, length)
        inner = part.when(until, stop, lambda: self._watch_again(watch, this_round))
        if watch.round == this_round:  # not called yet
            watch.inner = inner
            if watch.over:
                part.forget(inner)

    def _watch_again(self, ChainWatch watch, int64_t this_round):
        if watch.over or watch.round != this_round:
            return
        watch.round += 1
        self.unuse(watch.index)
        watch.index = -1
        self._watch_on(watch)

    def _unwatch(self, ChainWatch watch):
        cdef int64_t index = watch.index
        watch.over = True
        watch.index = -1
        if index >= 0:
            if watch.inner is not None:
                self.stores[index].forget(watch.inner)
            self.unuse(index)

    def _fire(self, ChainWatch watch):
        if watch in self.pending:
            self.pending.remove(watch)
            self._unwatch(watch)
            call(watch.callback)


cdef class ChainWatch(Watch):
    """What `Chain.when` gave."""
