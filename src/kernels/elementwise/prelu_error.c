/* dX of prelu: the error times the slope on its side of 0, where the clamp did not bite. */
#include "kernels/common/exact.h"

#include <stdbool.h>

#include "mcutrain/backward.h"

#include "kernels/common/block_float.h"

enum { WORD_BITS = 32, MANTISSA_BITS = 15 };

static bool valid(const mct_prelu_error_params *p)
{
    return p->elements > 0 && p->alphas > 0 && p->elements % p->alphas == 0;
}

static inline bool is_inside(const uint32_t *inside, int32_t i)
{
    return inside == NULL || (inside[i / WORD_BITS] >> (i % WORD_BITS) & 1u) != 0;
}

/* floor(mantissa * slope / 2^16), which |mantissa| <= 2^15 and |slope| <= 2^31 keep within int32. */
static inline int32_t scaled(int32_t mantissa, int32_t slope)
{
    return (int32_t)(((int64_t)mantissa * slope) >> 16);
}

mct_status mct_prelu_error_b16(const mct_prelu_error_params *params, const mct_b16 *error, const uint32_t *inside, const int8_t *x,
                               const int32_t *slope, mct_b16 *out)
{
    if (params == NULL || error == NULL || x == NULL || slope == NULL || out == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_prelu_error_params p = *params;
    const int32_t exponent = error->exponent;
    int32_t most = 0, least = 0;

    for (int32_t i = 0, c = 0; i < p.elements; i++, c = c + 1 < p.alphas ? c + 1 : 0) {
        if (is_inside(inside, i)) {
            mct_widen_range(scaled(error->mantissa[i], slope[x[i] > p.input_zero_point ? 0 : 1 + c]), &most, &least);
        }
    }
    const uint32_t largest = (uint32_t)most > mct_magnitude_s32(least) ? (uint32_t)most : mct_magnitude_s32(least);
    const uint32_t r = mct_fit(largest, MANTISSA_BITS);

    for (int32_t i = 0, c = 0; i < p.elements; i++, c = c + 1 < p.alphas ? c + 1 : 0) {
        const int32_t value = scaled(error->mantissa[i], slope[x[i] > p.input_zero_point ? 0 : 1 + c]);

        out->mantissa[i] = is_inside(inside, i) ? (int16_t)mct_halfaway(value, r) : 0;
    }
    out->exponent = exponent + p.slope_exponent + 16 + (int32_t)r;
    return MCT_OK;
}

mct_status mct_prelu_error_f32(const mct_prelu_error_params *params, const float *error, const uint32_t *inside, const int8_t *x,
                               const float *slope, float *out)
{
    if (params == NULL || error == NULL || x == NULL || slope == NULL || out == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_prelu_error_params p = *params;

    for (int32_t i = 0, c = 0; i < p.elements; i++, c = c + 1 < p.alphas ? c + 1 : 0) {
        out[i] = is_inside(inside, i) ? error[i] * slope[x[i] > p.input_zero_point ? 0 : 1 + c] : 0.0f;
    }
    return MCT_OK;
}
