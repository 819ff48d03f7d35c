"""A seekable file object over a store: it waits for what is missing and never commands."""

import functools
import io
import warnings

cimport cython
from libc.stdint cimport int64_t

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_Index

from .gil cimport kt_gil_awaited, kt_gil_given, kt_gil_taken
from .head cimport ALL_NOW, NOW, SOME, WHOLE, Manner, ReadHead
from .outcome cimport INTERRUPTED, LATE, MISSING, READY, Outcome, check_range, deadline_after
from .pieces cimport UNKNOWN_PIECE, gather_pieces
from .store cimport Store, raise_outcome, wait_outcome
from .sync cimport KT_MAX_OFFSET, kt_load, kt_replace, kt_store

from .. import errors

cdef extern from *:
    """
    static inline int kt_raise_what_is_set(void) { return -1; }
    """
    int kt_raise_what_is_set() except -1
    int kt_log2 "__builtin_ctzll"(unsigned long long of) noexcept nogil
    int kt_get_buffer "PyObject_GetBuffer"(object of, Py_buffer *view, int flags) noexcept  # -1: an exception is set

# The sizes that are asked for are mostly powers of two: an int of them is at hand, and not made for each answer.
cdef tuple _POWERS = tuple(1 << power for power in range(63))

_adapt = None


def adapt_sources_with(adapter) -> None:
    """Set what turns a source that is no store into one: ``adapter(source, params) -> (store, media, close)``."""
    global _adapt
    _adapt = adapter


cdef int _refuse_buffer(object buffer) except -1:
    """With the exception set that `kt_get_buffer` left: raise what a file raises."""
    try:
        kt_raise_what_is_set()
    except BufferError as error:
        raise TypeError(f"a read-write bytes-like object is required, not {type(buffer).__name__}") from error
    return 0


def _made_again(recipe, position) -> SyncReader:
    reader = recipe()
    reader.seek(position)
    return reader


