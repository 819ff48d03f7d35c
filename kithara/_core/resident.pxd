"""Which pages of a mapping are in memory, as far as that was seen lately: to copy them meets no disk.

The system is asked (mincore) about 64 KiB at once, and what it said is believed for a second. A page that is dropped
within that second costs one wait for the disk that was not foreseen.
"""

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #ifndef KITHARA_RESIDENT
    #define KITHARA_RESIDENT
    #include <stdint.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <unistd.h>

    enum { KT_NEIGHBOURS = 1 << 16 };
    #define KT_BELIEVED 1000000000

    typedef struct {
        uint64_t *seen; /* atomic; a bit for each KT_NEIGHBOURS bytes; NULL: nothing is known, ever */
        int64_t words;
        int64_t since; /* atomic; when the first bit was set, on the coarse clock */
    } kt_resident;

    static inline void kt_resident_init(kt_resident *r, int64_t length) {
        r->words = length / KT_NEIGHBOURS / 64 + 1;
        r->seen = calloc(r->words, sizeof *r->seen);
    }

    /* Ask about the pages of [start, stop) of the mapping of *length* bytes at *base*. 2: they and their neighbours are in
       memory, 1: they are, 0: not all. *start* and *stop* lie within one neighbourhood. */
    static inline int kt_resident_ask(const char *base, int64_t length, int64_t start, int64_t stop) {
        static int64_t page;
        unsigned char here[KT_NEIGHBOURS / 4096];
        int64_t low = start / KT_NEIGHBOURS * KT_NEIGHBOURS, high = low + KT_NEIGHBOURS, at;
        int all = 2;
        int64_t size = __atomic_load_n(&page, __ATOMIC_RELAXED);
        if (!size) {
            size = sysconf(_SC_PAGESIZE);
            __atomic_store_n(&page, size, __ATOMIC_RELAXED);
        }
        if (size < 4096 || size > KT_NEIGHBOURS) return 0;
        if (high > length) high = length;
        if (mincore((void *)(base + low), high - low, (void *)here)) return 0;
        for (at = low; at < high; at += size)
            if (!(here[(at - low) / size] & 1)) {
                if (at < stop && at + size > start) return 0;
                all = 1;
            }
        return all;
    }

    /* Whether [start, start + size) is in memory. Asks the system where that was not seen lately. */
    static inline int kt_resident_has(
        kt_resident *r, const char *base, int64_t length, int64_t start, int64_t size, int64_t now
    ) {
        int64_t stop = start + size, index, next;
        if (!r->seen) return 0;
        if (now - __atomic_load_n(&r->since, __ATOMIC_RELAXED) > KT_BELIEVED) {
            __atomic_store_n(&r->since, now, __ATOMIC_RELAXED);
            for (index = 0; index < r->words; index++) __atomic_store_n(&r->seen[index], 0, __ATOMIC_RELAXED);
        }
        for (; start < stop; start = next) {
            index = start / KT_NEIGHBOURS;
            next = (index + 1) * KT_NEIGHBOURS;
            uint64_t bit = (uint64_t)1 << (index & 63);
            if (__atomic_load_n(&r->seen[index >> 6], __ATOMIC_RELAXED) & bit) continue;
            int here = kt_resident_ask(base, length, start, stop < next ? stop : next);
            if (!here) return 0;
            if (here == 2) __atomic_fetch_or(&r->seen[index >> 6], bit, __ATOMIC_RELAXED);
        }
        return 1;
    }
    #endif
    """
    ctypedef struct kt_resident:
        void *seen
    void kt_resident_init(kt_resident *r, int64_t length) noexcept nogil
    bint kt_resident_has(
        kt_resident *r, const char *base, int64_t length, int64_t start, int64_t size, int64_t now
    ) noexcept nogil
