/* The steps of an update, before they are rounded (docs/arithmetic.md, "Update"). One body serves both error modes: a gradient is either
 * int32 sums with a power of two, or float32 values, and which of them is known at compile time where these functions are inlined. */
#ifndef MCT_KERNELS_UPDATE_H
#define MCT_KERNELS_UPDATE_H

#include <stdbool.h>
#include <stddef.h>

#include "mcutrain/update.h"
#include "kernels/common/block_float.h"
#include "kernels/common/compiler.h"
#include "kernels/common/observe.h"

typedef struct {
    const int32_t *sums; /* or NULL */
    float power;         /* value = (float)sum * power */
    const float *values; /* or NULL */
} mct_gradient;

static inline mct_gradient mct_gradient_b16(const mct_b32 *gradient)
{
    return (mct_gradient){gradient->mantissa, mct_power_of_two_f32(gradient->exponent), NULL};
}

static inline mct_gradient mct_gradient_f32(const float *gradient)
{
    return (mct_gradient){NULL, 1.0f, gradient};
}

static MCT_SPECIALISED float mct_gradient_at(const mct_gradient *gradient, size_t i)
{
    return gradient->sums != NULL ? (float)gradient->sums[i] * gradient->power : gradient->values[i];
}

/* The gradient from its i-th element. */
static MCT_SPECIALISED mct_gradient mct_gradient_from(const mct_gradient *gradient, size_t i)
{
    return gradient->sums != NULL ? (mct_gradient){gradient->sums + i, gradient->power, NULL}
                                  : (mct_gradient){NULL, gradient->power, gradient->values + i};
}

/* Magnitude bits of the largest gradient of `count` from `first`. Rounding is monotonic, so the largest |sum| has the largest value; NaN
 * orders above all. */
static MCT_SPECIALISED uint32_t mct_largest_gradient(const mct_gradient *gradient, size_t first, size_t count)
{
    uint32_t largest = 0;

    if (gradient->sums != NULL) {
        return mct_float_bits((float)mct_largest_magnitude_s32(gradient->sums + first, count) * gradient->power);
    }
    for (size_t i = first; i < first + count; i++) {
        const uint32_t magnitude = mct_magnitude_bits_f32(gradient->values[i]);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* What every step of the tensor is multiplied by, so that the largest is at most the cap: 1 where it already is, or there is no cap. */
static inline mct_status mct_step_ratio(uint32_t largest_bits, float step_cap, float *ratio)
{
    const float largest = mct_float_from_bits(largest_bits);

    if (largest_bits >= MCT_INFINITY_BITS) {
        return MCT_ERROR_NOT_FINITE;
    }
    *ratio = step_cap > 0.0f && largest > step_cap ? step_cap / largest : 1.0f;
    return MCT_OK;
}

#endif
