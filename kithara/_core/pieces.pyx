"""Reads of no known size: a line, or everything that is left."""

from libc.stdint cimport int64_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from .head cimport NOW, SOME, WHOLE, Manner, ReadHead
from .outcome cimport ENDED, MISSING, READY, Outcome
from .store cimport raise_outcome
from .sync cimport kt_load, kt_replace, kt_store

cdef enum:
    LINE_PIECE = 1 << 13


cdef object gather_pieces(ReadHead head, int64_t limit, bint line, bint blocking):
    """Read piece by piece, so that memory follows the bytes: to *limit*, the end or, for a *line*, a newline.

    One read to others: the position moves at the end, or not at all, and a seek meanwhile makes it begin again.
    """
    cdef list pieces = []
    cdef object piece
    cdef int64_t epoch, position, size, kept = 0, got = 0, until = 0, most = LINE_PIECE if line else UNKNOWN_PIECE
    cdef int64_t cut = 0
    cdef char *into
    cdef Manner manner = NOW if not blocking else SOME if line else WHOLE
    cdef Outcome outcome
    cdef bint stale = True
    with nogil:
        outcome = head.hold()
    if outcome != READY:
        raise_outcome(head._store, outcome, kt_load(&head.position), kt_load(&head.position))
    try:
        while stale:
            epoch = kt_load(&head.level.epoch)  # before the position: see seek_to
            position = kt_load(&head.position)
            pieces.clear()
            kept = 0
            stale = False
            while not stale and (limit < 0 or kept < limit):
                size = most if limit < 0 else min(most, limit - kept)
                piece = PyBytes_FromStringAndSize(NULL, size)
                into = PyBytes_AS_STRING(piece)
                with nogil:
                    outcome = head.gather(position + kept, epoch, into, size, manner, &got, &until)
                stale = head.is_stale(outcome, epoch) or epoch != kt_load(&head.level.epoch)
                if stale:
                    break
                if not head.is_answer(outcome, got, manner):
                    if outcome == MISSING and kept:
                        break
                    kt_store(&head.cursor.position, position)
                    if outcome == MISSING:
                        head._store.nudge(position)
                        return None
                    head.check_outcome(-<int64_t>outcome, size)
                piece = piece if got == size else piece[:got]
                cut = piece.find(b"\n") + 1 if line else 0
                pieces.append(piece[:cut] if cut else piece)
                kept += cut if cut else got
                if cut or got == 0 or (outcome == ENDED and not line):
                    break
            # After a seek in this last moment the bytes are those of the old place, read just before it; a read
            # that glided past, without the turn, has taken the first of them.
            if not stale and not kt_replace(&head.position, position, position + kept):
                stale = epoch == kt_load(&head.level.epoch)
            if not stale:
                kt_store(&head.cursor.position, position + kept)
    finally:
        head.let_go()
    head.look_ahead(until)
    return b"".join(pieces)
