from libc.stdint cimport int64_t

from .head cimport ReadHead

cdef enum:
    UNKNOWN_PIECE = 1 << 18  # what is allocated at a time for bytes of which nobody knows how many will come


cdef object gather_pieces(ReadHead head, int64_t limit, bint line, bint blocking)
