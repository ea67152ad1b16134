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

#define MCT_INFINITY_BITS 0x7F800000u /* check: MCT_INFINITY_BITS == bits(inf) == 255 * 2^23 */

static inline bool mct_is_finite_f32(float x)
{
    return (mct_float_bits(x) & MCT_INFINITY_BITS) != MCT_INFINITY_BITS;
}

/* From 2^23 to 2^24 the spacing of float32 is 1, so that adding this rounds |x| < 2^22 to a whole number. check: MCT_ROUNDER == 1.5 * 2^23;
 * MCT_ROUNDER - 2^22 == 2^23; MCT_ROUNDER + 2^22 == 2^24 */
#define MCT_ROUNDER 12582912.0f

/* x rounded to an integer, ties to even; |x| < 2^22. */
static inline float mct_half_even_f32(float x)
{
    return (x + MCT_ROUNDER) - MCT_ROUNDER;
}

/* e^x for x <= 0, 0 below `least`: the power of two is never subnormal. ln 2 is in two parts, of which the first has so few bits that its
 * product with n, of seven, is exact.
 * check: round(least / ln(2)) > -127; inverse_ln2 == float32(1 / ln(2)); bits(ln2_high) % 2^7 == 0; ln2_low == float32(ln(2) - ln2_high) */
static inline float mct_exp_f32(float x)
{
    const float least = -87.0f, inverse_ln2 = 1.44269502f, ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;

    if (x < least) {
        return 0.0f;
    }
    const float n = mct_half_even_f32(x * inverse_ln2);
    const float r = (x - n * ln2_high) - n * ln2_low;
    float p = 1.0f / 720.0f;
    p = 1.0f / 120.0f + r * p;
    p = 1.0f / 24.0f + r * p;
    p = 1.0f / 6.0f + r * p;
    p = 0.5f + r * p;
    p = 1.0f + r * p;
    p = 1.0f + r * p;
    return p * mct_float_from_bits((uint32_t)((int32_t)n + 127) << 23);
}

/* Natural logarithm of a finite x >= 1: of x = m * 2^k, m round 1.
 * check: fraction_bits == 2^23 - 1; one_bits == bits(1); sqrt_2 == float32(sqrt(2)); ln_2 == float32(ln(2)) */
static inline float mct_log_f32(float x)
{
    const uint32_t fraction_bits = 0x007FFFFFu, one_bits = 0x3F800000u;
    const float sqrt_2 = 1.41421354f, ln_2 = 0.693147182f;
    const uint32_t bits = mct_float_bits(x);
    int32_t k = (int32_t)(bits >> 23) - 127;
    float m = mct_float_from_bits((bits & fraction_bits) | one_bits);
    if (m > sqrt_2) {
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
    return (float)k * ln_2 + (2.0f * t) * p;
}

#endif
