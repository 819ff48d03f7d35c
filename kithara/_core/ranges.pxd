cimport cython
from libc.stdint cimport int64_t


cdef struct Run:
    int64_t start
    int64_t stop


cdef struct Leaf:
    # Some runs one behind the other, never none; `first` is where the first of them starts.
    int64_t first
    Run *runs
    Py_ssize_t count
    Py_ssize_t room


cdef struct Place:
    # Run `index` of leaf `leaf`. The index -1 stands before the runs of the leaf.
    Py_ssize_t leaf
    Py_ssize_t index


@cython.final
cdef class RangeSet:
    # The runs in ascending order, in leaves of at most LEAF: a look searches the leaves and then one of them, a change
    # moves what is behind it in one. A set of few runs has one small leaf.
    cdef Leaf *leaves
    cdef Py_ssize_t leaf_count
    cdef Py_ssize_t leaf_room
    cdef Py_ssize_t count  # of all runs
    cdef readonly Py_ssize_t max_runs

    cdef list pairs(self)
    cdef Place last_from(self, int64_t x) noexcept nogil
    cdef Run *run(self, Place place) noexcept nogil
    cdef Run *behind(self, Place *place) noexcept nogil
    cdef bint put(self, Place place, int64_t start, int64_t stop) noexcept nogil
    cdef bint split(self, Place *place) noexcept nogil
    cdef void begin(self, Place place, int64_t start) noexcept nogil
    cdef void take(self, Place first, Place last) noexcept nogil
    cdef void drop_leaves(self, Py_ssize_t low, Py_ssize_t high) noexcept nogil
    cdef bint join(self, Py_ssize_t left) noexcept nogil
    cdef int insert(self, int64_t start, int64_t stop) noexcept nogil  # 0, -1 without memory, -2 over the limit
    cdef int remove(self, int64_t start, int64_t stop) noexcept nogil  # 0, or -1 without memory
    cdef bint has(self, int64_t start, int64_t stop) noexcept nogil
    cdef int64_t reach(self, int64_t start) noexcept nogil
    cdef bint gap(self, int64_t start, int64_t stop, int64_t *gap_start, int64_t *gap_stop) noexcept nogil
    cdef int64_t end(self) noexcept nogil  # where the last run stops, or 0
    cdef int64_t size(self) noexcept nogil
    cdef Run *snapshot(self, Py_ssize_t *count) noexcept nogil  # to be freed; NULL without memory


cdef list pairs_of(Run *runs, Py_ssize_t count)  # frees the runs
