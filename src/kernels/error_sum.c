#include "block_float.h"
#include "mcutrain/backward.h"

#define LARGEST_SHIFT 31u

static inline uint32_t shift_to(int32_t exponent, int32_t own)
{
    const uint32_t difference = (uint32_t)exponent - (uint32_t)own;

    return difference < LARGEST_SHIFT ? difference : LARGEST_SHIFT;
}

mct_status mct_error_sum_b16(const mct_elements_params *params, const mct_b16 *a, const mct_b16 *b, mct_b16 *out)
{
    if (params == NULL || a == NULL || b == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements;
    const int32_t exponent = a->exponent > b->exponent ? a->exponent : b->exponent;
    const uint32_t a_shift = shift_to(exponent, a->exponent), b_shift = shift_to(exponent, b->exponent);
    uint32_t largest = 0;

    for (int32_t i = 0; i < elements; i++) {
        const int32_t sum = mct_halfaway(a->mantissa[i], a_shift) + mct_halfaway(b->mantissa[i], b_shift);
        const uint32_t magnitude = mct_magnitude_s32(sum);
        largest = magnitude > largest ? magnitude : largest;
    }
    const uint32_t r = mct_fit(largest, 15);

    for (int32_t i = 0; i < elements; i++) {
        const int32_t sum = mct_halfaway(a->mantissa[i], a_shift) + mct_halfaway(b->mantissa[i], b_shift);
        out->mantissa[i] = (int16_t)mct_halfaway(sum, r);
    }
    out->exponent = exponent + (int32_t)r;
    return MCT_OK;
}

mct_status mct_error_sum_f32(const mct_elements_params *params, const float *a, const float *b, float *out)
{
    if (params == NULL || a == NULL || b == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; i < params->elements; i++) {
        out[i] = a[i] + b[i];
    }
    return MCT_OK;
}
