"""Mappings that survive their file: a SIGBUS inside one of ours becomes an error instead of a dead process.

Reading a mapped page that another process truncated away raises SIGBUS, whatever mmap flags were used. The handler
marks the mapping poisoned and then puts anonymous zero pages over the rest of it, so the copy that faulted, and every
exported view, goes on; `guarded_copy` sees the mark and reports the loss. Faults elsewhere, and signals sent by
``kill``, go to whoever had the signal before. Nothing is installed before the first mapping.
"""

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #ifdef __linux__
    #include <sys/syscall.h>
    #endif
    #include <unistd.h>

    typedef struct { int64_t base, length, poisoned; } kt_mapping;

    /* Slots are never given back to the allocator: the handler may be walking them at any time. */
    enum { KT_BLOCK = 64 };
    typedef struct kt_block {
        kt_mapping slots[KT_BLOCK];
        struct kt_block *next;
    } kt_block;

    static kt_block kt_first_block;
    static pthread_mutex_t kt_slots_lock = PTHREAD_MUTEX_INITIALIZER;
    static struct sigaction kt_previous;
    static int64_t kt_page;

    /* The handler reads it. glibc may allocate a module's thread-locals on first use, which no handler may, unless they
       are of this model; musl gives every thread its own when the module is loaded, and refuses the model. */
    #ifdef __GLIBC__
    static __thread volatile int kt_copying __attribute__((tls_model("initial-exec")));
    #else
    static __thread volatile int kt_copying;
    #endif

    static kt_mapping *kt_find(int64_t address) {
        for (kt_block *block = &kt_first_block; block; block = __atomic_load_n(&block->next, __ATOMIC_ACQUIRE))
            for (int i = 0; i < KT_BLOCK; i++) {
                int64_t base = __atomic_load_n(&block->slots[i].base, __ATOMIC_ACQUIRE);
                int64_t length = __atomic_load_n(&block->slots[i].length, __ATOMIC_RELAXED);
                if (base && base <= address && address < base + length) return &block->slots[i];
            }
        return NULL;
    }

    /* The system call itself where that is possible: the function is not promised to be safe in a handler, and a race
       detector would take the pages it puts in place for a write that races with the copies, which it is meant to do. */
    static int kt_zeros(int64_t page, int64_t length) {
        void *at = (void *)(uintptr_t)page;
        int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
    #if defined(__linux__) && defined(SYS_mmap)
        return syscall(SYS_mmap, at, (size_t)length, PROT_READ, flags, -1, 0) == page;
    #else
        return mmap(at, (size_t)length, PROT_READ, flags, -1, 0) == at;
    #endif
    }

    static void kt_on_sigbus(int number, siginfo_t *info, void *context) {
        (void)context;
        if (info->si_code > 0) {
            int64_t address = (int64_t)(uintptr_t)info->si_addr;
            kt_mapping *mapping = kt_find(address);
            if (mapping) {
                int64_t page = address & ~(kt_page - 1);
                __atomic_store_n(&mapping->poisoned, 1, __ATOMIC_SEQ_CST); /* before the zeros can be seen */
                if (kt_zeros(page, __atomic_load_n(&mapping->length, __ATOMIC_RELAXED) - (page - mapping->base))) return;
            }
        } else if (kt_copying) {
            return; /* another handler sent our fault on; running the instruction again brings the real one */
        }
        sigaction(number, &kt_previous, NULL);
        if (info->si_code <= 0) raise(number);
    }

    static int kt_install(void) { /* with kt_slots_lock held */
        struct sigaction now, ours;
        if (sigaction(SIGBUS, NULL, &now)) return -1;
        if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == kt_on_sigbus) return 0;
        memset(&ours, 0, sizeof ours);
        ours.sa_sigaction = kt_on_sigbus;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigemptyset(&ours.sa_mask);
        if (sigaction(SIGBUS, &ours, NULL)) return -1;
        kt_previous = now;
        return 0;
    }

    static kt_mapping *kt_free_slot(void) {
        kt_block *block = &kt_first_block;
        for (;;) {
            for (int i = 0; i < KT_BLOCK; i++)
                if (!block->slots[i].base) return &block->slots[i];
            if (!block->next) {
                kt_block *fresh = calloc(1, sizeof *fresh);
                if (!fresh) return NULL;
                __atomic_store_n(&block->next, fresh, __ATOMIC_RELEASE);
            }
            block = block->next;
        }
    }

    static kt_mapping *kt_guard_map(int fd, size_t length) {
        if (!length) return NULL;
        pthread_mutex_lock(&kt_slots_lock);
        kt_page = sysconf(_SC_PAGESIZE);
        kt_mapping *mapping = kt_install() ? NULL : kt_free_slot();
        if (mapping) {
            void *base = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
            if (base == MAP_FAILED) {
                mapping = NULL;
            } else {
                __atomic_store_n(&mapping->length, (int64_t)length, __ATOMIC_RELAXED);
                __atomic_store_n(&mapping->poisoned, 0, __ATOMIC_RELEASE);
                __atomic_store_n(&mapping->base, (int64_t)(uintptr_t)base, __ATOMIC_RELEASE);
            }
        }
        pthread_mutex_unlock(&kt_slots_lock);
        return mapping;
    }

    static void kt_guard_unmap(kt_mapping *mapping) {
        pthread_mutex_lock(&kt_slots_lock);
        void *base = (void *)(uintptr_t)mapping->base;
        __atomic_store_n(&mapping->base, 0, __ATOMIC_RELEASE);
        munmap(base, (size_t)mapping->length);
        pthread_mutex_unlock(&kt_slots_lock);
    }

    static inline int kt_guarded_copy(kt_mapping *mapping, void *into, int64_t offset, size_t size) {
        kt_copying++;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        memcpy(into, (const char *)(uintptr_t)mapping->base + offset, size);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        kt_copying--;
        return !__atomic_load_n(&mapping->poisoned, __ATOMIC_ACQUIRE);
    }

    /* A forked child may have inherited the lock in another thread's hand. */
    static void kt_fresh_lock(void) { pthread_mutex_init(&kt_slots_lock, NULL); }
    static void kt_guard_at_fork(void) { pthread_atfork(NULL, NULL, kt_fresh_lock); }
    """
    ctypedef struct kt_mapping:
        pass
    kt_mapping *kt_guard_map(int fd, size_t length) noexcept nogil
    void kt_guard_unmap(kt_mapping *mapping) noexcept nogil
    bint kt_guarded_copy(kt_mapping *mapping, void *into, int64_t offset, size_t size) noexcept nogil
    void kt_guard_at_fork() noexcept nogil


cdef Mapping *guard_map(int fd, size_t length) noexcept nogil:
    return <Mapping *>kt_guard_map(fd, length)


cdef void guard_unmap(Mapping *mapping) noexcept nogil:
    kt_guard_unmap(<kt_mapping *>mapping)


cdef bint guarded_copy(Mapping *mapping, void *into, int64_t offset, size_t size) noexcept nogil:
    return kt_guarded_copy(<kt_mapping *>mapping, into, offset, size)


kt_guard_at_fork()
