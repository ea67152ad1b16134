/* Block floating point and its roundings (docs/arithmetic.md, "Errors" and "Update"). */
#ifndef MCT_KERNELS_BLOCK_FLOAT_H
#define MCT_KERNELS_BLOCK_FLOAT_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/common/float_math.h"
#include "kernels/common/integer.h"

/* int32 sums, and the int16 mantissas that may be written over them: a compiler that trusts types must not move a read behind such a
 * write. Where it cannot be told so, it has to be told not to trust types (-fno-strict-aliasing). */
#if defined(__GNUC__)
typedef int32_t mct_overwritten_s32 __attribute__((may_alias));
typedef int16_t mct_overwriting_s16 __attribute__((may_alias));
#else
typedef int32_t mct_overwritten_s32;
typedef int16_t mct_overwriting_s16;
#endif

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

/* The same in fewer steps, where r > 0, half = 2^(r-1) and |v| < 2^31 - half: a tie goes up, so a negative v is made one less. */
static inline int32_t mct_halfaway_within(int32_t v, int32_t half, uint32_t r)
{
    return (v + (half + (v >> 31))) >> r;
}

/* most = max(most, v), least = min(least, v). Compilers would compare the values with each other first, and copy them for it. */
static inline void mct_widen_range(int32_t v, int32_t *most, int32_t *least)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    __asm__("cmp %0, %2\n\tit lt\n\tmovlt %0, %2\n\tcmp %1, %2\n\tit gt\n\tmovgt %1, %2" : "+r"(*most), "+r"(*least) : "r"(v) : "cc");
#else
    *most = v > *most ? v : *most;
    *least = v < *least ? v : *least;
#endif
}

static inline void mct_widen_range_by_four(const mct_overwritten_s32 *values, int32_t *most, int32_t *least)
{
    const int32_t v0 = values[0], v1 = values[1], v2 = values[2], v3 = values[3];

    mct_widen_range(v0, most, least);
    mct_widen_range(v1, most, least);
    mct_widen_range(v2, most, least);
    mct_widen_range(v3, most, least);
}

/* The largest magnitude of `count` values, 0 of none. */
static inline uint32_t mct_largest_magnitude_s32(const mct_overwritten_s32 *values, size_t count)
{
    const mct_overwritten_s32 *const end = values + count, *const end_of_eights = values + count / 8 * 8;
    int32_t most = 0, least = 0;

    for (; values != end_of_eights; values += 8) {
        mct_widen_range_by_four(values, &most, &least);
        mct_widen_range_by_four(values + 4, &most, &least);
    }
    for (; values != end; values++) {
        mct_widen_range(*values, &most, &least);
    }
    return (uint32_t)most > mct_magnitude_s32(least) ? (uint32_t)most : mct_magnitude_s32(least);
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
    return mct_float_bits(x) & (uint32_t)INT32_MAX;
}

static inline float mct_clamp_f32(float x, float limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
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
