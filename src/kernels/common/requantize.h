/* Fixed point change of scale, and the clamp to output codes (docs/arithmetic.md, "Forward"). */
#ifndef MCT_KERNELS_REQUANTIZE_H
#define MCT_KERNELS_REQUANTIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/common/integer.h"

/* A multiplier that quantise_multiplier can have made. */
static inline bool mct_multiplier_valid(int32_t multiplier, int32_t shift)
{
    return multiplier >= 0 && shift >= -31 && shift <= 30;
}

/* a * b / 2^31, rounded half up on the product, which is what the specified nudge and truncation amount to. Not for a = b = -2^31, the
 * one product whose result does not fit: no multiplier is negative. */
static inline int32_t mct_high_s32(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* value / 2^shift rounded half away from zero; shift in [0, 31], value > -2^31. */
static inline int32_t mct_divide_by_power_of_two(int32_t value, int32_t shift)
{
    if (shift == 0) {
        return value;
    }
    /* One less for negatives turns half up into half away; halving last keeps clear of an overflow. */
    const int32_t twice = (value + (value >> 31)) >> (shift - 1);
    return (twice >> 1) + (twice & 1);
}

static inline int32_t mct_saturate_s32(int64_t value)
{
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

static inline int32_t mct_shift_left_saturated(int32_t value, int32_t shift)
{
    return mct_saturate_s32((int64_t)value * ((int64_t)1 << shift));
}

static inline int32_t mct_requantise(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return mct_high_s32(mct_shift_left_saturated(x, shift), multiplier);
    }
    return mct_divide_by_power_of_two(mct_high_s32(x, multiplier), -shift);
}

/* One rounding, half away from zero, of the whole product. |x multiplier| <= 2^62, and the half is at most 2^61. */
static inline int32_t mct_requantise_once(int32_t x, int32_t multiplier, int32_t shift)
{
    const int64_t product = (int64_t)x * multiplier;

    /* A negative product loses one of its smallest units: a tie then lies below the half that is added, and nothing else moves. */
    return mct_saturate_s32((product + (product >> 63) + ((int64_t)1 << (30 - shift))) >> (31 - shift));
}

/* One rounding, half to even, of the whole product: what is added is one less than the half, so that only an odd quotient takes a tie up. */
static inline int32_t mct_requantise_once_even(int32_t x, int32_t multiplier, int32_t shift)
{
    const int64_t product = (int64_t)x * multiplier;

    return mct_saturate_s32((product + (((int64_t)1 << (30 - shift)) - 1) + ((product >> (31 - shift)) & 1)) >> (31 - shift));
}

/* mct_requantise_once where shift <= -2: the half is a multiple of 2^32, so the product's high word alone decides, and nothing overflows. */
static inline int32_t mct_requantise_once_short(int32_t x, int32_t multiplier, int32_t shift)
{
    const int64_t product = (int64_t)x * multiplier;

    return ((int32_t)((product + (product >> 63)) >> 32) + (1 << (-2 - shift))) >> (-1 - shift);
}

/* sum + a * b / 2^32, rounded half up. */
static inline int32_t mct_add_high_s32(int32_t a, int32_t b, int32_t sum)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    int32_t result; /* one instruction, which compilers do not find */
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
#else
    return sum + (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
#endif
}

/* a * b / 2^32, rounded half up. */
static inline int32_t mct_high_rounded_s32(int32_t a, int32_t b)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    int32_t result;
    __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
#else
    return mct_add_high_s32(a, b, 0);
#endif
}

static inline int32_t mct_saturate_s8(int32_t value)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return result;
#else
    return value > INT8_MAX ? INT8_MAX : value < INT8_MIN ? INT8_MIN : value;
#endif
}

/* Whether mct_requantise_twice does what mct_requantise does, for |x| up to bound. */
static inline bool mct_is_small(int64_t bound, int32_t shift)
{
    return bound < 1 << 30 && shift <= -2;
}

/* sum + requantise(twice_x / 2), in few instructions: both divisions are the rounding product of SMMLAR. */
static inline int32_t mct_requantise_twice(int32_t twice_x, int32_t multiplier, int32_t shift, int32_t sum)
{
    const int32_t high = mct_high_rounded_s32(twice_x, multiplier);
    /* One less for negatives turns half up into half away. */
    return mct_add_high_s32(high + (high >> 31), (int32_t)((uint32_t)1 << (32 + shift)), sum);
}

/* A multiplier and a shift as mct_requantise_prepared takes them. */
typedef struct {
    int32_t multiplier; /* 2 multiplier - 2^32, below 0 */
    int32_t power;      /* 2^(32 + shift) */
} mct_prepared_scale;

/* Whether mct_requantise_prepared does what mct_requantise does, for |x| up to bound: the multiplier has to be normalised. */
static inline bool mct_is_preparable(int64_t bound, int32_t multiplier, int32_t shift)
{
    return multiplier >= 1 << 30 && mct_is_small(bound, shift);
}

static inline mct_prepared_scale mct_prepare_scale(int32_t multiplier, int32_t shift)
{
    const mct_prepared_scale scale = {(int32_t)((uint32_t)multiplier * 2), (int32_t)((uint32_t)1 << (32 + shift))};
    return scale;
}

/* sum + requantise(x), as mct_requantise_twice, but x need not be doubled: x + x (2 multiplier - 2^32) / 2^32 is the same. */
static inline int32_t mct_requantise_prepared(int32_t x, mct_prepared_scale scale, int32_t sum)
{
    const int32_t high = mct_add_high_s32(x, scale.multiplier, x);

    return mct_add_high_s32(high + (high >> 31), scale.power, sum);
}

/* The clamp with the zero point taken out: comparing before adding it cannot overflow. */
typedef struct {
    int32_t low, high, zero_point;
} mct_clamp;

static inline bool mct_clamp_valid(int32_t zero_point, int32_t clamp_min, int32_t clamp_max)
{
    return zero_point >= INT8_MIN && zero_point <= INT8_MAX && clamp_min >= INT8_MIN && clamp_max <= INT8_MAX && clamp_min <= clamp_max;
}

static inline mct_clamp mct_clamp_make(int32_t zero_point, int32_t clamp_min, int32_t clamp_max)
{
    const mct_clamp clamp = {clamp_min - zero_point, clamp_max - zero_point, zero_point};
    return clamp;
}

/* Store the code of value, and return 1 where it lay inside the clamp, else 0. */
static inline uint32_t mct_store_code(int32_t value, const mct_clamp *clamp, int8_t *code)
{
    const int32_t clamped = mct_clamp_s32(value, clamp->low, clamp->high);

    *code = (int8_t)(clamped + clamp->zero_point);
    return clamped == value;
}

static inline bool mct_code_valid(int32_t code)
{
    return code >= INT8_MIN && code <= INT8_MAX;
}

#endif
