"""Where frames begin and end in streams that only say so by sync words: MPEG audio, ADTS, AC-3, FLAC; plus Ogg and TS.

Every function looks at one buffer and returns offsets into it; none keeps state, reads, or raises on bad media. What is
no frame is skipped: a caller sees it as a gap between two offsets.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
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

# ── FLAC ──────────────────────────────────────────────────────────────────────────────────────────────────────────

cdef uint8_t[256] CRC8
cdef uint16_t[256] CRC16
cdef uint32_t[256] CRC32


cdef void make_tables() noexcept:
    cdef int i
    cdef uint32_t a, b, c
    for i in range(256):
        a = i
        b = i << 8
        c = <uint32_t>i << 24
        for _ in range(8):
            a = (a << 1) ^ (0x07 if a & 0x80 else 0)
            b = (b << 1) ^ (0x8005 if b & 0x8000 else 0)
            c = (c << 1) ^ (0x04C11DB7 if c & 0x80000000 else 0)
        CRC8[i] = a & 0xFF
        CRC16[i] = b & 0xFFFF
        CRC32[i] = c


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


# ── Ogg ───────────────────────────────────────────────────────────────────────────────────────────────────────────

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


# ── MPEG transport stream ─────────────────────────────────────────────────────────────────────────────────────────

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
