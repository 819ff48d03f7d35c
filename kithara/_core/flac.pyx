"""Where FLAC's frames begin and end (RFC 9639): their headers are checked by CRC-8, whole frames by CRC-16.

As in `frames`, every function looks at one buffer, and returns offsets into it.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t
from libc.string cimport memchr

cdef uint8_t[256] CRC8
cdef uint16_t[256] CRC16


cdef void make_tables() noexcept:
    cdef int i
    cdef unsigned int a, b
    for i in range(256):
        a = i
        b = i << 8
        for _ in range(8):
            a = (a << 1) ^ (0x07 if a & 0x80 else 0)
            b = (b << 1) ^ (0x8005 if b & 0x8000 else 0)
        CRC8[i] = a & 0xFF
        CRC16[i] = b & 0xFFFF


make_tables()


cdef struct FlacHeader:
    int64_t number
    int64_t block
    bint variable
    Py_ssize_t length


cdef bint flac_header(const uint8_t* p, Py_ssize_t n, FlacHeader* out) noexcept nogil:
    """RFC 9639, 9.1: a frame header whose CRC-8 holds."""
    cdef Py_ssize_t at = 4, i, extra
    cdef int block = p[2] >> 4, rate = p[2] & 15, first
    cdef int64_t number
    cdef uint8_t crc = 0
    if n < 6 or p[0] != 0xFF or (p[1] & 0xFE) != 0xF8 or block == 0 or rate == 15:
        return False
    if (p[3] >> 4) > 10 or (p[3] & 1) or ((p[3] >> 1) & 7) == 3:
        return False
    first = p[4]
    extra = 0
    if first < 0x80:
        number = first
    else:
        if first < 0xC0 or first == 0xFF:
            return False
        while first & (0x40 >> extra):
            extra += 1
        number = first & ((0x40 >> extra) - 1 if extra < 6 else 0)
    at = 5 + extra
    if n < at + 6:
        return False
    for i in range(extra):
        if (p[5 + i] & 0xC0) != 0x80:
            return False
        number = number << 6 | (p[5 + i] & 0x3F)
    if block == 6:
        out.block = p[at] + 1
        at += 1
    elif block == 7:
        out.block = (p[at] << 8 | p[at + 1]) + 1
        at += 2
    elif block == 1:
        out.block = 192
    elif block < 6:
        out.block = 576 << (block - 2)
    else:
        out.block = 256 << (block - 8)
    if rate == 12:
        at += 1
    elif rate >= 13:
        at += 2
    for i in range(at):
        crc = CRC8[crc ^ p[i]]
    if crc != p[at]:
        return False
    out.number = number
    out.variable = p[1] & 1
    out.length = at + 1
    return True


cdef inline int64_t flac_start(FlacHeader* h, int64_t fixed_block) noexcept nogil:
    return h.number if h.variable else h.number * (fixed_block if fixed_block else h.block)


cdef Py_ssize_t flac_next(const uint8_t* base, Py_ssize_t at, Py_ssize_t n, FlacHeader* here, Py_ssize_t least,
                          Py_ssize_t most, FlacHeader* found) noexcept nogil:
    """Where the frame after the one at *at* begins; -1 when its header is not within [at, n)."""
    cdef Py_ssize_t p = at + (least if least > here.length + 2 else here.length + 2)
    cdef int64_t wanted = here.number + (here.block if here.variable else 1)
    cdef const uint8_t* q
    while p < n:
        q = <const uint8_t*>memchr(base + p, 0xFF, n - p)
        if q == NULL:
            return -1
        p = q - base
        if (q[1] if p + 1 < n else 0) == (0xF8 | here.variable) and flac_header(q, n - p, found):
            # The wanted number settles it; another one is believed only where this frame cannot reach, behind damage.
            if found.number == wanted or (found.number > wanted and p - at > most):
                return p
        p += 1
    return -1


def flac_frames(const uint8_t[::1] data not None, Py_ssize_t at, int64_t fixed_block, Py_ssize_t least,
                Py_ssize_t most, bint final):
    """Split *data* from the frame header at *at*.

    Args:
        fixed_block: STREAMINFO's block size when it is one, else 0.
        least, most: STREAMINFO's bounds on a frame's bytes (0: unknown).

    Returns:
        ``(frames, at)``: ``(offset, size, first sample, samples)`` each, and where to go on.
    """
    cdef Py_ssize_t n = data.shape[0], after
    cdef FlacHeader here, found
    cdef list frames = []
    cdef const uint8_t* base
    if n == 0:
        return frames, at
    base = &data[0]
    if most <= 0:
        most = 1 << 17
    if at >= n or not flac_header(base + at, n - at, &here):
        return frames, at
    while True:
        after = flac_next(base, at, n, &here, least, most, &found)
        if after < 0:
            if final:
                frames.append((at, n - at, flac_start(&here, fixed_block), here.block))
                at = n
            return frames, at
        frames.append((at, after - at, flac_start(&here, fixed_block), here.block))
        at = after
        here = found


def flac_sync(const uint8_t[::1] data not None, Py_ssize_t at, int64_t fixed_block, Py_ssize_t least, Py_ssize_t most,
              bint final):
    """The first sure frame from *at* on: ``(offset, first sample, samples)``, or None.

    Sure is a header that the header of the next frame follows, or one whose CRC-16 holds up to the *final* end.
    """
    cdef Py_ssize_t n = data.shape[0], i
    cdef FlacHeader here, found
    cdef const uint8_t* base
    cdef const uint8_t* q
    cdef uint16_t crc
    if n == 0:
        return None
    base = &data[0]
    if most <= 0:
        most = 1 << 17
    while at < n:
        q = <const uint8_t*>memchr(base + at, 0xFF, n - at)
        if q == NULL:
            return None
        at = q - base
        if flac_header(q, n - at, &here):
            i = flac_next(base, at, n, &here, least, n, &found)
            if i >= 0:
                return at, flac_start(&here, fixed_block), here.block
            if final:
                crc = 0
                for i in range(at, n):
                    crc = <uint16_t>(crc << 8) ^ CRC16[(crc >> 8) ^ base[i]]
                if crc == 0:
                    return at, flac_start(&here, fixed_block), here.block
        at += 1
    return None
