from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef extern from "ring.h" nogil:
    ctypedef struct kt_signal:
        pass
    ctypedef struct kt_ring:
        uint8_t* data
        uint64_t mask
        uint64_t capacity
        kt_signal room
        kt_signal bytes
    int kt_signal_open(kt_signal* signal) noexcept
    void kt_signal_close(kt_signal* signal) noexcept
    void kt_signal_post(kt_signal* signal) noexcept
    uint64_t kt_ring_underruns(kt_ring* ring) noexcept
    uint64_t kt_ring_entered(kt_ring* ring) noexcept
    uint64_t kt_ring_consumed(kt_ring* ring) noexcept
    uint64_t kt_ring_epoch(kt_ring* ring) noexcept
    void kt_ring_reset(kt_ring* ring, uint64_t epoch) noexcept
    uint64_t kt_ring_readable(kt_ring* ring) noexcept
    uint64_t kt_ring_writable(kt_ring* ring) noexcept
    int64_t kt_ring_write(kt_ring* ring, uint64_t epoch, const uint8_t* source, uint64_t size) noexcept
    uint64_t kt_ring_read(kt_ring* ring, uint8_t* target, uint64_t size) noexcept
    uint64_t kt_ring_fill(kt_ring* ring, uint8_t* target, uint64_t size) noexcept
    void kt_ring_end(kt_ring* ring, uint64_t epoch) noexcept
    bint kt_ring_ended(kt_ring* ring) noexcept
    void kt_ring_wait_room(kt_ring* ring, uint64_t epoch, uint64_t size, int64_t nanoseconds) noexcept
    void kt_ring_wait_bytes(kt_ring* ring, int64_t nanoseconds) noexcept


cdef class RingBuffer:
    # One thread writes, one thread reads; reset may come from any, one at a time. All state is in `ring`, atomic.
    cdef kt_ring ring
    cdef object __weakref__
