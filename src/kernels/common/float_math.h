/* Float32 functions that give the same bits on every machine (docs/arithmetic.md, "Head and loss"): plain operations in a stated order,
 * compiled without contraction. */
#ifndef MCT_KERNELS_FLOAT_MATH_H
#define MCT_KERNELS_FLOAT_MATH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float mct_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t mct_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline bool mct_is_finite_f32(float x)
{
    return (mct_float_bits(x) & 0x7F800000u) != 0x7F800000u;
}

/* x rounded to an integer, ties to even; |x| < 2^22. At 1.5 * 2^23 the spacing of float32 is 1. */
static inline float mct_half_even_f32(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* e^x for x <= 0, 0 below -87: the power of two is never subnormal. */
static inline float mct_exp_f32(float x)
{
    if (x < -87.0f) {
        return 0.0f;
    }
    const float n = mct_half_even_f32(x * 1.44269502f);
    const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f; /* ln 2 in two parts: n * the first is exact */
    float p = 1.0f / 720.0f;
    p = 1.0f / 120.0f + r * p;
    p = 1.0f / 24.0f + r * p;
    p = 1.0f / 6.0f + r * p;
    p = 0.5f + r * p;
    p = 1.0f + r * p;
    p = 1.0f + r * p;
    return p * mct_float_from_bits((uint32_t)((int32_t)n + 127) << 23);
}

/* Natural logarithm of a finite x >= 1. */
static inline float mct_log_f32(float x)
{
    const uint32_t bits = mct_float_bits(x);
    int32_t k = (int32_t)(bits >> 23) - 127;
    float m = mct_float_from_bits((bits & 0x007FFFFFu) | 0x3F800000u);
    if (m > 1.41421354f) {
        m = m * 0.5f;
        k = k + 1;
    }
    const float t = (m - 1.0f) / (m + 1.0f);
    const float u = t * t;
    float p = 1.0f / 9.0f;
    p = 1.0f / 7.0f + u * p;
    p = 1.0f / 5.0f + u * p;
    p = 1.0f / 3.0f + u * p;
    p = 1.0f + u * p;
    return (float)k * 0.693147182f + (2.0f * t) * p;
}

#endif
