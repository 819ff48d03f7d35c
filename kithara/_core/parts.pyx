"""Several stores laid end to end: where each of them begins, and which are open.

A part opens when somebody uses it and closes behind the readers. Nobody waits here for what a part holds; that is what
`chain` adds.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from .demand cimport Cursor, Waiter
from .outcome cimport FAILED, MISSING, READY, Outcome
from .store cimport Store, unraisable
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


cdef class Parts(Store):
    """The parts of a `kithara._core.chain.Chain`, as far as they have nothing to do with waiting."""

    def __cinit__(self, *args, **kwargs):
        self.parts = []
        self.stores = []
        self.failures = []
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

    cdef int64_t hold(self, int64_t offset, int64_t size, int64_t *local, int64_t *part_size) noexcept nogil:
        """Keep the part that holds *offset* until `unuse`; -1 while there is no store for it.

        *local* is the offset in it, *part_size* how many of *size* bytes lie in it.
        """
        cdef int64_t index
        cdef Piece *piece
        kt_lock(&self.monitor)
        index = self.find(offset)
        piece = &self.pieces[index]
        if index == self.count or piece.store == NULL:
            kt_unlock(&self.monitor)
            return -1
        piece.users += 1
        local[0] = offset - self.bases[index]
        part_size[0] = size if piece.length < 0 else min(size, piece.length - local[0])
        kt_unlock(&self.monitor)
        return index

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

    cdef int64_t length_now(self) noexcept nogil:
        cdef int64_t length = kt_load(&self.known_length)
        if length < 0:
            kt_lock(&self.monitor)
            self.resolve()
            length = self.known_length
            kt_unlock(&self.monitor)
        return length
