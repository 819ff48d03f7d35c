/* A byte ring between one producer and one consumer: no lock, no allocation, and epochs that a third thread may start.
 *
 * `head` holds the epoch in its upper 16 bits and, below, how many bytes were ever written; the producer publishes by one
 * compare-and-swap, which fails when an epoch began meanwhile: bytes of an old epoch never appear. `tail` is the
 * consumer's alone. Where an epoch begins is in `start`, stored before the head that names it.
 */
#ifndef KITHARA_RING_H
#define KITHARA_RING_H
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#ifdef __APPLE__
#include <dispatch/dispatch.h>
typedef dispatch_semaphore_t kt_signal;
static inline int kt_signal_open(kt_signal *s) { return (*s = dispatch_semaphore_create(0)) ? 0 : -1; }
static inline void kt_signal_close(kt_signal *s) { dispatch_release(*s); }
static inline void kt_signal_post(kt_signal *s) { dispatch_semaphore_signal(*s); }
static inline void kt_signal_wait(kt_signal *s, int64_t nanoseconds) {
    dispatch_semaphore_wait(*s, dispatch_time(DISPATCH_TIME_NOW, nanoseconds));
}
#else
#include <semaphore.h>
typedef sem_t kt_signal;
static inline int kt_signal_open(kt_signal *s) { return sem_init(s, 0, 0); }
static inline void kt_signal_close(kt_signal *s) { sem_destroy(s); }
static inline void kt_signal_post(kt_signal *s) { sem_post(s); }
static inline void kt_signal_wait(kt_signal *s, int64_t nanoseconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until); /* a step of the wall clock ends a wait early or late, and it is in a loop */
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec += nanoseconds % 1000000000;
    if (until.tv_nsec >= 1000000000) { until.tv_sec++; until.tv_nsec -= 1000000000; }
    sem_timedwait(s, &until);
}
#endif

#define KT_PLACE ((UINT64_C(1) << 48) - 1)

typedef struct {
    uint8_t *data;
    uint64_t mask; /* of the memory, a power of two */
    uint64_t capacity;
    _Atomic uint64_t head;      /* epoch << 48 | bytes ever written */
    _Atomic uint64_t start;     /* bytes written when head's epoch began */
    _Atomic uint64_t tail;      /* bytes ever read or skipped */
    _Atomic uint64_t origin;    /* what tail was when the consumer entered the epoch */
    _Atomic uint64_t entered;   /* the epoch the consumer is in */
    _Atomic uint64_t ended;     /* epoch + 1 whose last byte was written, 0 for none */
    _Atomic uint64_t underruns; /* times the consumer found too little in the middle of an epoch */
    _Atomic int primed;         /* the consumer got bytes of its epoch */
    _Atomic int hungry;         /* the producer waits for room */
    _Atomic int thirsty;        /* the consumer waits for bytes */
    kt_signal room, bytes;
} kt_ring;

static inline uint64_t kt_ring_underruns(kt_ring *r) { return atomic_load(&r->underruns); }
static inline uint64_t kt_ring_entered(kt_ring *r) { return atomic_load(&r->entered); }
static inline uint64_t kt_ring_consumed(kt_ring *r) { return atomic_load(&r->tail) - atomic_load(&r->origin); }
static inline uint64_t kt_ring_epoch(kt_ring *r) { return atomic_load(&r->head) >> 48; }

static inline void kt_ring_wake(_Atomic int *who, kt_signal *signal) {
    if (atomic_load_explicit(who, memory_order_seq_cst) && atomic_exchange(who, 0)) kt_signal_post(signal);
}

/* Start `epoch`: what is in the ring is stale. Any thread, one at a time. */
static inline void kt_ring_reset(kt_ring *r, uint64_t epoch) {
    uint64_t head = atomic_load(&r->head), next;
    do {
        atomic_store(&r->start, head & KT_PLACE);
        next = (epoch & 0xFFFF) << 48 | (head & KT_PLACE);
    } while (!atomic_compare_exchange_weak(&r->head, &head, next));
    kt_ring_wake(&r->hungry, &r->room);
    kt_ring_wake(&r->thirsty, &r->bytes);
}

/* Bytes that can be read now, of the newest epoch. */
static inline uint64_t kt_ring_readable(kt_ring *r) {
    uint64_t head = atomic_load(&r->head), start = atomic_load(&r->start), tail = atomic_load(&r->tail);
    uint64_t from = tail > start ? tail : start;
    return (head & KT_PLACE) > from ? (head & KT_PLACE) - from : 0;
}