@cython.final
cdef class SyncReader(ReadHead):
    """A seekable, read-only binary file over bytes that are still arriving.

    Args:
        source: A store, a source that carries one (attribute ``store``), or any `kithara.source.Source`.
        params: A `kithara.SyncReaderParams`.
        media: What is known of codec and container.
        release_gil: ``"auto"``: a small read of bytes that are here keeps the GIL; ``"always"`` gives it up every time.

    In blocking mode a short answer means the end and nothing else: `read` and `readinto` wait for all that was asked.
    `read1` and `readinto1` answer what is here after at most one wait. With ``blocking=False`` in *params* no read waits:
    None means that nothing is here yet. A read that fails raises and leaves the position where it was.

    Threads: calls of one reader are serialised; `seek`, `interrupt` and `close` never wait for a read. Ctrl-C ends a
    wait on the main thread. Readers must be closed; a forgotten one warns.
    """

    def __cinit__(self, *args, **kwargs):
        self.closers = []

    def __init__(self, source, params=None, *, media=None, str release_gil="auto"):
        if self._store is not None:
            raise ValueError("already open")
        if release_gil not in ("auto", "always"):
            raise ValueError(f"release_gil={release_gil!r}: expected 'auto' or 'always'")
        self.is_blocking = True if params is None else params.blocking
        self.always_release = release_gil == "always"
        store = source if isinstance(source, Store) else getattr(source, "store", None)
        if not isinstance(store, Store):
            if _adapt is None:
                raise TypeError(f"{type(source).__name__} is neither a store nor a source")
            store, adapted_media, close = _adapt(source, params)
            media = adapted_media if media is None else media
            self.closers.append(close)
        elif media is None:
            media = getattr(source, "media", None)
        self.media = media
        self.origin = (source, params)
        self.enter(store)

    def __del__(self):
        if not kt_load(&self.level.closed):
            warnings.warn(f"unclosed reader {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if kt_load(&self.level.closed) else f"at {kt_load(&self.position)}"
        label = "" if self._store is None or self._store.label is None else f" {self._store.label}"
        return f"<SyncReader{label} {state}>"

    # What is known.

    @property
    def store(self) -> Store:
        """The store that is read."""
        return self._store

    @property
    def length(self):
        """Bytes in all, or None while unknown."""
        return self._store.length

    @property
    def status(self) -> str:
        """``"active"``, ``"committed"``, ``"failed"`` or ``"cancelled"``."""
        return self._store.status

    @property
    def epoch(self) -> int:
        """Counts the seeks. What was read under an older one is stale."""
        return kt_load(&self.level.epoch)

    @property
    def blocking(self) -> bool:
        return self.is_blocking

    @property
    def closed(self) -> bool:
        return kt_load(&self.level.closed) != 0

    @property
    def mode(self) -> str:
        return "rb"

    def available_ranges(self) -> list:
        """What is here now: ``[(start, stop), ...]`` in order."""
        return self._store.available_ranges()

    def contains_range(self, int64_t start, int64_t stop) -> bool:
        """Whether all of ``[start, stop)`` is here now."""
        return self._store.contains_range(start, stop)

    def wait_range(self, int64_t start, int64_t stop, timeout=None):
        """Wait until ``[start, stop)`` is here or cannot come; see `Store.wait_range`. Closing the reader ends it."""
        cdef int64_t deadline = deadline_after(timeout)
        cdef Outcome outcome
        check_range(start, stop)
        self._open()
        with nogil:
            outcome = self.wait_for(start, stop, deadline)
        return wait_outcome(self._store, outcome, start, stop)

    def want(self, int64_t start, int64_t stop) -> None:
        """Say that of what follows *start* no more than up to *stop* will be read soon, so that no more is fetched.

        *start* is the position, or where the next seek goes: said before it, no more is fetched at any moment.
        Holds until the reader passes *stop* or seeks again; then the usual look-ahead goes on.
        """
        check_range(start, stop)
        if start == kt_load(&self.position):
            kt_store(&self.cursor.hint_stop, stop)
        kt_store(&self.planned_stop, stop)
        kt_store(&self.planned_start, start)

    # Reading.

    @cython.binding(False)
    def read(self, size=-1):
        """Up to *size* bytes: all of them, unless the true end comes first. None or negative: everything left.

        Returns:
            bytes; ``b""`` only at the end (or for ``size=0``). None in non-blocking mode when nothing is here.

        Raises:
            KitharaError: the source failed, or the reader was closed, cancelled or interrupted meanwhile.
        """
        cdef int64_t wanted = -1 if size is None else PyNumber_Index(size)
        if wanted < 0:
            return self.readall()
        return self._read(wanted, True)

    def read1(self, size=-1):
        """What is here after at most one wait: at least a byte unless at the end, at most *size* (default 64 KiB)."""
        cdef int64_t wanted = -1 if size is None else PyNumber_Index(size)
        return self._read(RELEASE_FROM if wanted < 0 else wanted, False)

    def readall(self):
        """Everything from the position to the true end."""
        self._open()
        return self._read(KT_MAX_OFFSET, True)

    @cython.binding(False)
    def readinto(self, buffer):
        """Fill *buffer* (writable, contiguous): all of it, unless the true end comes first.

        Returns:
            How many bytes were put in, 0 only at the end. None in non-blocking mode when nothing is here.
        """
        return self._readinto(buffer, True)

    def readinto1(self, buffer):
        """Put what is here after at most one wait into *buffer*."""
        return self._readinto(buffer, False)

    def readline(self, size=-1):
        """The bytes up to and with the next newline, at most *size* of them."""
        self._open()
        return gather_pieces(self, -1 if size is None else PyNumber_Index(size), True, self.is_blocking)

    def readlines(self, hint=-1) -> list:
        """The lines that are left; at least *hint* bytes of them, when that is positive."""
        cdef int64_t enough = -1 if hint is None else PyNumber_Index(hint)
        cdef int64_t kept = 0
        cdef list lines = []
        for line in self:
            lines.append(line)
            kept += len(line)
            if 0 < enough <= kept:
                break
        return lines

    def __iter__(self):
        self._open()
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    # Going elsewhere.

    @cython.binding(False)
    def seek(self, offset, int whence=0) -> int:
        """Go to *offset* from the start (0), the position (1) or the end (2). Never waits; past the end is allowed.

        Raises:
            InvalidSeek: the position would be negative, or beyond 2**62.
            UnknownLength: from the end, while that is not known.
            SeekNotSupported: the source can only be read forwards, and those bytes have passed.
        """
        cdef int64_t target, length, answer
        if not self.usable():
            self._open()
        offset = PyNumber_Index(offset)
        if whence == 0:
            target = offset
        elif whence == 1:
            target = kt_load(&self.position) + offset
        elif whence == 2:
            length = self._store.length_now()
            if length < 0:
                raise errors.UnknownLength("the length is not known yet", url=self._store.label, operation="seeking")
            target = length + offset
        else:
            raise ValueError(f"whence={whence}: expected 0, 1 or 2")
        answer = self.seek_to(target)
        if answer < 0:
            if answer == -INTERRUPTED:
                raise errors.InvalidSeek(f"no position in a file: {target}", url=self._store.label, operation="seeking")
            raise_outcome(self._store, <Outcome>(-answer), target, target)
        return offset if whence == 0 else target  # the number that is there: a new one takes longer than the seek

    def tell(self) -> int:
        """The position."""
        self._open()
        return kt_load(&self.position)

    def interrupt(self, epoch=None) -> None:
        """End every wait of an epoch below *epoch* (default: all until the next seek), also one that begins later.

        The waiting call raises `kithara.errors.Interrupted`. May be called from any thread; never waits.
        """
        cdef int64_t floor = kt_load(&self.level.epoch) + 1 if epoch is None else epoch
        cdef int64_t before = kt_load(&self.level.floor)
        while before < floor and not kt_replace(&self.level.floor, before, floor):
            before = kt_load(&self.level.floor)
        if not self._store.is_forked():
            self._store.wake()

    def duplicate(self) -> SyncReader:
        """Another reader of the same bytes, at 0, with a life of its own. It ends with what feeds this one."""
        self._open()
        cdef SyncReader other = SyncReader(*self.origin, media=self.media)
        other.is_blocking = self.is_blocking
        other.always_release = self.always_release
        other.recipe = self.recipe
        return other

    def __reduce__(self):
        """A recipe: the process that unpickles it opens the same anew, at this position. No connection is sent.

        A reader of a source goes as its source does.
        """
        self._open()
        recipe = self.recipe
        if recipe is None:
            if isinstance(self.origin[0], Store):
                raise TypeError(f"{self!r} cannot be pickled: it reads a store, which nobody could open elsewhere")
            recipe = functools.partial(SyncReader, *self.origin, media=self.media)
        return _made_again, (recipe, kt_load(&self.position))

    # The rest of what a raw file has.

    def on_close(self, callback) -> None:
        """Call *callback* once when the reader closes; last given, first called. `close` raises what it raises."""
        self.closers.append(callback)

    def close(self) -> None:
        """Give the reader up; a read that waits in another thread raises `kithara.errors.Closed`. May be repeated."""
        cdef object failure = None
        if not self.leave():
            return
        while self.closers:
            try:
                self.closers.pop()()
            except BaseException as error:  # the others have to be called, too
                failure = error if failure is None else failure
        if failure is not None:
            raise failure

    def readable(self) -> bool:
        self._open()
        return True

    def seekable(self) -> bool:
        """True once the length is known, unless the source can only be read forwards."""
        self._open()
        return not self._store.forward_only and self._store.length_now() >= 0

    def writable(self) -> bool:
        self._open()
        return False

    def isatty(self) -> bool:
        self._open()
        return False

    def flush(self) -> None:
        self._open()

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno: the file has holes that only read() fills")

    def detach(self):
        raise io.UnsupportedOperation("detach")

    def write(self, data) -> int:
        raise io.UnsupportedOperation("write: not writable")

    def writelines(self, lines) -> None:
        raise io.UnsupportedOperation("writelines: not writable")

    def truncate(self, size=None) -> int:
        raise io.UnsupportedOperation("truncate: not writable")

    def __enter__(self):
        self._open()
        return self

    def __exit__(self, *exc_info):
        self.close()

    cdef int _open(self) except -1:
        cdef Outcome outcome
        if self._store is None or kt_load(&self.level.closed):
            raise errors.Closed(
                "I/O operation on a closed file", url=None if self._store is None else self._store.label
            )
        outcome = self._store.check()
        if outcome != READY:
            raise_outcome(self._store, outcome, 0, 0)
        return 0

    cdef object _readinto(self, object buffer, bint whole):
        cdef Py_buffer view
        cdef int64_t got
        if not self.usable():
            self._open()
        if kt_get_buffer(buffer, &view, PyBUF_WRITABLE):
            _refuse_buffer(buffer)
        got = self.glide(<char *>view.buf, view.len, -1) if self.keeps(view.len) else -MISSING
        if got > 0:
            PyBuffer_Release(&view)
            return got if got & (got - 1) else _POWERS[kt_log2(got)]
        try:
            if got != -MISSING:
                self.check_outcome(got, view.len)
            got = self.answer(<char *>view.buf, view.len, whole, -1)
        finally:
            PyBuffer_Release(&view)
        return None if got == -MISSING else got

    cdef object _read(self, int64_t size, bint whole):
        cdef int64_t got = -LATE, length, part = size, expected = kt_load(&self.position)
        cdef object data = None
        if not self.usable():
            self._open()
        if size > 0 and self.keeps(size) and expected + size <= kt_load(&self._store.here):
            data = PyBytes_FromStringAndSize(NULL, size)
            got = self.glide(PyBytes_AS_STRING(data), size, expected)
            if got == size:
                return data
            if got != -MISSING and got != -LATE:
                self.check_outcome(got, size)
            got = -LATE
        while got == -LATE:
            expected = -1
            length = self._store.length_now()
            if length >= 0:  # a fresh bytes object no larger than what can come, as long as the position stays
                expected = kt_load(&self.position)
                part = min(size, max(<int64_t>1, length - expected))
                expected = expected if part < size else -1
            elif size > UNKNOWN_PIECE:
                if whole:
                    return gather_pieces(self, size, False, self.is_blocking)
                part = UNKNOWN_PIECE
            data = PyBytes_FromStringAndSize(NULL, part)
            got = self.answer(PyBytes_AS_STRING(data), part, whole, expected)
        if got == -MISSING:
            return None
        return data if got == part else data[:got]

    cdef int64_t answer(self, char *into, int64_t size, bint whole, int64_t expected) except? -1:
        """Bytes put in, -MISSING in non-blocking mode, or -LATE when the position is not *expected*. With the GIL.

        Raises what else there is. Any position will do when -1 is expected.
        """
        cdef int64_t got = -MISSING, until = 0
        cdef Manner hasty = NOW, patient = NOW
        if size == 0:
            return 0
        if self.is_blocking:
            hasty, patient = (ALL_NOW, WHOLE) if whole else (NOW, SOME)
        # Nobody may wait for the turn with the GIL in hand: who has it may need the GIL to go on.
        if self.keeps(size) and self.try_hold():
            got = self.turn(into, size, hasty, expected, &until)
            self.let_go()
            if got != -MISSING:
                self.afterwards(got, until)
        if got == -MISSING:
            with nogil:
                kt_gil_given()
                got = self.take(into, size, patient, expected)
                kt_gil_awaited()
            kt_gil_taken()
        if got < 0 and got != -LATE and (got != -MISSING or self.is_blocking):
            self.check_outcome(got, size)
        return got

io.RawIOBase.register(SyncReader)
