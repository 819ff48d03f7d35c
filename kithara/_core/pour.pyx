"""The inner loop of decoding: frames of PCM out of decoder frames, cut to what is wanted, straight into an array."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t
from libc.string cimport memset

from .pcm cimport MAX_CHANNELS, RELEASE_FROM, kt_dtype_size, kt_format_size, kt_interleave

cdef enum:
    MISCOUNTED = 8  # from so many planes on, PyAV's own count of a frame's planes is wrong


cdef class Pour:
    """Pours an iterator of decoder frames into arrays, from the raw position *wanted* on.

    A frame has ``samples``, ``sample_rate`` and ``planes``; one without planes is silence.

    Attributes:
        stream: The iterator.
        raw: The raw clock behind the last frame taken from it.
        wanted: The raw clock at the next frame to give.
        end: The raw clock behind the last one to give, or -1.
        left: Frames of the one taken up that are still to give.
        format, planar, lanes, channels, rate: What frames are like; another one is shown to `adapt`.
        end_tick: What *end* was made of; `mark_end` is called when the demuxer says otherwise.
        bad_in_row: Damaged packets since the last good one.
    """

    cdef public object stream, end_tick
    cdef public int64_t raw, wanted, end, left
    cdef public int format, lanes, channels, rate, bad_in_row
    cdef public bint planar
    cdef int64_t offset
    cdef object frame

    def __cinit__(self, *args, **kwargs):
        self.end = -1

    def adapt(self, frame):
        """The planes to use of a *frame* that is not what was expected; may set the attributes first, or raise."""
        raise NotImplementedError

    def planes(self, frame):
        """The planes of a libav *frame* that may have 8 or more."""
        raise NotImplementedError

    def mark_end(self):
        """Take over where the demuxer says that the audio ends."""
        raise NotImplementedError

    def plain(self, packets, demuxer, new_packet, decode, damage):
        """The frames of *packets* as long as nothing is special: the loop in which decoding spends its time.

        Returns ``(data, samples, error)`` at a mark (samples -1), an empty packet or one that *decode* refuses with one of
        the exceptions *damage*; None at the end.
        """
        cdef object data, samples, packet, frames, frame
        for data, samples in packets:
            if samples == -1 or not len(data):
                return data, samples, None
            packet = new_packet(len(data))  # owns its bytes, with the padding that FFmpeg reads past their end
            packet.update(data)
            try:
                frames = decode(packet)
            except damage as error:
                return data, samples, error
            if demuxer.end != self.end_tick:
                self.mark_end()
            for frame in frames:
                self.bad_in_row = 0
                yield frame
        return None

    def drop(self):
        """Let go of the frame taken up."""
        self.frame = None
        self.left = 0

    def skip(self, int64_t count):
        """Give the next *count* frames to nobody."""
        cdef int64_t taken = min(count, self.left)
        self.wanted += count
        self.offset += taken
        self.left -= taken

    cdef bint take(self) except -1:
        """Take up the next frame that holds something wanted."""
        cdef int64_t begin, stop
        cdef object frame
        for frame in self.stream:
            begin = self.raw
            stop = self.raw = begin + <int64_t>frame.samples
            if 0 <= self.end < stop:
                if begin >= self.end:
                    return False
                stop = self.end
            if stop <= self.wanted:
                continue
            if begin > self.wanted:
                self.wanted = begin
            self.frame = frame
            self.offset = self.wanted - begin
            self.left = stop - self.wanted
            return True
        return False

    def pour(self, out, Py_ssize_t at, Py_ssize_t count, int dtype):
        """Put up to *count* frames into *out*, from its frame *at* on, as *dtype*; returns how many.

        Fewer only at the end of the stream. Raises what the stream and `adapt` raise, ValueError if *out* is too small.
        """
        cdef Py_buffer target
        cdef Py_ssize_t first = at, stop = at + count, take, width
        if not 0 <= dtype < 4 or not 1 <= self.channels <= MAX_CHANNELS or at < 0 or count < 0:
            raise ValueError(f"dtype {dtype}, channels {self.channels}, at {at}, count {count}: out of range")
        width = self.channels * kt_dtype_size[dtype]
        PyObject_GetBuffer(out, &target, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            if target.len < stop * width:
                raise ValueError(f"target holds {target.len} bytes, {stop * width} are needed")
            while at < stop:
                if self.left == 0 and not self.take():
                    break
                take = min(self.left, stop - at)
                self.copy(<char*>target.buf + at * width, take, dtype, width)
                self.offset += take
                self.left -= take
                self.wanted += take
                at += take
        finally:
            PyBuffer_Release(&target)
        return at - first

    cdef tuple its_planes(self):
        if self.lanes < MISCOUNTED:
            try:
                return self.frame.planes
            except ValueError:
                pass  # it has become such a frame
        return self.planes(self.frame)

    cdef int copy(self, char* target, Py_ssize_t count, int dtype, Py_ssize_t width) except -1:
        cdef Py_buffer views[MAX_CHANNELS]
        cdef const void* heads[MAX_CHANNELS]
        cdef tuple planes = self.its_planes()
        cdef Py_ssize_t lanes, sample, held = 0, i
        lanes = len(planes)
        if lanes != self.lanes or <int>self.frame.sample_rate != self.rate:
            if lanes:
                planes = self.adapt(self.frame)
            if not len(planes):
                memset(target, 0, count * width)
                return 0
        lanes = min(<Py_ssize_t>len(planes), self.channels if self.planar else 1)
        if not 0 <= self.format < 6 or lanes != (self.channels if self.planar else 1):
            raise ValueError(f"format {self.format}, {lanes} planes, {self.channels} channels: out of range")
        sample = kt_format_size[self.format] * (1 if self.planar else self.channels)
        try:
            for i in range(lanes):
                PyObject_GetBuffer(planes[i], &views[i], PyBUF_SIMPLE)
                held += 1
                if views[i].len < (self.offset + count) * sample:
                    raise ValueError(f"plane {i} holds {views[i].len} bytes, {(self.offset + count) * sample} are needed")
                heads[i] = <const char*>views[i].buf + self.offset * sample
            if count * width >= RELEASE_FROM:
                with nogil:
                    kt_interleave(heads, self.planar, self.format, self.channels, count, dtype, target)
            else:
                kt_interleave(heads, self.planar, self.format, self.channels, count, dtype, target)
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])
        return 0