/* Producer: room for bytes. What the consumer has not yet skipped still takes its place. */
static inline uint64_t kt_ring_writable(kt_ring *r) {
    return r->capacity - ((atomic_load(&r->head) & KT_PLACE) - atomic_load(&r->tail));
}

/* Producer: put up to n bytes of `epoch`; returns how many, -1 when another epoch has begun. */
static inline int64_t kt_ring_write(kt_ring *r, uint64_t epoch, const uint8_t *source, uint64_t n) {
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    if (head >> 48 != (epoch & 0xFFFF)) return -1;
    uint64_t room = kt_ring_writable(r), at = head & r->mask, first;
    if (n > room) n = room;
    if (!n) return 0;
    first = r->mask + 1 - at;
    if (first > n) first = n;
    memcpy(r->data + at, source, first);
    memcpy(r->data, source + first, n - first);
    if (!atomic_compare_exchange_strong(&r->head, &head, head + n)) return -1;
    kt_ring_wake(&r->thirsty, &r->bytes);
    return (int64_t)n;
}

/* Consumer: take up to n bytes of the newest epoch. Waits for nothing, calls nothing but memcpy and, when the producer
 * waits for room, the semaphore's post. */
static inline uint64_t kt_ring_read(kt_ring *r, uint8_t *target, uint64_t n) {
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed), at, first, here;
    if (head >> 48 != atomic_load_explicit(&r->entered, memory_order_relaxed)) {
        uint64_t start = atomic_load_explicit(&r->start, memory_order_acquire);
        if (start > (head & KT_PLACE)) return 0; /* a still newer epoch is about to begin */
        tail = start;
        atomic_store_explicit(&r->origin, start, memory_order_relaxed);
        atomic_store_explicit(&r->entered, head >> 48, memory_order_relaxed);
        atomic_store_explicit(&r->primed, 0, memory_order_relaxed);
        atomic_store_explicit(&r->tail, tail, memory_order_seq_cst);
        kt_ring_wake(&r->hungry, &r->room);
    }
    here = (head & KT_PLACE) - tail;
    if (n > here) n = here;
    if (!n) return 0;
    at = tail & r->mask;
    first = r->mask + 1 - at;
    if (first > n) first = n;
    memcpy(target, r->data + at, first);
    memcpy(target + first, r->data, n - first);
    atomic_store_explicit(&r->primed, 1, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + n, memory_order_seq_cst);
    kt_ring_wake(&r->hungry, &r->room);
    return n;
}

/* Producer: `epoch` has no more bytes. */
static inline void kt_ring_end(kt_ring *r, uint64_t epoch) {
    atomic_store(&r->ended, (epoch & 0xFFFF) + 1);
    kt_ring_wake(&r->thirsty, &r->bytes);
}

static inline int kt_ring_ended(kt_ring *r) { return atomic_load(&r->ended) == kt_ring_epoch(r) + 1; }

/* Consumer, for an audio callback: n bytes, silence where none are here; returns how many are true. */
static uint64_t kt_ring_fill(kt_ring *r, uint8_t *target, uint64_t n) {
    uint64_t got = kt_ring_read(r, target, n);
    if (got < n) {
        memset(target + got, 0, n - got);
        if (atomic_load_explicit(&r->primed, memory_order_relaxed) && !kt_ring_ended(r))
            atomic_fetch_add_explicit(&r->underruns, 1, memory_order_relaxed);
    }
    return got;
}

/* Producer: wait for `n` bytes of room, another epoch than `epoch`, or a wake-up. */
static inline void kt_ring_wait_room(kt_ring *r, uint64_t epoch, uint64_t n, int64_t nanoseconds) {
    atomic_store(&r->hungry, 1);
    if (kt_ring_writable(r) < n && kt_ring_epoch(r) == (epoch & 0xFFFF)) kt_signal_wait(&r->room, nanoseconds);
    atomic_store(&r->hungry, 0);
}

/* Consumer: wait for bytes, the end, or a wake-up. */
static inline void kt_ring_wait_bytes(kt_ring *r, int64_t nanoseconds) {
    atomic_store(&r->thirsty, 1);
    if (!kt_ring_readable(r) && !kt_ring_ended(r)) kt_signal_wait(&r->bytes, nanoseconds);
    atomic_store(&r->thirsty, 0);
}
#endif
