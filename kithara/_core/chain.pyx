"""Several stores read as one: parts that open when a demand reaches them and close behind the readers."""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from .demand cimport Cursor, Waiter
from .outcome cimport CORRUPT, ENDED, FAILED, LATE, MISSING, READY, Outcome, check_range
from .store cimport Level, Store, Watch, call, unraisable
from .sync cimport kt_broadcast, kt_load, kt_lock, kt_now, kt_store, kt_unlock, kt_wait_until

from .. import errors

cdef extern from "Python.h":
    void PyErr_SetInterrupt()

cdef enum:
    MOST_AT_ONCE = 32


cdef class Part:
    """One part of a `Chain`.

    Args:
        source: A store, or a promise of one: a callable without arguments that returns the store without waiting. It
            is called, in the thread of the demand, each time the part opens.
        length: Bytes in the part, where known. Else the store must come to know.
        close: Called with the store when the readers have left the part.
    """

    def __init__(self, source, length=None, *, close=None):
        if not (isinstance(source, Store) or callable(source)):
            raise TypeError(f"a part is a store or a callable that gives one, not {type(source).__name__}")
        if length is not None and length < 0:
            raise ValueError(f"negative length {length}")
        self.source = source
        self.length = length
        self.close = close


cdef class Chain(Store):
    """Parts one behind the other, read as one store.

    Args:
        parts: Stores, callables that give one, or `Part` where more is known.
        look_ahead: Bytes before the end of a part within which the next one opens.

    While the length of a part is unknown, so is that of the chain and where later parts begin: a seek beyond it fetches
    what lies between. Waits and low-water marks reach the producers of the parts they concern; the chain has none
    of its own. A part is open while a reader or a wait is in it, or in the one before.
    """

    def __cinit__(self, *args, **kwargs):
        self.parts = []
        self.stores = []
        self.failures = []
        self.pending = []
        self.life.shut = &self.shut
        self.cold = True  # as its parts are

    def __init__(self, parts, *, int64_t look_ahead=8 << 20):
        cdef int64_t index
        if self.pieces != NULL:
            raise ValueError("already made")
        self.parts = [part if isinstance(part, Part) else Part(part) for part in parts]
        self.stores = [None] * len(self.parts)
        self.failures = [None] * len(self.parts)
        self.pieces = <Piece *>calloc(len(self.parts) + 1, sizeof(Piece))
        self.bases = <int64_t *>calloc(len(self.parts) + 1, sizeof(int64_t))
        if self.pieces == NULL or self.bases == NULL:
            raise MemoryError
        self.look_ahead = look_ahead
        for index in range(len(self.parts)):
            length = self.parts[index].length
            self.pieces[index].length = -1 if length is None else length
            if isinstance(self.parts[index].source, Store):  # what is here of it can be told without opening it
                self.stores[index] = self.parts[index].source
                self.pieces[index].store = <void *>self.stores[index]
        self.count = len(self.parts)
        self.resolve()

    def __del__(self):
        self.close()

    def __dealloc__(self):
        free(self.pieces)
        free(self.bases)

    @property
    def status(self) -> str:
        """``"failed"`` or ``"cancelled"`` when an open part is, ``"committed"`` when every part was seen whole."""
        cdef bint whole = self.count > 0
        cdef int64_t index
        for index in range(self.count):
            store = self.stores[index]
            status = None if store is None else store.status
            if status in ("failed", "cancelled"):
                return status
            if status == "committed":
                self.pieces[index].whole = True
            whole = whole and self.pieces[index].whole
        return "committed" if whole else "active"

    @property
    def opened(self) -> list:
        """The numbers of the parts that are open now."""
        return [index for index in range(self.count) if self.pieces[index].open]

    def available_ranges(self) -> list:
        """What is here now in the parts that are open: ``[(start, stop), ...]`` in order."""
        cdef int64_t base, length, end = -1
        cdef list ranges = []
        self._use()
        for index, store in enumerate(self.stores):
            if store is None:
                continue
            kt_lock(&self.monitor)
            self.resolve()
            base = self.bases[index] if index <= self.resolved else -1
            length = self.pieces[index].length
            kt_unlock(&self.monitor)
            if base < 0:
                break
            for start, stop in store.available_ranges():
                stop = stop if length < 0 else min(stop, length)
                if start < stop and base + start == end:
                    start = ranges.pop()[0] - base
                if start < stop:
                    end = base + stop
                    ranges.append((base + start, end))
        return ranges

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

    # Where things are. Monitor held.

    cdef void resolve(self) noexcept nogil:
        """Learn lengths as far as the parts tell them."""
        cdef Piece *piece
        while self.resolved < self.count:
            piece = &self.pieces[self.resolved]
            if piece.length < 0 and piece.store != NULL:
                piece.length = (<Store>piece.store).length_now()
            if piece.length < 0:
                return
            self.bases[self.resolved + 1] = self.bases[self.resolved] + piece.length
            self.resolved += 1
        kt_store(&self.known_length, self.bases[self.count])

    cdef int64_t find(self, int64_t offset) noexcept nogil:
        """The part that holds *offset*, or the one of unknown length that may, or `count` past a known end."""
        cdef int64_t low = 0, high, middle
        self.resolve()
        high = self.resolved
        while low < high:
            middle = (low + high + 1) >> 1
            if self.bases[middle] <= offset:
                low = middle
            else:
                high = middle - 1
        return low

    cdef int64_t find_now(self, int64_t offset, int64_t *base, int64_t *length) noexcept nogil:
        """`find` with the monitor not held, and where that part begins and how long it is."""
        cdef int64_t index
        kt_lock(&self.monitor)
        index = self.find(offset)
        base[0] = self.bases[index]
        length[0] = self.pieces[index].length if index < self.count else 0
        kt_unlock(&self.monitor)
        return index

    # Opening and closing.

    cdef Outcome use(self, int64_t index, bint patient) noexcept nogil:
        """Open the part if need be, and keep it open until `unuse`.

        A *patient* caller waits while another thread opens it, and must not hold the GIL, which that thread needs; one
        that is not gets MISSING.
        """
        cdef Piece *piece = &self.pieces[index]
        cdef bint opened
        kt_lock(&self.monitor)
        while not piece.open and piece.opening:  # by another thread, which does not wait
            if not patient:
                kt_unlock(&self.monitor)
                return MISSING
            kt_wait_until(&self.monitor, kt_now() + 50_000_000)
        if piece.open:
            piece.users += 1
            kt_unlock(&self.monitor)
            return READY
        piece.opening = True
        kt_unlock(&self.monitor)
        with gil:
            opened = self._open(index)
            if opened:
                self._tidy()
        return READY if opened else FAILED

    cdef void unuse(self, int64_t index) noexcept nogil:
        kt_lock(&self.monitor)
        self.pieces[index].users -= 1
        kt_unlock(&self.monitor)

    cdef bint _open(self, int64_t index) noexcept:
        """Open the part and use it. False: `failures` tells why not."""
        cdef Piece *piece = &self.pieces[index]
        cdef Part part = self.parts[index]
        cdef Store store = None
        cdef object failure = None
        cdef bint interrupted = False
        try:
            while True:
                try:
                    store = part.source if isinstance(part.source, Store) else part.source()
                    break
                except KeyboardInterrupt:  # whoever asks may not be the one that reads the part, and raise it
                    interrupted = True
            store._use()
            if not store.attach(&piece.cursor):
                raise errors.Busy("the store feeds one reader, and has it", url=store.label, operation="opening")
        except BaseException as error:  # whatever it is, the thread that waits raises it
            failure = error
        if failure is None:
            self.stores[index] = store
        else:
            self.failures[index] = failure
        kt_lock(&self.monitor)
        piece.opening = False
        piece.failed = failure is not None
        if failure is None:
            piece.store = <void *>store
            piece.open = True
            piece.users += 1
        kt_broadcast(&self.monitor)
        kt_unlock(&self.monitor)
        if interrupted:
            PyErr_SetInterrupt()  # comes again where it can be raised: in the wait, or behind the read
        return failure is None

    cdef void _tidy(self) noexcept:
        """Close the parts that nobody is in any more."""
        cdef int64_t left[MOST_AT_ONCE]
        cdef int64_t index, count = 0
        cdef int entry
        cdef bint interrupted = False
        kt_lock(&self.monitor)
        for index in range(self.count):
            if self.pieces[index].open and self.pieces[index].users == 0 and not self.is_needed(index):
                left[count] = index
                count += 1
                if count == MOST_AT_ONCE:
                    break
        kt_unlock(&self.monitor)
        for entry in range(count):
            try:
                self._release(left[entry])
            except KeyboardInterrupt:
                interrupted = True
            except Exception as error:
                unraisable(error)
        if interrupted:
            PyErr_SetInterrupt()

    cdef bint is_needed(self, int64_t index) noexcept nogil:
        """Whether a reader or a wait is in the part or in the one before. Monitor held."""
        cdef Cursor *cursor = self.first_cursor
        cdef Waiter *waiter = self.first_waiter
        while cursor != NULL:
            if index - 1 <= self.find(kt_load(&cursor.position)) <= index:
                return True
            cursor = cursor.next
        while waiter != NULL:
            if index - 1 <= self.find(waiter.start) <= index:
                return True
            waiter = waiter.next
        return False

    cdef int _release(self, int64_t index) except -1:
        """Close the part unless it is in use."""
        cdef Part part = self.parts[index]
        cdef Store store
        cdef bint idle, promised = not isinstance(part.source, Store)
        kt_lock(&self.monitor)
        idle = self.pieces[index].open and self.pieces[index].users == 0
        if idle:
            self.resolve()
            self.pieces[index].open = False
            if promised:
                self.pieces[index].store = NULL
        kt_unlock(&self.monitor)
        if not idle:
            return 0
        store = self.stores[index]
        self.pieces[index].whole = store.status == "committed"
        if promised:
            self.stores[index] = None
        store.detach(&self.pieces[index].cursor)
        store.nudge(-1)
        if part.close is not None:
            part.close(store)
        return 0

    # What a store gives.

    cdef int64_t length_now(self) noexcept nogil:
        cdef int64_t length = kt_load(&self.known_length)
        if length < 0:
            kt_lock(&self.monitor)
            self.resolve()
            length = self.known_length
            kt_unlock(&self.monitor)
        return length

    cdef bint has_producer(self) noexcept nogil:
        return True

    cdef object reason(self, int64_t start, int64_t stop):
        cdef int64_t base = 0, length = 0, index = self.find_now(start, &base, &length)
        while index < self.count:
            if self.pieces[index].failed:
                return self.failures[index]
            if self.stores[index] is not None:
                error = (<Store>self.stores[index]).reason(max(<int64_t>0, start - base), stop - base)
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
        cdef int64_t index, base, part_size, local
        cdef Outcome outcome
        cdef Piece *piece
        while size > 0:
            kt_lock(&self.monitor)
            index = self.find(offset)
            piece = &self.pieces[index]
            if index == self.count or piece.store == NULL:
                kt_unlock(&self.monitor)
                return LATE
            piece.users += 1
            base = self.bases[index]
            part_size = size if piece.length < 0 else min(size, base + piece.length - offset)
            kt_unlock(&self.monitor)
            local = offset - base
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
        cdef int64_t index, base, part_size
        cdef Piece *piece
        cdef bint near = True
        while near and size > 0:
            kt_lock(&self.monitor)
            index = self.find(offset)
            piece = &self.pieces[index]
            if index == self.count or piece.store == NULL:  # nothing to copy yet
                kt_unlock(&self.monitor)
                return True
            piece.users += 1
            base = self.bases[index]
            part_size = size if piece.length < 0 else min(size, base + piece.length - offset)
            kt_unlock(&self.monitor)
            near = not (<Store>piece.store).cold or (<Store>piece.store).near(offset - base, part_size)
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
