"""Waiting for the GIL in place, where it comes back sooner than one could sleep."""

cdef extern from *:
    """
    #ifndef KITHARA_GIL
    #define KITHARA_GIL
    #include <stdint.h>

    /* Whether a thread took the GIL back behind a read and gave it up in none since. Who reads in a loop has it for well
       under a microsecond: to wait for that in place costs a tenth of going to sleep until it is free (measured: 13 us). A
       thread that keeps it longer, or has given it up elsewhere, is waited for like this once. */
    static int64_t kt_in_hand;
    static inline void kt_gil_given(void) { __atomic_store_n(&kt_in_hand, 0, __ATOMIC_RELAXED); }
    static inline void kt_gil_taken(void) {
    #ifndef Py_GIL_DISABLED
        __atomic_store_n(&kt_in_hand, 1, __ATOMIC_RELAXED);
    #endif
    }
    static inline void kt_gil_awaited(void) {
        for (int looks = 0; __atomic_load_n(&kt_in_hand, __ATOMIC_RELAXED); looks++) {
            if (looks == 50) {
                __atomic_store_n(&kt_in_hand, 0, __ATOMIC_RELAXED);
                return;
            }
    #if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
    #elif defined(__aarch64__)
            __asm__ volatile("isb");
    #endif
        }
    }
    #endif
    """
    void kt_gil_given() noexcept nogil
    void kt_gil_taken() noexcept nogil
    void kt_gil_awaited() noexcept nogil
