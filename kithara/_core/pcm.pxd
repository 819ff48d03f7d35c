cdef extern from "pcm.h" nogil:
    enum:
        KT_U8, KT_S16, KT_S24, KT_S32, KT_F32, KT_F64
        KT_TO_I16, KT_TO_I32, KT_TO_F32, KT_TO_F64
    const int[6] kt_format_size
    const int[4] kt_dtype_size
    void kt_interleave(const void* const* planes, int planar, int format, Py_ssize_t channels, Py_ssize_t n,
                       int dtype, void* target) noexcept

cdef enum:
    MAX_CHANNELS = 64
    # Copies from this size on let go of the GIL: below it, waiting to get it back costs more than the copy.
    RELEASE_FROM = 65536
