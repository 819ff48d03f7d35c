from libc.stdint cimport int64_t

from .demand cimport Cursor
from .outcome cimport Outcome
from .store cimport Store


cdef struct Piece:
    # One part. All under the monitor of the `Parts`, but the cursor.
    void *store  # NULL while a promise is not open; `stores` holds the reference
    bint open  # the cursor is attached: its producer knows of us
    int64_t length  # -1 while unknown
    int64_t users  # calls under way in the store: it must stay
    bint opening
    bint failed  # it would not open; `failures` holds why
    bint whole  # it was seen committed
    Cursor cursor  # where it is read, for its producer


cdef class Part:
    cdef readonly object source
    cdef readonly object length
    cdef readonly object close


cdef class Parts(Store):
    # Lock order: this monitor, then a part's. A part never takes this one.
    cdef Piece *pieces
    cdef int64_t *bases  # bases[i] for i <= resolved: where part i begins
    cdef int64_t count
    cdef int64_t resolved
    cdef list parts
    cdef list stores
    cdef list failures

    # Where things are. Monitor held, but for `find_now`.
    cdef void resolve(self) noexcept nogil
    cdef int64_t find(self, int64_t offset) noexcept nogil
    cdef int64_t find_now(self, int64_t offset, int64_t *base, int64_t *length) noexcept nogil

    cdef Outcome use(self, int64_t index, bint patient) noexcept nogil
    cdef int64_t hold(self, int64_t offset, int64_t size, int64_t *local, int64_t *part_size) noexcept nogil
    cdef void unuse(self, int64_t index) noexcept nogil
    cdef bint is_needed(self, int64_t index) noexcept nogil
    cdef bint _open(self, int64_t index) noexcept
    cdef void _tidy(self) noexcept
    cdef int _release(self, int64_t index) except -1
