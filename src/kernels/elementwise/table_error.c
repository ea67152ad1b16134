/* dX of table: the error times the slope at the input's code. */
#include "kernels/common/exact.h"

#include "mcutrain/backward.h"
#include "kernels/common/block_float.h"

enum { MANTISSA_BITS = 15 };

static int is_valid(const mct_table_error_params *params, const void *error, const void *x, const void *slope, const void *out)
{
    return params != NULL && error != NULL && x != NULL && slope != NULL && out != NULL && params->elements > 0;
}

/* floor(mantissa * slope / 2^16), which |mantissa| <= 2^15 and |slope| <= 2^31 keep within int32. */
static inline int32_t scaled(int32_t mantissa, int32_t slope)
{
    return (int32_t)(((int64_t)mantissa * slope) >> 16);
}

mct_status mct_table_error_b16(const mct_table_error_params *params, const mct_b16 *error, const int8_t *x, const int32_t *slope,
                               mct_b16 *out)
{
    if (!is_valid(params, error, x, slope, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t *const of_zero = slope + 128;
    const int16_t *const mantissa = error->mantissa;
    const int32_t elements = params->elements, exponent = error->exponent;
    int32_t most = 0, least = 0;

    for (int32_t i = 0; i < elements; i++) {
        mct_widen_range(scaled(mantissa[i], of_zero[x[i]]), &most, &least);
    }
    const uint32_t largest = (uint32_t)most > mct_magnitude_s32(least) ? (uint32_t)most : mct_magnitude_s32(least);
    const uint32_t r = mct_fit(largest, MANTISSA_BITS);

    for (int32_t i = 0; i < elements; i++) {
        out->mantissa[i] = (int16_t)mct_halfaway(scaled(mantissa[i], of_zero[x[i]]), r);
    }
    out->exponent = exponent + params->slope_exponent + 16 + (int32_t)r;
    return MCT_OK;
}

mct_status mct_table_error_f32(const mct_table_error_params *params, const float *error, const int8_t *x, const float *slope, float *out)
{
    if (!is_valid(params, error, x, slope, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; i < params->elements; i++) {
        out[i] = error[i] * slope[x[i] + 128];
    }
    return MCT_OK;
}
