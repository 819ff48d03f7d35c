"""Which bytes are here: a set of disjoint half-open ranges that answers in O(log n)."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove


@cython.final
cdef class RangeSet:
    """Sorted, disjoint, half-open ranges ``[start, stop)`` of integers; neighbours that touch become one.

    Args:
        ranges: Pairs ``(start, stop)`` to begin with.
        max_runs: The most runs it may hold (0: no limit); an addition that needs more raises OverflowError.

    Not thread-safe by itself: whoever shares one holds a lock around it.
    """

    def __cinit__(self, ranges=(), *, Py_ssize_t max_runs=0):
        self.max_runs = max_runs
        for start, stop in ranges:
            self.add(start, stop)

    def __dealloc__(self):
        free(self.room)

    def add(self, int64_t start, int64_t stop) -> None:
        """Put ``[start, stop)`` in.

        Raises:
            ValueError: start is negative or past stop.
            OverflowError: more than *max_runs* runs would be needed.
        """
        _check(start, stop)
        cdef int failed = self.insert(start, stop)
        if failed == -1:
            raise MemoryError
        if failed == -2:
            raise OverflowError(f"more than {self.max_runs} runs")

    def discard(self, int64_t start, int64_t stop) -> None:
        """Take ``[start, stop)`` out.

        Raises:
            ValueError: start is negative or past stop.
        """
        _check(start, stop)
        if self.remove(start, stop):
            raise MemoryError

    def covers(self, int64_t start, int64_t stop) -> bool:
        """Whether all of ``[start, stop)`` is in. An empty range always is."""
        return self.has(start, stop)

    def covered_until(self, int64_t start) -> int:
        """The first position from *start* on that is not in."""
        return self.reach(start)

    def next_gap(self, int64_t start, int64_t stop):
        """The first maximal range inside ``[start, stop)`` that is not in, or None."""
        cdef int64_t gap_start = 0, gap_stop = 0
        if self.gap(start, stop, &gap_start, &gap_stop):
            return gap_start, gap_stop
        return None

    @property
    def total(self) -> int:
        """How many positions are in."""
        return self.size()

    def __len__(self) -> int:
        return self.count // 2

    def __iter__(self):
        return iter([(self.edges[index], self.edges[index + 1]) for index in range(0, self.count, 2)])

    def __eq__(self, other) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"RangeSet({list(self)!r})"

    cdef Py_ssize_t above(self, int64_t x) noexcept nogil:
        """How many edges are <= x."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        if high and self.edges[high - 1] <= x:
            return high
        while low < high:
            middle = (low + high) >> 1
            if self.edges[middle] <= x:
                low = middle + 1
            else:
                high = middle
        return low

    cdef Py_ssize_t from_(self, int64_t x) noexcept nogil:
        """How many edges are < x."""
        return self.above(x - 1)

    cdef int splice(self, Py_ssize_t low, Py_ssize_t high, int64_t *fresh, Py_ssize_t fresh_count) noexcept nogil:
        """Replace edges[low:high]. 0, or -1 without memory, or -2 over the limit; then nothing has changed."""
        cdef Py_ssize_t growth = fresh_count - (high - low)
        cdef Py_ssize_t count = self.count + growth
        cdef bint before = low < self.count - high  # fewer edges lie before the change than behind it
        if self.max_runs and count > 2 * self.max_runs and count > self.count:
            return -2
        if growth > 0 and not self.grow(growth if before else 0, 0 if before else growth):
            return -1
        if before:
            if low and growth:
                memmove(self.edges - growth, self.edges, low * sizeof(int64_t))
            self.edges -= growth
        elif self.count > high and growth:
            memmove(&self.edges[low + fresh_count], &self.edges[high], (self.count - high) * sizeof(int64_t))
        if fresh_count:
            memcpy(&self.edges[low], fresh, fresh_count * sizeof(int64_t))
        self.count = count
        return 0

    cdef bint grow(self, Py_ssize_t front, Py_ssize_t back) noexcept nogil:
        """Have room for *front* more edges before the first and *back* more behind the last; False without memory."""
        cdef Py_ssize_t slack
        cdef int64_t *larger
        if self.room != NULL:
            slack = self.edges - self.room
            if front <= slack and back <= self.capacity - slack - self.count:
                return True
        slack = max(<Py_ssize_t>8, self.count)
        larger = <int64_t *>malloc((self.count + 2 * slack) * sizeof(int64_t))
        if larger == NULL:
            return False
        if self.count:
            memcpy(larger + slack, self.edges, self.count * sizeof(int64_t))
        free(self.room)
        self.room = larger
        self.edges = larger + slack
        self.capacity = self.count + 2 * slack
        return True

    cdef int insert(self, int64_t start, int64_t stop) noexcept nogil:
        cdef int64_t fresh[2]
        cdef Py_ssize_t low, high, fresh_count = 0
        if start >= stop:
            return 0
        if self.count and self.edges[self.count - 1] == start:  # the usual write: just behind the last one
            self.edges[self.count - 1] = stop
            return 0
        low = self.from_(start)
        high = self.above(stop)
        if not low & 1:
            fresh[0] = start
            fresh_count = 1
        if not high & 1:
            fresh[fresh_count] = stop
            fresh_count += 1
        return self.splice(low, high, fresh, fresh_count)

    cdef int remove(self, int64_t start, int64_t stop) noexcept nogil:
        cdef int64_t fresh[2]
        cdef Py_ssize_t low, high, fresh_count = 0
        if start >= stop:
            return 0
        low = self.from_(start)
        high = self.above(stop)
        if low & 1:
            fresh[0] = start
            fresh_count = 1
        if high & 1:
            fresh[fresh_count] = stop
            fresh_count += 1
        return self.splice(low, high, fresh, fresh_count)

    cdef bint has(self, int64_t start, int64_t stop) noexcept nogil:
        return start >= stop or self.reach(start) >= stop

    cdef int64_t reach(self, int64_t start) noexcept nogil:
        cdef Py_ssize_t index = self.above(start)
        return self.edges[index] if index & 1 else start

    cdef bint gap(self, int64_t start, int64_t stop, int64_t *gap_start, int64_t *gap_stop) noexcept nogil:
        cdef Py_ssize_t index = self.above(start)
        if index & 1:
            start = self.edges[index]
            index += 1
        if start >= stop:
            return False
        gap_start[0] = start
        gap_stop[0] = min(stop, self.edges[index]) if index < self.count else stop
        return True

    cdef int64_t *snapshot(self, Py_ssize_t *count) noexcept nogil:
        """A copy of the edges, *count* of them."""
        cdef int64_t *copied = <int64_t *>malloc(max(<Py_ssize_t>1, self.count) * sizeof(int64_t))
        if copied != NULL:
            count[0] = self.count
            if self.count:
                memcpy(copied, self.edges, self.count * sizeof(int64_t))
        return copied

    cdef int64_t size(self) noexcept nogil:
        cdef int64_t total = 0
        cdef Py_ssize_t index
        for index in range(0, self.count, 2):
            total += self.edges[index + 1] - self.edges[index]
        return total


cdef int _check(int64_t start, int64_t stop) except -1:
    if start < 0 or start > stop:
        raise ValueError(f"not a range: [{start}, {stop})")
    return 0
