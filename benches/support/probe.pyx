# cython: language_level=3, boundscheck=False, wraparound=False
"""The physical limits, in C: what a bench's peer cannot beat. Each call times itself and answers ns per step."""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from kithara._core.reader cimport SyncReader
from kithara._core.ring cimport RingBuffer, kt_ring_epoch, kt_ring_read, kt_ring_write
from kithara._core.sync cimport kt_load, kt_now, kt_store

cdef extern from *:
    """
    #include <pthread.h>
    #include <stdint.h>
    #include <time.h>
    #define kt_keep(p) __asm__ volatile("" : : "r"(p) : "memory")

    typedef struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
    } bell;
    static void bell_init(bell *b) {
        pthread_condattr_t attributes;
        pthread_mutex_init(&b->mutex, NULL);
        pthread_condattr_init(&attributes);
    #ifndef __APPLE__
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    #endif
        pthread_cond_init(&b->changed, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    static inline void bell_lock(bell *b) { pthread_mutex_lock(&b->mutex); }
    static inline void bell_unlock(bell *b) { pthread_mutex_unlock(&b->mutex); }
    static inline void bell_broadcast(bell *b) { pthread_cond_broadcast(&b->changed); }
    static inline void bell_wait_until(bell *b, int64_t when) {
    #ifdef __APPLE__
        (void)when;
        pthread_cond_wait(&b->changed, &b->mutex);
    #else
        struct timespec t = {when / 1000000000, when % 1000000000};
        pthread_cond_timedwait(&b->changed, &b->mutex, &t);
    #endif
    }
    """
    void kt_keep(void *p) noexcept nogil
    ctypedef struct bell:
        pass
    void bell_init(bell *b) noexcept nogil
    void bell_lock(bell *b) noexcept nogil
    void bell_unlock(bell *b) noexcept nogil
    void bell_broadcast(bell *b) noexcept nogil
    void bell_wait_until(bell *b, int64_t when) noexcept nogil


def copies(const unsigned char[::1] source, const int64_t[::1] offsets, int64_t size) -> float:
    """memcpy of *size* bytes from each offset of *source*."""
    cdef char *into = <char *>malloc(size)
    cdef int64_t index, began
    with nogil:
        began = kt_now()
        for index in range(offsets.shape[0]):
            memcpy(into, &source[offsets[index]], size)
            kt_keep(into)
        began = kt_now() - began
    free(into)
    return began / <double>offsets.shape[0]


def reads(SyncReader reader, const int64_t[::1] offsets, int64_t size) -> float:
    """seek and read of *size* bytes through the reader's C face."""
    cdef char *into = <char *>malloc(size)
    cdef int64_t index, began
    with nogil:
        began = kt_now()
        for index in range(offsets.shape[0]):
            reader.seek_to(offsets[index])
            reader.read_into(into, size)
        began = kt_now() - began
    free(into)
    return began / <double>offsets.shape[0]


def waits(SyncReader reader, int64_t count) -> float:
    """wait_range on bytes that are here, C to C."""
    cdef int64_t index, began
    with nogil:
        began = kt_now()
        for index in range(count):
            reader.wait_for(4096, 8192, began)
        began = kt_now() - began
    return began / <double>count


cdef class Bell:
    """A pthread condition and the time it was rung: how fast one thread can wake another at all."""

    cdef bell bell
    cdef int64_t rung
    cdef int64_t heard

    def __cinit__(self):
        bell_init(&self.bell)

    def ring(self) -> None:
        bell_lock(&self.bell)
        kt_store(&self.rung, kt_now())
        bell_broadcast(&self.bell)
        bell_unlock(&self.bell)

    def wait(self) -> float:
        """Wait for the next ring; ns from it to here."""
        cdef int64_t rung
        with nogil:
            bell_lock(&self.bell)
            while kt_load(&self.rung) <= self.heard:
                bell_wait_until(&self.bell, kt_now() + 1_000_000_000)
            rung = kt_now() - self.rung
            self.heard = self.rung
            bell_unlock(&self.bell)
        return rung


def write(store, int64_t offset, data) -> int:
    """The monotonic time in ns just before ``store.write_at(offset, data)``, which is done."""
    write_at = store.write_at
    cdef int64_t began = kt_now()
    write_at(offset, data)
    return began


def woken(SyncReader reader) -> int:
    """Read one byte that is not here yet; the monotonic time in ns when it has come."""
    cdef char byte
    cdef int64_t now
    with nogil:
        reader.read_into(&byte, 1)
        now = kt_now()
    return now


def rounds(RingBuffer ring, int64_t count, int64_t size) -> float:
    """*size* bytes into the ring and out again, through its C face."""
    cdef uint8_t *there = <uint8_t *>malloc(2 * size)
    cdef uint8_t *back = there + size
    cdef int64_t index, began
    memset(there, 1, 2 * size)
    with nogil:
        began = kt_now()
        for index in range(count):
            kt_ring_write(&ring.ring, kt_ring_epoch(&ring.ring), there, size)
            kt_ring_read(&ring.ring, back, size)
            kt_keep(back)
        began = kt_now() - began
    free(there)
    return began / <double>count


def twice(int64_t capacity, int64_t count, int64_t size) -> float:
    """memcpy of *size* bytes to the next place of *capacity* bytes of memory, and out again."""
    cdef char *between = <char *>calloc(capacity, 1)
    cdef char *there = <char *>malloc(2 * size)
    cdef char *back = there + size
    cdef int64_t index, began
    memset(there, 1, 2 * size)
    with nogil:
        began = kt_now()
        for index in range(count):
            memcpy(between + index * size % capacity, there, size)
            kt_keep(between)
            memcpy(back, between + index * size % capacity, size)
            kt_keep(back)
        began = kt_now() - began
    free(between)
    free(there)
    return began / <double>count
