cimport cython
from libc.stdint cimport int64_t

from .head cimport ReadHead
from .sync cimport kt_load


cdef enum:
    # A hit smaller than this keeps the GIL: giving it up for a microsecond beside a busy Python thread costs up to a
    # switch interval to get it back (measured: 2x to 100x). From here on the copy itself is long enough to let others run.
    RELEASE_FROM = 1 << 16


@cython.final
cdef class SyncReader(ReadHead):
    cdef bint is_blocking
    cdef bint always_release
    cdef list closers
    cdef tuple origin  # the source, which must live as long as we read it, and the params
    cdef public object media
    cdef public object recipe  # opens the same anew, in whatever process; or None
    cdef object __weakref__

    cdef inline bint keeps(self, int64_t size) noexcept:
        """Whether a read of *size* bytes that are here keeps the GIL."""
        if size >= RELEASE_FROM or self.always_release:
            return False
        return not self._store.cold or self._store.near(kt_load(&self.position), size)
    cdef int64_t answer(self, char *into, int64_t size, bint whole, int64_t expected) except? -1
    cdef int _open(self) except -1  # raises unless `usable`
    cdef object _read(self, int64_t size, bint whole)
    cdef object _readinto(self, object buffer, bint whole)
