cimport cython
from libc.stdint cimport int64_t


@cython.final
cdef class RangeSet:
    # Boundaries of the runs in one flat ascending array: edges[2i] opens run i, edges[2i + 1] closes it. The number of
    # edges <= x is odd exactly when x lies inside a run.
    cdef int64_t *room  # with slack at both ends, so that a change moves the shorter side
    cdef Py_ssize_t capacity
    cdef int64_t *edges
    cdef Py_ssize_t count
    cdef readonly Py_ssize_t max_runs

    cdef Py_ssize_t above(self, int64_t x) noexcept nogil
    cdef Py_ssize_t from_(self, int64_t x) noexcept nogil
    cdef int splice(self, Py_ssize_t low, Py_ssize_t high, int64_t *fresh, Py_ssize_t fresh_count) noexcept nogil
    cdef bint grow(self, Py_ssize_t front, Py_ssize_t back) noexcept nogil
    cdef int insert(self, int64_t start, int64_t stop) noexcept nogil
    cdef int remove(self, int64_t start, int64_t stop) noexcept nogil
    cdef bint has(self, int64_t start, int64_t stop) noexcept nogil
    cdef int64_t reach(self, int64_t start) noexcept nogil
    cdef bint gap(self, int64_t start, int64_t stop, int64_t *gap_start, int64_t *gap_stop) noexcept nogil
    cdef int64_t size(self) noexcept nogil
    cdef int64_t *snapshot(self, Py_ssize_t *count) noexcept nogil  # to be freed; NULL without memory
