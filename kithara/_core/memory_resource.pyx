"""A resource in memory: blocks that come as they are written, and a table of them that only ever grows."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from .outcome cimport LATE, READY, Outcome
from .resource cimport Resource
from .sync cimport kt_acquire_fence, kt_load, kt_lock, kt_store, kt_unlock

cdef extern from *:
    """
    #include <string.h>

    /* memcpy over what others may be copying, in a ring: they find behind their copy that those bytes have passed, and
       drop them. It has a name of its own so that a race detector can be told of it (tests/tsan.supp). */
    static __attribute__((noinline)) void kt_overwrite(char *into, const char *from, size_t size) {
        memcpy(into, from, size);
        __asm__ volatile("" ::: "memory"); /* no tail call: the name stays on the stack */
    }
    """
    void kt_overwrite(char *into, const char *data, size_t size) noexcept nogil

cdef enum:
    BLOCK = 1 << 16


cdef class MemoryResource(Resource):
    """A `Resource` in memory, in blocks of 64 KiB that come as they are written.

    Args:
        length: Bytes in all, where known.
        limit: The most bytes of blocks; a write that needs more raises `NoSpace`. None: no limit.
    """

    def __init__(self, length=None, *, limit=None):
        self.limit = -1 if limit is None else limit
        self.prompt = True
        if length is not None:
            self.set_length(length)

    def __dealloc__(self):
        cdef char **table = <char **><uintptr_t>self.chunks
        cdef int64_t index
        if table != NULL:
            for index in range(self.chunk_count):
                free(table[index])
            _free_tables(table)

    cdef bint grow(self, int64_t count) noexcept nogil:
        """Make room for *count* blocks. Readers may be in the old table, so it is kept until the end."""
        cdef char **old = <char **><uintptr_t>self.chunks
        cdef int64_t larger = max(<int64_t>64, max(count, 2 * self.chunk_count))
        cdef char **table = <char **>calloc(larger + 1, sizeof(char *))
        if table == NULL:
            return False
        table += 1  # the word before a table leads to the one it replaced
        (table - 1)[0] = <char *>old
        if old != NULL:
            memcpy(table, old, self.chunk_count * sizeof(char *))
        self.chunk_count = larger
        kt_store(&self.chunks, <int64_t><uintptr_t>table)
        return True

    cdef int place(self, int64_t offset, const char *data, int64_t size) noexcept nogil:
        cdef int64_t capacity = kt_load(&self.capacity), at, part, index, first, last
        cdef char **table
        cdef bint enough = True
        if capacity and offset % capacity + size > capacity:  # over the end of the ring: in two
            part = capacity - offset % capacity
            index = self.place(offset, data, part)
            return index if index else self.place(offset + part, data + part, size - part)
        at = offset % capacity if capacity else offset
        first, last = at // BLOCK, (at + size - 1) // BLOCK
        kt_lock(&self.monitor)
        if last >= self.chunk_count:
            enough = self.grow(last + 1)
        table = <char **><uintptr_t>self.chunks
        if enough:
            for index in range(first, last + 1):
                if table[index] == NULL:
                    if self.limit >= 0 and self.held + BLOCK > self.limit:
                        enough = False
                        break
                    table[index] = <char *>malloc(BLOCK)
                    if table[index] == NULL:
                        enough = False
                        break
                    self.held += BLOCK
        kt_unlock(&self.monitor)
        if not enough:
            return ENOMEM
        while size > 0:
            part = min(size, BLOCK - at % BLOCK)
            if capacity:
                kt_overwrite(table[at // BLOCK] + at % BLOCK, data, part)
            else:
                memcpy(table[at // BLOCK] + at % BLOCK, data, part)
            at += part
            data += part
            size -= part
        return 0

    cdef Outcome copy(self, int64_t offset, char *into, int64_t size) noexcept nogil:
        cdef char **table = <char **><uintptr_t>kt_load(&self.chunks)
        cdef int64_t part, capacity = kt_load(&self.capacity), at, first = offset
        while size > 0:
            at = offset % capacity if capacity else offset
            part = min(size, BLOCK - at % BLOCK)
            if capacity:
                part = min(part, capacity - at)
            memcpy(into, table[at // BLOCK] + at % BLOCK, part)
            offset += part
            into += part
            size -= part
        kt_acquire_fence()
        return LATE if first < kt_load(&self.passed) else READY


cdef void _free_tables(char **table) noexcept nogil:
    cdef char **older
    while table != NULL:
        older = <char **>(table - 1)[0]
        free(table - 1)
        table = older
