"""The monitor, the monotonic clock and the atomics that the core stands on.

Three laws of the monitor: never take the GIL while holding it; hold it for arithmetic only; every wait is a loop over
its predicate with a deadline. All C stands here verbatim, so that a foreign module can cimport the core without any
include path.
"""

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #ifndef KITHARA_SYNC
    #define KITHARA_SYNC
    #include <errno.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <time.h>
    #include <unistd.h>
    #ifdef __linux__
    #include <linux/futex.h>
    #include <sys/syscall.h>
    #endif

    /* The largest offset: any two of them can be added. */
    #define KT_MAX_OFFSET ((int64_t)1 << 62)

    /* A mutex and a condition that is only ever broadcast. On Linux that needs no more than a count of the broadcasts and
       the system's own wait for it to change, which wakes in fewer steps than a pthread condition. */
    #if defined(__linux__) && defined(__LP64__) && defined(SYS_futex) && defined(FUTEX_WAIT_BITSET_PRIVATE)
    #define KT_FUTEX
    #endif
    typedef struct {
        pthread_mutex_t mutex;
    #ifdef KT_FUTEX
        uint32_t changes; /* atomic; counts the broadcasts */
        uint32_t waiting; /* atomic; threads in a wait */
    #else
        pthread_cond_t changed;
    #endif
    } kt_monitor;

    static inline int kt_monitor_init(kt_monitor *m) {
    #ifdef KT_FUTEX
        m->changes = m->waiting = 0;
        return pthread_mutex_init(&m->mutex, NULL) ? -1 : 0;
    #else
        pthread_condattr_t attributes;
        if (pthread_mutex_init(&m->mutex, NULL)) return -1;
        if (pthread_condattr_init(&attributes)) return -1;
    #ifndef __APPLE__
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    #endif
        int failed = pthread_cond_init(&m->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        return failed ? -1 : 0;
    #endif
    }
    static inline void kt_monitor_destroy(kt_monitor *m) {
    #ifndef KT_FUTEX
        pthread_cond_destroy(&m->changed);
    #endif
        pthread_mutex_destroy(&m->mutex);
    }
    static inline void kt_lock(kt_monitor *m) { pthread_mutex_lock(&m->mutex); }
    static inline void kt_unlock(kt_monitor *m) { pthread_mutex_unlock(&m->mutex); }
    static inline void kt_broadcast(kt_monitor *m) {
    #ifdef KT_FUTEX
        /* Who waits has counted itself in before it let go of the mutex, under which what it waits for has changed. */
        __atomic_add_fetch(&m->changes, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&m->waiting, __ATOMIC_SEQ_CST))
            syscall(SYS_futex, &m->changes, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    #else
        pthread_cond_broadcast(&m->changed);
    #endif
    }

    /* Nanoseconds on the monotonic clock: exact, and the coarse one that costs a quarter (4 ms steps). */
    static inline int64_t kt_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static inline int64_t kt_now_coarse(void) {
    #ifdef CLOCK_MONOTONIC_COARSE
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    #else
        return kt_now();
    #endif
    }
    /* Wait for a broadcast, or until *when*; may end before either. */
    static inline void kt_wait_until(kt_monitor *m, int64_t when) {
    #ifdef KT_FUTEX
        uint32_t seen = __atomic_load_n(&m->changes, __ATOMIC_SEQ_CST);
        struct timespec t = {when / 1000000000, when % 1000000000};
        __atomic_add_fetch(&m->waiting, 1, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&m->mutex);
        syscall(SYS_futex, &m->changes, FUTEX_WAIT_BITSET_PRIVATE, seen, &t, NULL, FUTEX_BITSET_MATCH_ANY);
        __atomic_sub_fetch(&m->waiting, 1, __ATOMIC_SEQ_CST);
        pthread_mutex_lock(&m->mutex);
    #elif defined(__APPLE__)
        int64_t left = when - kt_now();
        struct timespec t = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
        pthread_cond_timedwait_relative_np(&m->changed, &m->mutex, &t);
    #else
        struct timespec t = {when / 1000000000, when % 1000000000};
        pthread_cond_timedwait(&m->changed, &m->mutex, &t);
    #endif
    }

    static inline int kt_on_main_thread(void) {
    #ifdef __linux__
        return (long)syscall(SYS_gettid) == (long)getpid();
    #else
        return pthread_main_np();
    #endif
    }
    static inline int64_t kt_thread(void) { return (int64_t)(uintptr_t)pthread_self(); }

    static inline int64_t kt_load(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void kt_store(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline int64_t kt_add(int64_t *p, int64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
    /* Adds without a lock: of two threads at once one may be forgotten. */
    static inline int64_t kt_tally(int64_t *p, int64_t v) {
        v += __atomic_load_n(p, __ATOMIC_RELAXED);
        __atomic_store_n(p, v, __ATOMIC_RELAXED);
        return v;
    }
    static inline int64_t kt_swap(int64_t *p, int64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int kt_replace(int64_t *p, int64_t old, int64_t v) {
        return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    /* Starts bringing memory near that will be read soon. Never faults. */
    static inline void kt_fetch_ahead(const void *at, int64_t size) {
        const char *line = at;
        for (; size > 192; size -= 256, line += 256) {
            __builtin_prefetch(line, 0, 3);
            __builtin_prefetch(line + 64, 0, 3);
            __builtin_prefetch(line + 128, 0, 3);
            __builtin_prefetch(line + 192, 0, 3);
        }
        for (; size > 0; size -= 64, line += 64) __builtin_prefetch(line, 0, 3);
    }
    static inline void kt_acquire_fence(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
    #endif
    """
    const int64_t KT_MAX_OFFSET
    ctypedef struct kt_monitor:
        pass

    int kt_monitor_init(kt_monitor *m) noexcept nogil
    void kt_monitor_destroy(kt_monitor *m) noexcept nogil
    void kt_lock(kt_monitor *m) noexcept nogil
    void kt_unlock(kt_monitor *m) noexcept nogil
    void kt_broadcast(kt_monitor *m) noexcept nogil
    void kt_wait_until(kt_monitor *m, int64_t when) noexcept nogil
    int64_t kt_now() noexcept nogil
    int64_t kt_now_coarse() noexcept nogil
    int kt_on_main_thread() noexcept nogil
    int64_t kt_thread() noexcept nogil
    int64_t kt_load(const int64_t *p) noexcept nogil
    void kt_store(int64_t *p, int64_t v) noexcept nogil
    int64_t kt_add(int64_t *p, int64_t v) noexcept nogil
    int64_t kt_tally(int64_t *p, int64_t v) noexcept nogil
    int64_t kt_swap(int64_t *p, int64_t v) noexcept nogil
    bint kt_replace(int64_t *p, int64_t old, int64_t v) noexcept nogil
    void kt_fetch_ahead(const void *at, int64_t size) noexcept nogil
    void kt_acquire_fence() noexcept nogil
