/* gradient_drain: the sums of a minibatch become one gradient, and their accumulator is empty again. */
#include "kernels/common/compiler.h"
#include "kernels/update/wide_sums.h"
#include "mcutrain/update.h"

#include <stdbool.h>

#define GRADIENT_BITS 31u

/* What a pass has seen of the mantissas: bit 31 is set where one is -2^31, as no other number has its lowest 1 there. */
static inline uint32_t lowest_one(uint32_t mantissa)
{
    return mantissa & (0u - mantissa);
}

/* Sums of at most 31 bits and a sign, as they are. Returns whether they are all within +-(2^31 - 1). */
static bool copy(const int64_t *restrict sums, int32_t *restrict gradient, int32_t elements)
{
    uint32_t seen = 0;

    MCT_UNROLL(4)
    for (int32_t i = 0; i < elements; i++) {
        gradient[i] = (int32_t)sums[i];
        seen |= lowest_one((uint32_t)sums[i]);
    }
    return seen >> 31 == 0;
}

/* sums / 2^r, ties away from zero, for an r in [1, 32] that brings all of them within +-2^31, where 2^31 is stored as -2^31. Returns whether
 * they are all within +-(2^31 - 1). */
static bool round_off(const int64_t *restrict sums, int32_t *restrict gradient, uint32_t r, int32_t elements)
{
    const uint32_t half = 1u << (r - 1);
    uint32_t seen = 0;

    MCT_UNROLL(4)
    for (int32_t i = 0; i < elements; i++) {
        /* mct_halfaway_s64 in words: half, or half - 1 where the sum is negative, is added and is not negative itself. */
        const uint32_t high = (uint32_t)((uint64_t)sums[i] >> 32);
        const uint64_t raised = (uint64_t)sums[i] + (half - (high >> 31));
        const uint32_t mantissa = (uint32_t)raised >> 1 >> (r - 1) | (uint32_t)(raised >> 32) << (32u - r);

        gradient[i] = (int32_t)mantissa;
        seen |= lowest_one(mantissa);
    }
    return seen >> 31 == 0;
}

/* Returns r, the smallest shift for which all mantissas are within +-(2^31 - 1). Of sums that are b bits wide, -2^b <= sum < 2^b, it is b - 31,
 * or one more where the rounding carries or a sum is -2^b. */
static uint32_t narrow(const int64_t *sums, int32_t *gradient, int32_t elements)
{
    uint64_t spread = 0;

    MCT_UNROLL(4)
    for (int32_t i = 0; i < elements; i++) {
        spread |= mct_spread_s64(sums[i]);
    }
    const uint32_t width = mct_width_u64(spread), r = width > GRADIENT_BITS ? width - GRADIENT_BITS : 0;
    const bool fits = r == 0 ? copy(sums, gradient, elements) : round_off(sums, gradient, r, elements);

    if (fits) {
        return r;
    }
    (void)round_off(sums, gradient, r + 1, elements);
    return r + 1;
}

mct_status mct_gradient_drain_b16(const mct_elements_params *params, mct_b32 *gradient, mct_b64 *accumulator)
{
    if (params == NULL || gradient == NULL || accumulator == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements;
    const uint32_t r = narrow(accumulator->mantissa, gradient->mantissa, elements);

    gradient->exponent = accumulator->exponent + (int32_t)r;
    accumulator->exponent = 0;
    MCT_UNROLL(4)
    for (int32_t i = 0; i < elements; i++) {
        accumulator->mantissa[i] = 0;
    }
    return MCT_OK;
}

mct_status mct_gradient_drain_f32(const mct_elements_params *params, float *restrict gradient, float *restrict accumulator)
{
    if (params == NULL || gradient == NULL || accumulator == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; i < params->elements; i++) {
        gradient[i] = accumulator[i];
        accumulator[i] = 0.0f;
    }
    return MCT_OK;
}
