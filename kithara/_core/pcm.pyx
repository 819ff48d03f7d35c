"""Decoded planes into interleaved frames: one pass, no resampler, no temporary."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memset

DEF_FORMATS = {"u8": KT_U8, "s16": KT_S16, "s24": KT_S24, "s32": KT_S32, "flt": KT_F32, "dbl": KT_F64}
FORMATS = {**{name: (code, False) for name, code in DEF_FORMATS.items()},
           **{name + "p": (code, True) for name, code in DEF_FORMATS.items()}}
DTYPES = {"int16": KT_TO_I16, "int32": KT_TO_I32, "float32": KT_TO_F32, "float64": KT_TO_F64}
del DEF_FORMATS


def interleave(tuple planes, int format, bint planar, Py_ssize_t channels, Py_ssize_t start, Py_ssize_t frames,
               object out, Py_ssize_t at, int dtype):
    """Convert *frames* frames, from frame *start* of *planes* on, into *out* at frame *at*.

    Args:
        planes: Buffers: one packed one, or one for each channel when *planar*.
        format, dtype: Codes from `FORMATS` and `DTYPES`.
        out: A writable C-contiguous buffer of interleaved frames.

    Raises:
        ValueError: a plane or *out* is too small, or an argument is out of range.
    """
    cdef Py_buffer views[MAX_CHANNELS]
    cdef Py_buffer target
    cdef const void* heads[MAX_CHANNELS]
    cdef Py_ssize_t lanes = channels if planar else 1
    cdef Py_ssize_t width, held = 0, need, i
    if not (0 <= format < 6 and 0 <= dtype < 4 and 1 <= channels <= MAX_CHANNELS):
        raise ValueError(f"format {format}, dtype {dtype}, channels {channels}: out of range")
    if start < 0 or at < 0 or frames < 0:
        raise ValueError(f"start {start}, at {at}, frames {frames}: negative")
    if len(planes) < lanes:
        raise ValueError(f"{len(planes)} planes for {lanes}")
    width = kt_format_size[format] * (1 if planar else channels)
    PyObject_GetBuffer(out, &target, PyBUF_SIMPLE | PyBUF_WRITABLE)
    try:
        need = (at + frames) * channels * kt_dtype_size[dtype]
        if target.len < need:
            raise ValueError(f"target holds {target.len} bytes, {need} are needed")
        for i in range(lanes):
            PyObject_GetBuffer(planes[i], &views[i], PyBUF_SIMPLE)
            held += 1
            if views[i].len < (start + frames) * width:
                raise ValueError(f"plane {i} holds {views[i].len} bytes, {(start + frames) * width} are needed")
            heads[i] = <const char*>views[i].buf + start * width
        if frames * channels * kt_dtype_size[dtype] >= RELEASE_FROM:
            with nogil:
                kt_interleave(heads, planar, format, channels, frames, dtype,
                              <char*>target.buf + at * channels * kt_dtype_size[dtype])
        else:
            kt_interleave(heads, planar, format, channels, frames, dtype,
                          <char*>target.buf + at * channels * kt_dtype_size[dtype])
    finally:
        for i in range(held):
            PyBuffer_Release(&views[i])
        PyBuffer_Release(&target)


def silence(object out, Py_ssize_t start, Py_ssize_t stop):
    """Zero the bytes [start, stop) of *out*."""
    cdef Py_buffer target
    PyObject_GetBuffer(out, &target, PyBUF_SIMPLE | PyBUF_WRITABLE)
    try:
        if not 0 <= start <= stop <= target.len:
            raise ValueError(f"[{start}, {stop}) is not inside {target.len} bytes")
        memset(<char*>target.buf + start, 0, stop - start)
    finally:
        PyBuffer_Release(&target)
