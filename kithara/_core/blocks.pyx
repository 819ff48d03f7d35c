"""Packets cut out of a buffer by a table of places, or by the blocks of Matroska's clusters.

As in `frames`, nothing here keeps state, reads, or raises on bad media.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int64_t, uint8_t, uint64_t

cdef enum:
    TIMESTAMP = 0xE7
    SIMPLE_BLOCK = 0xA3
    BLOCK_GROUP = 0xA0
    BLOCK = 0xA1
    DISCARD_PADDING = 0x75A2
    SEGMENT = 0x18538067
    CLUSTER = 0x1F43B675
    MOST = 1 << 26  # bytes of an element: what claims more is damage

# Samples at 48 kHz of an Opus frame by its configuration number (RFC 6716, table 2).
cdef int[32] OPUS_FRAMES = [480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 480, 960,
                            120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960]


def cut(const uint8_t[::1] data not None, int64_t base, list places, Py_ssize_t first):
    """The packets ``(bytes, ticks)`` at *places* (offset, size, ticks) from the *first* on, as far as *data* has them.

    *base* is the offset of ``data[0]``; a place outside of *data* ends the list.
    """
    cdef Py_ssize_t n = data.shape[0], i = 0
    cdef int64_t offset, size
    cdef tuple place
    cdef list packets = []
    cdef const char* start = <const char*>&data[0] if n else NULL
    for i in range(first, len(places)):
        place = <tuple>places[i]
        offset, size = place[0], place[1]
        offset -= base
        if offset < 0 or size < 0 or offset + size > n:
            break
        packets.append((PyBytes_FromStringAndSize(start + offset, size), place[2]))
    return packets


def cut_sizes(const uint8_t[::1] data not None, Py_ssize_t at, list sizes, bint opus):
    """The packets ``(bytes, ticks)`` of *sizes*, one behind the other from *at* on; empty ones are left out.

    The ticks are 0 unless they are *opus*, which tell their own. What *data* does not hold as a whole ends the list.
    """
    cdef Py_ssize_t n = data.shape[0], size
    cdef list packets = []
    cdef const uint8_t* start = &data[0] if n else NULL
    for size in sizes:
        if at < 0 or size < 0 or at + size > n:
            break
        if size:
            packets.append((PyBytes_FromStringAndSize(<const char*>start + at, size),
                            opus_length(start + at, size) if opus else 0))
        at += size
    return packets


def run_places(const uint8_t[::1] data not None, Py_ssize_t at, Py_ssize_t count, int step, int duration_at, int size_at,
               int64_t duration, int64_t size, int64_t place):
    """The places (offset, size, ticks) of a track run's *count* packets, whose table is at *at* of *data*.

    Args:
        step: Bytes of an entry.
        duration_at, size_at: Where in an entry those stand, big-endian in four bytes; -1: all have *duration* or *size*.
        place: The offset of the first packet.

    Returns:
        ``(places, end, ticks)``: them, the offset behind the last, and the ticks of all.

    Raises:
        IndexError: the table is cut off.
    """
    cdef const uint8_t* p
    cdef int64_t ticks = 0
    cdef list places = []
    if at < 0 or count < 0 or step < 0 or (duration_at >= 0 and duration_at > step - 4) or \
            (size_at >= 0 and size_at > step - 4) or (step and count > (data.shape[0] - at) // step):
        raise IndexError(f"a table of {count} entries of {step} bytes at {at} of {data.shape[0]}")
    for _ in range(count):
        if step:
            p = &data[at]
            at += step
            if duration_at >= 0:
                duration = big(p + duration_at)
            if size_at >= 0:
                size = big(p + size_at)
        places.append((place, size, duration))
        place += size
        ticks += duration
    return places, place, ticks


cdef inline int64_t big(const uint8_t* p) noexcept nogil:
    return <int64_t>p[0] << 24 | <int64_t>p[1] << 16 | <int64_t>p[2] << 8 | p[3]


def opus_samples(const uint8_t[::1] packet not None):
    """Frames at 48 kHz that an Opus packet gives (RFC 6716, 3.1)."""
    return opus_length(&packet[0], packet.shape[0]) if packet.shape[0] else 0


cdef int64_t opus_length(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    cdef int code
    if n < 1:
        return 0
    code = p[0] & 3
    return OPUS_FRAMES[p[0] >> 3] * (1 if code == 0 else 2 if code < 3 else (p[1] & 63 if n > 1 else 0))


cdef struct Element:
    uint64_t id
    Py_ssize_t start
    Py_ssize_t stop


cdef inline int length_of(uint8_t first) noexcept nogil:
    """Bytes of a variable-length number by its first one; 9 for none."""
    cdef int width = 1
    while width < 9 and not first & (0x100 >> width):
        width += 1
    return width


cdef bint element_at(const uint8_t* base, Py_ssize_t at, Py_ssize_t n, Element* out) noexcept nogil:
    """The element whose header is at *at*; False when that is cut off or damaged. Of unknown size: a stop of -1."""
    cdef int width, length, i
    cdef uint64_t size
    if at >= n:
        return False
    width = length_of(base[at])
    if width > 4 or at + width >= n:
        return False
    length = length_of(base[at + width])
    if length > 8 or at + width + length > n:
        return False
    out.id = 0
    for i in range(width):
        out.id = out.id << 8 | base[at + i]
    size = base[at + width] & (0xFF >> length)
    for i in range(1, length):
        size = size << 8 | base[at + width + i]
    out.start = at + width + length
    if size == (<uint64_t>1 << 7 * length) - 1 or size > <uint64_t>1 << 60:
        out.stop = -1
    else:
        out.stop = out.start + <Py_ssize_t>size
    return True


def cluster_packets(const uint8_t[::1] data not None, Py_ssize_t at, int64_t number, int64_t cluster, bint fresh,
                    int64_t nominal, bint opus):
    """The packets of track *number* in *data*, which from *at* on is elements of a cluster, or clusters.

    Args:
        cluster: The time stamp of the cluster that *at* lies in.
        fresh: No block of that cluster was met yet.
        nominal: The ticks of a packet, unless they are *opus*, which tell their own.

    Returns:
        ``(packets, at, cluster, fresh, fresh, missing, block)``: ``(bytes, ticks)`` pairs; where to go on, past the end of
        *data* if something is to be skipped; the cluster there; how many bytes are missing for what begins at *at*, 0 if
        nothing is, -1 if no element is there; and the block that ended the list because it begins a cluster, has
        several packets or discards some of them: ``(stamp, start, stop, discarded nanoseconds)`` of its body, or None.
    """
    cdef Py_ssize_t n = data.shape[0], stop, i
    cdef const uint8_t* base
    cdef Element element, inner
    cdef int64_t discard, stamp, track
    cdef int width
    cdef list packets = []
    if n == 0:
        return packets, at, cluster, fresh, 12, None
    base = &data[0]
    while True:
        if at >= n:
            return packets, at, cluster, fresh, 0, None
        if not element_at(base, at, n, &element):
            return packets, at, cluster, fresh, 12 - (n - at) if n - at < 12 else -1, None
        if element.id == CLUSTER or element.id == SEGMENT:
            at = element.start
            continue
        if element.stop < 0 or element.stop - at > MOST:
            return packets, at, cluster, fresh, -1, None
        if element.id != TIMESTAMP and element.id != SIMPLE_BLOCK and element.id != BLOCK_GROUP:
            at = element.stop
            continue
        if element.stop > n:
            return packets, at, cluster, fresh, element.stop - n, None
        at = stop = element.stop
        if element.id == TIMESTAMP:
            cluster = 0
            for i in range(element.start, element.stop):
                cluster = <int64_t>(<uint64_t>cluster << 8 | base[i])
            fresh = True
            continue
        discard = 0
        if element.id == BLOCK_GROUP:
            i, stop = element.start, -1
            while i < element.stop and element_at(base, i, element.stop, &inner) and i < inner.stop <= element.stop:
                if inner.id == BLOCK:
                    element.start, stop = inner.start, inner.stop
                elif inner.id == DISCARD_PADDING and inner.start < inner.stop:
                    discard = <int64_t>(-1 if base[inner.start] & 0x80 else 0)
                    for i in range(inner.start, inner.stop):
                        discard = <int64_t>(<uint64_t>discard << 8 | base[i])
                i = inner.stop
        if stop - element.start < 5:
            continue
        width = length_of(base[element.start])
        if width > 8 or stop - element.start < width + 4:
            continue
        track = base[element.start] & (0xFF >> width)
        for i in range(1, width):
            track = track << 8 | base[element.start + i]
        if track != number:
            continue
        i = element.start + width
        stamp = cluster + <int16_t>(base[i] << 8 | base[i + 1])
        if fresh or discard or base[i + 2] & 6:
            return packets, at, cluster, False, 0, (stamp, i + 2, stop, discard)
        i += 3
        packets.append((PyBytes_FromStringAndSize(<const char*>base + i, stop - i),
                        opus_length(base + i, stop - i) if opus else nominal))
