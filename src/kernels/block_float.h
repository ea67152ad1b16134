/* Block floating point and its roundings (docs/arithmetic.md, "Errors" and "Update"). */
#ifndef MCT_KERNELS_BLOCK_FLOAT_H
#define MCT_KERNELS_BLOCK_FLOAT_H

#include <stdint.h>

#include "float_math.h"

static inline uint32_t mct_magnitude_s32(int32_t v)
{
    return v < 0 ? 0u - (uint32_t)v : (uint32_t)v; /* also right for -2^31 */
}

/* v / 2^r, ties away from zero; r in [0, 31]. */
static inline int32_t mct_halfaway(int32_t v, uint32_t r)
{
    const uint32_t half = (1u << r) >> 1;
    const int32_t rounded = (int32_t)((mct_magnitude_s32(v) + half) >> r); /* 2^31 + 2^30 < 2^32 */

    return v < 0 ? -rounded : rounded;
}

/* The smallest r for which mct_halfaway(v, r) is at most 2^bits - 1 for every |v| <= largest; bits in [1, 15]. */
static inline uint32_t mct_fit(uint32_t largest, uint32_t bits)
{
    const uint32_t limit = (1u << bits) - 1u;
    uint32_t r = 0;

    while ((largest >> r) > limit) {
        r++;
    }
    /* Only the rounding can still carry into one more bit. */
    return ((largest + ((1u << r) >> 1)) >> r) > limit ? r + 1u : r;
}

/* 2^exponent, the exponent clamped to the normal numbers' [-126, 127]. */
static inline float mct_power_of_two_f32(int32_t exponent)
{
    const int32_t clamped = exponent < -126 ? -126 : exponent > 127 ? 127 : exponent;

    return mct_float_from_bits((uint32_t)(clamped + 127) << 23);
}

/* Bits of |x|. They order as the magnitudes do, with infinity above every number and NaN above infinity. */
static inline uint32_t mct_magnitude_bits_f32(float x)
{
    return mct_float_bits(x) & 0x7fffffffu;
}

#define MCT_INFINITY_BITS 0x7f800000u

static inline float mct_clamp_f32(float x, float limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

static inline int32_t mct_clamp_s32(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* t rounded half to even, |t| <= 2^30, at every magnitude. */
static inline int32_t mct_round_s32(float t)
{
    const int32_t whole = (int32_t)t;
    const float rest = t - (float)whole; /* exact: from 2^24 on every float32 is whole, and below it `whole` is one */
    const float magnitude = rest < 0.0f ? -rest : rest;

    if (magnitude > 0.5f || (magnitude == 0.5f && (whole & 1) != 0)) {
        return rest < 0.0f ? whole - 1 : whole + 1;
    }
    return whole;
}

#endif
