"""Where frames begin and end in streams that only say so by sync words: MPEG audio, ADTS, AC-3.

Every function looks at one buffer and returns offsets into it; none keeps state, reads, or raises on bad media. What is
no frame is skipped: a caller sees it as a gap between two offsets.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr

cdef enum:
    MPEG = 0
    ADTS = 1
    DOLBY = 2

cdef int[15] BITRATES_1_2 = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384]
cdef int[15] BITRATES_1_3 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
cdef int[15] BITRATES_2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
cdef int[3] RATES = [44100, 48000, 32000]

# Kilobits a second by the code for a frame's size, halved (ATSC A/52:2018, table 5.18).
cdef int[19] AC3_BITRATES = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640]

# Bits that all frames of one stream share: sync, version, layer, rate / sync, profile, rate, channels.
cdef uint32_t MPEG_FIXED = 0xFFFE0C00
cdef uint32_t ADTS_FIXED = 0xFFF6FDC0

# Bytes that tell a frame's size and what it shares with the others.
cdef int[3] HEADER_BYTES = [4, 7, 8]


cdef inline uint32_t head(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef Py_ssize_t mpeg_size(const uint8_t* p) noexcept nogil:
    """The frame's bytes by its header, 0 for what is none (layer I and free format included)."""
    cdef uint32_t h = head(p)
    cdef int version = (h >> 19) & 3, layer = (h >> 17) & 3, code = (h >> 12) & 15, rate = (h >> 10) & 3
    cdef int bitrate, hertz
    if h >> 21 != 0x7FF or version == 1 or layer == 0 or layer == 3 or code == 0 or code == 15 or rate == 3:
        return 0
    hertz = RATES[rate] if version == 3 else RATES[rate] // 2 if version == 2 else RATES[rate] // 4
    if version == 3:
        bitrate = BITRATES_1_2[code] if layer == 2 else BITRATES_1_3[code]
    else:
        bitrate = BITRATES_2[code]
    return (144000 if layer == 2 or version == 3 else 72000) * bitrate // hertz + ((h >> 9) & 1)


cdef Py_ssize_t adts_size(const uint8_t* p) noexcept nogil:
    """*p* has 7 bytes."""
    cdef Py_ssize_t size
    if p[0] != 0xFF or (p[1] & 0xF6) != 0xF0 or ((p[2] >> 2) & 15) > 12:
        return 0
    size = (p[3] & 3) << 11 | p[4] << 3 | p[5] >> 5
    return size if size > 7 else 0


cdef Py_ssize_t dolby_size(const uint8_t* p) noexcept nogil:
    """An AC-3 or E-AC-3 frame's bytes (ATSC A/52:2018, 5.4.1 and E.1.3.1); *p* has 8 bytes."""
    cdef int rate = p[4] >> 6, code = p[4] & 63, stream = p[5] >> 3
    if p[0] != 0x0B or p[1] != 0x77 or stream > 16:
        return 0
    if stream > 10:
        if p[2] >> 6 == 3 or (rate == 3 and (p[4] >> 4 & 3) == 3):
            return 0
        return (((p[2] & 7) << 8 | p[3]) + 1) * 2
    if rate == 3 or code > 37:
        return 0
    if rate == 0:
        return AC3_BITRATES[code >> 1] * 4
    if rate == 2:
        return AC3_BITRATES[code >> 1] * 6
    return (AC3_BITRATES[code >> 1] * 96000 // 44100 + (code & 1)) * 2


cdef inline bint dolby_extends(const uint8_t* p) noexcept nogil:
    """Whether the E-AC-3 frame at *p* adds channels to the one before it: a dependent substream."""
    return p[0] == 0x0B and p[1] == 0x77 and 10 < p[5] >> 3 <= 16 and p[2] >> 6 == 1


cdef inline uint32_t shared(const uint8_t* p, int kind) noexcept nogil:
    """What all frames of a stream have in common with the one at *p*; never 0 for a frame."""
    if kind == MPEG:
        return head(p) & MPEG_FIXED
    if kind == ADTS:
        return head(p) & ADTS_FIXED
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | (p[4] & 0xC0) << 8 | (p[5] & 0xF8)


cdef inline Py_ssize_t frame_size(const uint8_t* p, int kind, uint32_t fixed) noexcept nogil:
    if fixed and shared(p, kind) != fixed:
        return 0
    if kind == DOLBY:
        return 0 if dolby_extends(p) else dolby_size(p)
    return mpeg_size(p) if kind == MPEG else adts_size(p)


cdef Py_ssize_t with_extensions(const uint8_t* base, Py_ssize_t at, Py_ssize_t n, Py_ssize_t size, bint final) noexcept nogil:
    """The E-AC-3 frame of *size* bytes at *at* together with those that extend it; -1 when that is not to be seen yet."""
    cdef Py_ssize_t more = 1
    while more and base[at + 5] >> 3 > 10:
        if at + size + 8 > n:
            return size if final else -1
        more = dolby_size(base + at + size) if dolby_extends(base + at + size) else 0
        size += more
    return size


cdef inline Py_ssize_t id3_at(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    if n < 10 or p[0] != 73 or p[1] != 68 or p[2] != 51 or p[6] >= 128 or p[7] >= 128 or p[8] >= 128 or p[9] >= 128:
        return 0
    return 10 + (<Py_ssize_t>p[6] << 21 | p[7] << 14 | p[8] << 7 | p[9]) + (10 if p[5] & 16 else 0)


def split(const uint8_t[::1] data not None, Py_ssize_t at, int kind, uint32_t fixed, bint final, bint synced):
    """Split *data* from *at* into frames of *kind* (`MPEG_AUDIO`, `ADTS_AUDIO`, `DOLBY_AUDIO`).

    E-AC-3's dependent substreams are part of the frame they extend.

    Args:
        fixed: What all frames of this stream share, or 0 to take the first that is followed by another.
        final: No byte will follow *data*.
        synced: *at* is where a frame must begin; else the first one must be confirmed by the frame after it.

    Returns:
        ``(frames, at, fixed, synced)``: a list of ``(offset, size)``, where to go on once more bytes are here (past the
        end of *data* when a tag is to be skipped), and the state to hand back in.
    """
    cdef Py_ssize_t n = data.shape[0], size, after, skip, need
    cdef const uint8_t* base
    cdef const uint8_t* found
    cdef list frames = []
    if not 0 <= kind < 3:
        raise ValueError(f"kind {kind}: out of range")
    if n == 0:
        return frames, at, fixed, synced
    need = HEADER_BYTES[kind]
    base = &data[0]
    while at + need <= n:
        size = frame_size(base + at, kind, fixed)
        if kind == DOLBY and size and at + size <= n:
            size = with_extensions(base, at, n, size, final)
            if size < 0:
                break
        if size and at + size <= n:
            if not synced:
                after = at + size
                if after + need <= n:
                    if not frame_size(base + after, kind, shared(base + at, kind)):
                        at += 1
                        continue
                elif not final:
                    break
                synced = True
            if not fixed:
                fixed = shared(base + at, kind)
            frames.append((at, size))
            at += size
            continue
        if size and not final:
            break
        skip = id3_at(base + at, n - at)
        if skip:
            at += skip
            continue
        synced = False
        found = <const uint8_t*>memchr(base + at + 1, 0x0B if kind == DOLBY else 0xFF, n - at - 1)
        at = n if found == NULL else found - base
        if n - at < need and not final:
            break
    return frames, at, fixed, synced


MPEG_AUDIO = MPEG
ADTS_AUDIO = ADTS
DOLBY_AUDIO = DOLBY
