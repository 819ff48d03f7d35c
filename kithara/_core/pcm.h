/* Sample conversion kernels: every decoder format into every PCM dtype, planar or packed, straight into frames.
 *
 * Integers become floats by 1 / 2^(bits-1), floats become integers by 2^(bits-1), rounded to even and clipped; wider
 * integers become narrower ones by an arithmetic shift. These are libsndfile's scales, so equal files give equal PCM.
 */
#ifndef KITHARA_PCM_H
#define KITHARA_PCM_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum kt_format { KT_U8, KT_S16, KT_S24, KT_S32, KT_F32, KT_F64 };
static const int kt_format_size[6] = {1, 2, 3, 4, 4, 8};
enum kt_dtype { KT_TO_I16, KT_TO_I32, KT_TO_F32, KT_TO_F64 };
static const int kt_dtype_size[4] = {2, 4, 4, 8};

typedef struct { uint8_t b[3]; } kt_s24;

static inline int32_t kt_load_s24(kt_s24 x) {
    return (int32_t)((uint32_t)x.b[0] << 8 | (uint32_t)x.b[1] << 16 | (uint32_t)x.b[2] << 24);
}
static inline int16_t kt_to_i16(double y) {
    y = y < -32768.0 ? -32768.0 : y > 32767.0 ? 32767.0 : y;
    return y == y ? (int16_t)lrint(y) : 0;
}
static inline int16_t kt_to_i16f(float y) {
    y = y < -32768.0f ? -32768.0f : y > 32767.0f ? 32767.0f : y;
    return y == y ? (int16_t)lrintf(y) : 0;
}
static inline int32_t kt_to_i32(double y) {
    y = y < -2147483648.0 ? -2147483648.0 : y > 2147483647.0 ? 2147483647.0 : y;
    return y == y ? (int32_t)lrint(y) : 0;
}

/* x is one source sample; the columns are int16, int32, float32, float64 */
#define KT_CASES(X)                                                                                                   \
    X(u8, uint8_t, (int16_t)((x - 128) * 256), (x - 128) * 16777216, (x - 128) * (1.0f / 128), (x - 128) * (1.0 / 128)) \
    X(s16, int16_t, x, (int32_t)x * 65536, x * (1.0f / 32768), x * (1.0 / 32768))                                      \
    X(s24, kt_s24, (int16_t)(kt_load_s24(x) >> 16), kt_load_s24(x), kt_load_s24(x) * (1.0f / 2147483648.0f),           \
      kt_load_s24(x) * (1.0 / 2147483648.0))                                                                           \
    X(s32, int32_t, (int16_t)(x >> 16), x, x * (1.0f / 2147483648.0f), x * (1.0 / 2147483648.0))                       \
    X(f32, float, kt_to_i16f(x * 32768.0f), kt_to_i32(x * 2147483648.0), x, x)                                         \
    X(f64, double, kt_to_i16(x * 32768.0), kt_to_i32(x * 2147483648.0), (float)x, x)

#define KT_ONE(name, S, out, D, expr)                                                                                 \
    __attribute__((optimize("O3"))) static void kt_##name##_##out(const void *const *planes, ptrdiff_t lanes,         \
                                                                  ptrdiff_t n, void *target) {                       \
        D *restrict d = target;                                                                                       \
        if (lanes == 1) {                                                                                             \
            const S *restrict a = planes[0];                                                                          \
            for (ptrdiff_t i = 0; i < n; i++) { S x = a[i]; d[i] = (D)(expr); }                                       \
        } else if (lanes == 2) {                                                                                      \
            const S *restrict a = planes[0]; const S *restrict b = planes[1];                                         \
            for (ptrdiff_t i = 0; i < n; i++) {                                                                       \
                { S x = a[i]; d[2 * i] = (D)(expr); }                                                                 \
                { S x = b[i]; d[2 * i + 1] = (D)(expr); }                                                             \
            }                                                                                                         \
        } else {                                                                                                      \
            for (ptrdiff_t c = 0; c < lanes; c++) {                                                                   \
                const S *restrict a = planes[c];                                                                      \
                for (ptrdiff_t i = 0; i < n; i++) { S x = a[i]; d[i * lanes + c] = (D)(expr); }                       \
            }                                                                                                         \
        }                                                                                                             \
    }
#define KT_ROW(name, S, as_i16, as_i32, as_f32, as_f64)                                                               \
    KT_ONE(name, S, i16, int16_t, as_i16) KT_ONE(name, S, i32, int32_t, as_i32)                                       \
    KT_ONE(name, S, f32, float, as_f32) KT_ONE(name, S, f64, double, as_f64)
KT_CASES(KT_ROW)

typedef void (*kt_kernel)(const void *const *, ptrdiff_t, ptrdiff_t, void *);
#define KT_NAMES(name, S, as_i16, as_i32, as_f32, as_f64) {kt_##name##_i16, kt_##name##_i32, kt_##name##_f32, kt_##name##_f64},
static const kt_kernel kt_kernels[6][4] = {KT_CASES(KT_NAMES)};

/* n frames of `channels` from `planes` (one packed plane, or one each) into interleaved `target`. */
static inline void kt_interleave(const void *const *planes, int planar, int format, ptrdiff_t channels, ptrdiff_t n,
                                 int dtype, void *target) {
    if (planar) kt_kernels[format][dtype](planes, channels, n, target);
    else kt_kernels[format][dtype](planes, 1, n * channels, target);
}
#endif
