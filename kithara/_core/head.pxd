cimport cython
from libc.stdint cimport int64_t

from .demand cimport Cursor
from .outcome cimport Outcome
from .store cimport Level, Store
from .sync cimport kt_load


cdef enum Manner:
    # What a read does about bytes that are not here.
    WHOLE = 0  # waits for all
    SOME = 1  # waits for the first, once
    NOW = 2  # never waits, takes what is here
    ALL_NOW = 3  # never waits, takes all or nothing


cdef class ReadHead:
    # For foreign modules: `read_into`, `read_some`, `try_read`, `seek_to`, `tell_now` and `wait_for` need no GIL and may be
    # called from any thread. A negative answer is a negated Outcome; `check_outcome` raises what it means.
    cdef Store _store
    cdef Cursor cursor  # what the store knows of us: moves piece by piece while a long read goes on
    cdef int64_t position  # atomic; moves when a read has succeeded
    cdef int64_t habit  # atomic; the size of the last read, at most a page: what to expect of the next
    cdef Level level
    cdef int64_t planned_start, planned_stop  # atomic: `want` for a place that the next seek goes to; -1: none
    cdef int64_t held  # atomic; 0 free, 1 in a call, 2 in a call and others wait for their turn
    cdef int64_t waits  # atomic; calls of wait_for under way
    cdef int64_t holder  # atomic; the thread in the call
    cdef int64_t attached  # atomic

    cdef int64_t read_into(self, char *into, int64_t size) noexcept nogil  # all of it, or up to the true end
    cdef int64_t read_some(self, char *into, int64_t size) noexcept nogil  # what is here after at most one wait
    cdef int64_t try_read(self, char *into, int64_t size) noexcept nogil  # never waits; -MISSING: nothing is here
    cdef int64_t seek_to(self, int64_t position) noexcept nogil  # never waits
    cdef int64_t tell_now(self) noexcept nogil
    cdef Outcome wait_for(self, int64_t start, int64_t stop, int64_t deadline) noexcept nogil
    cdef int check_outcome(self, int64_t answer, int64_t size) except -1

    cdef int64_t glide(self, char *into, int64_t size, int64_t expected) noexcept nogil
    cdef bint try_hold(self) noexcept nogil
    cdef Outcome hold(self) noexcept nogil
    cdef void let_go(self) noexcept nogil
    cdef void look_ahead(self, int64_t until) noexcept nogil
    cdef void afterwards(self, int64_t got, int64_t until) noexcept nogil
    cdef int64_t take(self, char *into, int64_t size, Manner manner, int64_t expected) noexcept nogil
    cdef int64_t turn(
        self, char *into, int64_t size, Manner manner, int64_t expected, int64_t *until
    ) noexcept nogil
    cdef bint is_stale(self, Outcome outcome, int64_t epoch) noexcept nogil
    cdef bint is_answer(self, Outcome outcome, int64_t got, Manner manner) noexcept nogil
    cdef Outcome gather(
        self, int64_t position, int64_t epoch, char *into, int64_t size, Manner manner, int64_t *got, int64_t *until
    ) noexcept nogil

    cdef int enter(self, Store store) except -1
    cdef bint leave(self) noexcept

    @cython.final
    cdef inline bint usable(self) noexcept nogil:
        """Whether it stands in an open store, in the process that opened it."""
        return not (kt_load(&self.level.closed) or kt_load(&self._store.shut) or self._store.is_forked())
