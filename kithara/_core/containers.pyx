"""What the pages of an Ogg stream and the packets of a transport stream carry.

As in `frames`, every function looks at one buffer, and keeps no state.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef uint32_t[256] CRC32


cdef void make_table() noexcept:
    cdef int i
    cdef uint32_t c
    for i in range(256):
        c = <uint32_t>i << 24
        for _ in range(8):
            c = (c << 1) ^ (0x04C11DB7 if c & 0x80000000 else 0)
        CRC32[i] = c


make_table()


def lacing(const uint8_t[::1] table not None):
    """The packet sizes that a page's segment table tells: ``(sizes of packets that end here, bytes of one that goes on)``."""
    cdef Py_ssize_t size = 0, i
    cdef list sizes = []
    for i in range(table.shape[0]):
        size += table[i]
        if table[i] < 255:
            sizes.append(size)
            size = 0
    # A table that ends in 255 leaves a packet open, even one of no bytes yet.
    return sizes, size


def ogg_crc(const uint8_t[::1] page not None):
    """RFC 3533's checksum of a whole page whose checksum field counts as zero."""
    cdef uint32_t crc = 0
    cdef Py_ssize_t i
    cdef uint8_t byte
    for i in range(page.shape[0]):
        byte = 0 if 22 <= i < 26 else page[i]
        crc = (crc << 8) ^ CRC32[((crc >> 24) ^ byte) & 0xFF]
    return crc


def ts_payload(const uint8_t[::1] data not None, int pid, int counter):
    """The elementary stream of *pid* in *data*, which is 188-byte packets, up to where one is missing or damaged.

    Args:
        counter: What the next packet's continuity counter must be (ISO 13818-1, 2.4.3.3); -1 if any will do, -2 if all
            will: then damaged packets are passed over, and nothing ends the walk.

    Returns:
        ``(bytes, marks, used, counter, whole)``: the payload without PES headers; ``(offset in it, PTS or None, offset
        of the TS packet in data)`` where each PES begins; how much of *data* was walked; what to hand back in; and
        whether nothing was missing. Where something was, *used* is where to look for the next packet.
    """
    cdef Py_ssize_t n = data.shape[0] // 188 * 188, at = 0, p, stop, head_length
    cdef bint watched = counter > -2, jumps
    cdef int number
    cdef const uint8_t* t
    cdef bytearray out = bytearray()
    cdef list marks = []
    cdef int64_t pts
    while at < n:
        t = &data[at]
        if t[0] != 0x47:
            if watched:
                return bytes(out), marks, at, -1, False
        elif ((t[1] & 0x1F) << 8 | t[2]) == pid and t[3] & 0x10 and not t[1] & 0x80:
            p = 4 + (1 + t[4] if t[3] & 0x20 else 0)
            number = t[3] & 15
            if watched:
                jumps = t[3] & 0x20 and t[4] > 0 and t[5] & 0x80
                if counter >= 0 and number != counter and not jumps:
                    if number == (counter - 1) & 15:  # sent twice, as is allowed
                        at += 188
                        continue
                    return bytes(out), marks, at, -1, False
                counter = (number + 1) & 15
            stop = 188
            if p < stop:
                if t[1] & 0x40 and p + 9 <= stop and t[p] == 0 and t[p + 1] == 0 and t[p + 2] == 1:
                    head_length = 9 + t[p + 8]
                    if t[p + 7] & 0x80 and p + 14 <= stop:
                        pts = (<int64_t>(t[p + 9] >> 1 & 7) << 30 | <int64_t>t[p + 10] << 22
                               | <int64_t>(t[p + 11] >> 1) << 15 | t[p + 12] << 7 | t[p + 13] >> 1)
                        marks.append((len(out), pts, at))
                    else:
                        marks.append((len(out), None, at))
                    p += head_length
                if p < stop:
                    out += data[at + p:at + stop]
        at += 188
    return bytes(out), marks, n, counter, True
