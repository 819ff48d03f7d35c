"""A bounded ring of bytes between one writing and one reading thread, without locks; see ring.h."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport calloc, free

# A wait is cut into slices after which signals are looked at, so that Ctrl-C ends it.
cdef int64_t SLICE = 50_000_000


cdef class RingBuffer:
    """A ring of *capacity* bytes. One thread writes, one reads, any (one at a time) resets.

    Raises:
        ValueError: *capacity* is not positive.
        MemoryError: there is no memory for it.
    """

    def __cinit__(self, Py_ssize_t capacity):
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} bytes; it takes at least one")
        cdef size_t size = 1
        while size < <size_t>capacity:  # places wrap around by a mask
            size *= 2
        self.ring.data = <uint8_t*>calloc(size, 1)
        if self.ring.data == NULL:
            raise MemoryError(f"no memory for a ring of {capacity} bytes")
        self.ring.mask = size - 1
        self.ring.capacity = capacity
        if kt_signal_open(&self.ring.room) or kt_signal_open(&self.ring.bytes):
            raise OSError("no semaphore for a ring")

    def __dealloc__(self):
        if self.ring.data != NULL:
            free(self.ring.data)
            kt_signal_close(&self.ring.room)
            kt_signal_close(&self.ring.bytes)

    @property
    def capacity(self):
        """Bytes it can hold."""
        return self.ring.capacity

    @property
    def epoch(self):
        """The newest epoch, modulo 65 536."""
        return kt_ring_epoch(&self.ring)

    @property
    def readable(self):
        """Bytes of the newest epoch that are here."""
        return kt_ring_readable(&self.ring)

    @property
    def writable(self):
        """Bytes for which there is room."""
        return kt_ring_writable(&self.ring)

    @property
    def ended(self):
        """Whether the writer said that the newest epoch has no more."""
        return kt_ring_ended(&self.ring)

    @property
    def underruns(self):
        """How often `fill` found too little in the middle of an epoch."""
        return kt_ring_underruns(&self.ring)

    @property
    def entered(self):
        """``(epoch, bytes read of it)``: where the reader is."""
        return kt_ring_entered(&self.ring), kt_ring_consumed(&self.ring)

    def write(self, view, epoch=None):
        """Put in as much of *view* as there is room for; returns the bytes. Never waits.

        -1 when *epoch* is given and another one has begun: then nothing was put in.
        """
        cdef Py_buffer buffer
        cdef uint64_t number = kt_ring_epoch(&self.ring) if epoch is None else epoch
        cdef int64_t written
        PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
        with nogil:
            written = kt_ring_write(&self.ring, number, <const uint8_t*>buffer.buf, buffer.len)
        PyBuffer_Release(&buffer)
        return written

    def read_into(self, view):
        """Take as many bytes of the newest epoch as are here and fit *view*; returns how many. Never waits."""
        cdef Py_buffer buffer
        cdef uint64_t taken
        PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE | PyBUF_WRITABLE)
        taken = kt_ring_read(&self.ring, <uint8_t*>buffer.buf, buffer.len)
        PyBuffer_Release(&buffer)
        return taken

    def fill(self, view):
        """Fill all of *view*, with zeros where bytes are not here; returns how many are true. Never waits."""
        cdef Py_buffer buffer
        cdef uint64_t taken
        PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE | PyBUF_WRITABLE)
        taken = kt_ring_fill(&self.ring, <uint8_t*>buffer.buf, buffer.len)
        PyBuffer_Release(&buffer)
        return taken

    def reset(self, epoch):
        """Begin *epoch*: what is here is stale and will not be read. Never waits."""
        kt_ring_reset(&self.ring, epoch)

    def end(self, epoch):
        """Say that *epoch* has no more bytes."""
        kt_ring_end(&self.ring, epoch)

    def wait_room(self, epoch, size, double seconds):
        """Wait until *size* bytes fit, another epoch than *epoch* begins, `wake` is called, or *seconds* are over."""
        cdef uint64_t number = epoch, wanted = size
        cdef int64_t left = <int64_t>(seconds * 1e9)
        with nogil:
            kt_ring_wait_room(&self.ring, number, wanted, left)

    def wait_bytes(self, double seconds):
        """Wait until there is a byte or the end, `wake` is called, or *seconds* are over. Ctrl-C ends it."""
        cdef int64_t left = <int64_t>(seconds * 1e9)
        while left > 0 and not kt_ring_readable(&self.ring) and not kt_ring_ended(&self.ring):
            with nogil:
                kt_ring_wait_bytes(&self.ring, SLICE if left > SLICE else left)
            PyErr_CheckSignals()
            left -= SLICE

    def wake(self):
        """End the waits of both sides once."""
        kt_signal_post(&self.ring.room)
        kt_signal_post(&self.ring.bytes)
