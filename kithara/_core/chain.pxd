from libc.stdint cimport int64_t

from .demand cimport Cursor
from .outcome cimport Outcome
from .store cimport Level, Store, Watch


cdef struct Piece:
    # One part. All under the chain's monitor, but the cursor.
    void *store  # NULL while a promise is not open; `Chain.stores` holds the reference
    bint open  # the cursor is attached: its producer knows of us
    int64_t length  # -1 while unknown
    int64_t users  # calls under way in the store: it must stay
    bint opening
    bint failed  # it would not open; `Chain.failures` holds why
    bint whole  # it was seen committed
    Cursor cursor  # where the chain reads in it, for its producer


cdef class Part:
    cdef readonly object source
    cdef readonly object length
    cdef readonly object close


cdef class Chain(Store):
    # Lock order: the chain's monitor, then a part's. A part never takes the chain's.
    cdef Piece *pieces
    cdef int64_t *bases  # bases[i] for i <= resolved: where part i begins
    cdef int64_t count
    cdef int64_t resolved
    cdef Level life  # ends waits that come without a reader's level
    cdef list parts
    cdef list stores
    cdef list failures
    cdef list pending
    cdef int64_t corrupt  # atomic; the part that lost bytes last

    cdef void resolve(self) noexcept nogil
    cdef int64_t find(self, int64_t offset) noexcept nogil
    cdef int64_t find_now(self, int64_t offset, int64_t *base, int64_t *length) noexcept nogil
    cdef Outcome use(self, int64_t index, bint patient) noexcept nogil
    cdef void unuse(self, int64_t index) noexcept nogil
    cdef bint _open(self, int64_t index) noexcept
    cdef void _tidy(self) noexcept
    cdef bint is_needed(self, int64_t index) noexcept nogil
    cdef int _release(self, int64_t index) except -1


cdef class ChainWatch(Watch):
    cdef int64_t start
    cdef int64_t stop
    cdef int64_t index  # the part that is watched, or -1
    cdef int64_t round  # counts the parts watched so far
    cdef Watch inner
    cdef bint over
