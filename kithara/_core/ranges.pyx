"""Which bytes are here: a set of disjoint half-open ranges that answers in O(log n)."""

cimport cython
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

cdef enum:
    LEAF = 128  # runs, 2 KiB: a change moves no more than that, and 10,000 runs have about a hundred leaves


@cython.final
cdef class RangeSet:
    """Sorted, disjoint, half-open ranges ``[start, stop)`` of integers; neighbours that touch become one.

    Args:
        ranges: Pairs ``(start, stop)`` to begin with.
        max_runs: The most runs that additions may make (0: no limit); one that needs more raises OverflowError.

    Not thread-safe by itself: whoever shares one holds a lock around it.
    """

    def __cinit__(self, ranges=(), *, Py_ssize_t max_runs=0):
        self.max_runs = max_runs
        for start, stop in ranges:
            self.add(start, stop)

    def __dealloc__(self):
        cdef Py_ssize_t leaf
        for leaf in range(self.leaf_count):
            free(self.leaves[leaf].runs)
        free(self.leaves)

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
        return self.count

    def __iter__(self):
        return iter(self.pairs())

    def __eq__(self, other) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self.pairs() == (<RangeSet>other).pairs()

    __hash__ = None

    def __repr__(self) -> str:
        return f"RangeSet({self.pairs()!r})"

    cdef list pairs(self):
        cdef Py_ssize_t count = 0
        cdef Run *runs = self.snapshot(&count)  # no object is made before: that may collect garbage, and run anything
        if runs == NULL:
            raise MemoryError
        return pairs_of(runs, count)

    # Where things are.

    cdef Place last_from(self, int64_t x) noexcept nogil:
        """The last run that starts at or before *x*."""
        cdef Place place
        cdef Py_ssize_t low = 0, size = self.leaf_count, half
        cdef Run *runs
        place.leaf = 0
        place.index = -1
        if size == 0 or x < self.leaves[0].first:
            return place
        # Halved without a branch on what is compared: of a place at random it would be guessed wrong half of the time.
        while size > 1:
            half = size >> 1
            low += half * (self.leaves[low + half].first <= x)
            size -= half
        place.leaf = low
        runs = self.leaves[low].runs
        size = self.leaves[low].count
        low = 0
        while size > 1:
            half = size >> 1
            low += half * (runs[low + half].start <= x)
            size -= half
        place.index = low
        return place

    cdef Run *run(self, Place place) noexcept nogil:
        """The run at *place*; NULL before the first."""
        return &self.leaves[place.leaf].runs[place.index] if place.index >= 0 else NULL

    cdef Run *behind(self, Place *place) noexcept nogil:
        """Go on to the next run; NULL when there is none."""
        if place.leaf >= self.leaf_count:
            return NULL
        if place.index + 1 < self.leaves[place.leaf].count:
            place.index += 1
        else:
            place.leaf += 1
            place.index = 0
        return &self.leaves[place.leaf].runs[place.index] if place.leaf < self.leaf_count else NULL

    # Changes of the runs; what may fail for want of memory has changed nothing then.

    cdef bint put(self, Place place, int64_t start, int64_t stop) noexcept nogil:
        """Put a run in behind *place*. False without memory."""
        cdef Leaf *leaf
        cdef Run *runs
        cdef Py_ssize_t at, room
        if (self.leaf_count == 0 or self.leaves[place.leaf].count == LEAF) and not self.split(&place):
            return False
        leaf = &self.leaves[place.leaf]
        if leaf.count == leaf.room:
            room = 2 * leaf.room
            runs = <Run *>realloc(leaf.runs, room * sizeof(Run))
            if runs == NULL:
                return False
            leaf.runs = runs
            leaf.room = room
        at = place.index + 1
        memmove(&leaf.runs[at + 1], &leaf.runs[at], (leaf.count - at) * sizeof(Run))
        leaf.runs[at].start = start
        leaf.runs[at].stop = stop
        leaf.first = leaf.runs[0].start
        leaf.count += 1
        self.count += 1
        return True

    cdef bint split(self, Place *place) noexcept nogil:
        """Make a leaf for what goes in behind *place*: of the other half of a full one, or empty. False without memory."""
        cdef Leaf *leaves
        cdef Leaf *fresh
        cdef Run *runs
        cdef Py_ssize_t at = place.leaf + 1 if self.leaf_count else 0, kept = LEAF // 2, room
        cdef Py_ssize_t size = LEAF if self.leaf_count else 2
        if self.leaf_count == self.leaf_room:
            room = max(<Py_ssize_t>1, 2 * self.leaf_room)
            leaves = <Leaf *>realloc(self.leaves, room * sizeof(Leaf))
            if leaves == NULL:
                return False
            self.leaves = leaves
            self.leaf_room = room
        runs = <Run *>malloc(size * sizeof(Run))
        if runs == NULL:
            return False
        if at == self.leaf_count and (at == 0 or place.index == LEAF - 1):  # behind the last: runs that come in order
            kept = LEAF
        memmove(&self.leaves[at + 1], &self.leaves[at], (self.leaf_count - at) * sizeof(Leaf))
        fresh = &self.leaves[at]
        fresh.runs = runs
        fresh.room = size
        fresh.count = 0
        self.leaf_count += 1
        if kept < LEAF:
            fresh.count = LEAF - kept
            memcpy(runs, &self.leaves[at - 1].runs[kept], fresh.count * sizeof(Run))
            fresh.first = runs[0].start
            self.leaves[at - 1].count = kept
        if at == 0 or place.index >= kept or kept == LEAF:
            place.leaf = at
            place.index = place.index - kept if kept < LEAF else -1
        return True

    cdef void begin(self, Place place, int64_t start) noexcept nogil:
        """Let the run at *place* start at *start*."""
        self.run(place).start = start
        if place.index == 0:
            self.leaves[place.leaf].first = start

    cdef void take(self, Place first, Place last) noexcept nogil:
        """Take the runs from *first* to *last*, both included, out."""
        cdef Leaf *low = &self.leaves[first.leaf]
        cdef Leaf *high = &self.leaves[last.leaf]
        cdef Py_ssize_t index, to = first.index if first.leaf == last.leaf else 0, left = high.count - last.index - 1
        if first.leaf != last.leaf:
            self.count -= low.count - first.index
            low.count = first.index
            for index in range(first.leaf + 1, last.leaf):
                self.count -= self.leaves[index].count
        memmove(&high.runs[to], &high.runs[last.index + 1], left * sizeof(Run))
        self.count -= high.count - (to + left)
        high.count = to + left
        if high.count:
            high.first = high.runs[0].start
        index = first.leaf if low.count == 0 else first.leaf + 1
        self.drop_leaves(index, last.leaf + 1 if high.count == 0 else last.leaf)
        if not (self.join(first.leaf) or first.leaf == 0):
            self.join(first.leaf - 1)

    cdef void drop_leaves(self, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
        cdef Py_ssize_t leaf
        if low >= high:
            return
        for leaf in range(low, high):
            free(self.leaves[leaf].runs)
        memmove(&self.leaves[low], &self.leaves[high], (self.leaf_count - high) * sizeof(Leaf))
        self.leaf_count -= high - low

    cdef bint join(self, Py_ssize_t left) noexcept nogil:
        """Make one leaf of two that are less than half full together."""
        cdef Leaf *leaf
        cdef Leaf *other
        if left + 1 >= self.leaf_count:
            return False
        leaf, other = &self.leaves[left], &self.leaves[left + 1]
        if leaf.count + other.count > min(leaf.room, <Py_ssize_t>LEAF // 2):
            return False
        memcpy(&leaf.runs[leaf.count], other.runs, other.count * sizeof(Run))
        leaf.count += other.count
        self.drop_leaves(left + 1, left + 2)
        return True

    # What a set does.

    cdef int insert(self, int64_t start, int64_t stop) noexcept nogil:
        cdef Place low, high, first
        cdef Run *run
        cdef Run *other
        if start >= stop:
            return 0
        if self.count:  # the usual write: just behind the last one
            run = &self.leaves[self.leaf_count - 1].runs[self.leaves[self.leaf_count - 1].count - 1]
            if run.stop == start:
                run.stop = stop
                return 0
        low = first = self.last_from(start)
        run = self.run(low)
        if run != NULL and run.stop >= stop:
            return 0
        other = self.behind(&first)
        if other == NULL or other.start > stop:  # it meets none of those behind
            if run != NULL and run.stop >= start:
                run.stop = stop
                return 0
            if self.max_runs and self.count >= self.max_runs:
                return -2
            return 0 if self.put(low, start, stop) else -1
        high = self.last_from(stop)
        stop = max(stop, self.run(high).stop)
        if run != NULL and run.stop >= start:
            run.stop = stop
            self.take(first, high)
            return 0
        self.begin(first, start)
        other.stop = stop
        low = first
        self.behind(&first)
        if low.leaf != high.leaf or low.index != high.index:
            self.take(first, high)
        return 0

    cdef int remove(self, int64_t start, int64_t stop) noexcept nogil:
        cdef Place first, last
        cdef Run *run
        if start >= stop:
            return 0
        first = self.last_from(start)
        run = self.run(first)
        if run == NULL or run.start < start:
            if run != NULL and run.stop > stop:
                if not self.put(first, stop, run.stop):
                    return -1
                self.run(self.last_from(start)).stop = start  # the leaf may have been split
                return 0
            if run != NULL and run.stop > start:
                run.stop = start
            self.behind(&first)
        last = self.last_from(stop - 1)
        run = self.run(last)
        if run != NULL and run.start >= start and run.stop > stop:
            self.begin(last, stop)
            last = self.last_from(stop - 1)
            run = self.run(last)
        if run != NULL and run.start >= start:
            self.take(first, last)
        return 0

    cdef bint has(self, int64_t start, int64_t stop) noexcept nogil:
        return start >= stop or self.reach(start) >= stop

    cdef int64_t reach(self, int64_t start) noexcept nogil:
        cdef Run *run = self.run(self.last_from(start))
        return run.stop if run != NULL and run.stop > start else start

    cdef bint gap(self, int64_t start, int64_t stop, int64_t *gap_start, int64_t *gap_stop) noexcept nogil:
        cdef Place place = self.last_from(start)
        cdef Run *run = self.run(place)
        if run != NULL and run.stop > start:
            start = run.stop
        if start >= stop:
            return False
        run = self.behind(&place)
        gap_start[0] = start
        gap_stop[0] = stop if run == NULL else min(stop, run.start)
        return True

    cdef int64_t end(self) noexcept nogil:
        cdef Leaf *leaf
        if self.count == 0:
            return 0
        leaf = &self.leaves[self.leaf_count - 1]
        return leaf.runs[leaf.count - 1].stop

    cdef int64_t size(self) noexcept nogil:
        cdef int64_t total = 0
        cdef Py_ssize_t leaf, index
        for leaf in range(self.leaf_count):
            for index in range(self.leaves[leaf].count):
                total += self.leaves[leaf].runs[index].stop - self.leaves[leaf].runs[index].start
        return total

    cdef Run *snapshot(self, Py_ssize_t *count) noexcept nogil:
        """A copy of the runs, *count* of them."""
        cdef Run *copied = <Run *>malloc(max(<Py_ssize_t>1, self.count) * sizeof(Run))
        cdef Py_ssize_t leaf, at = 0
        if copied != NULL:
            for leaf in range(self.leaf_count):
                memcpy(&copied[at], self.leaves[leaf].runs, self.leaves[leaf].count * sizeof(Run))
                at += self.leaves[leaf].count
            count[0] = at
        return copied


cdef list pairs_of(Run *runs, Py_ssize_t count):
    """``[(start, stop), ...]`` of *runs*, which are freed."""
    cdef Py_ssize_t index
    cdef list pairs = []
    try:
        for index in range(count):
            pairs.append((runs[index].start, runs[index].stop))
    finally:
        free(runs)
    return pairs


cdef int _check(int64_t start, int64_t stop) except -1:
    if start < 0 or start > stop:
        raise ValueError(f"not a range: [{start}, {stop})")
    return 0
