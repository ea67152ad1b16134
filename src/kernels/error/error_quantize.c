/* error_quantize: float32 errors to int16 mantissas of one exponent. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/block_float.h"

/* Below it the scaling would leave the normal numbers: 2^(15 - k) for A in [2^(k-1), 2^k).
 * check: SMALLEST_MAGNITUDE_BITS == bits(2^-100); 15 + 99 <= 127 */
#define SMALLEST_MAGNITUDE_BITS 0x0d800000u
#define LARGEST_MANTISSA 32767 /* check: LARGEST_MANTISSA == 2^15 - 1 */

mct_status mct_error_quantize_b16(const mct_elements_params *params, const float *error, mct_b16 *out)
{
    if (params == NULL || error == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements;
    uint32_t largest = 0;

    for (int32_t i = 0; i < elements; i++) {
        const uint32_t magnitude = mct_magnitude_bits_f32(error[i]);
        largest = magnitude > largest ? magnitude : largest;
    }
    if (largest >= MCT_INFINITY_BITS) {
        return MCT_ERROR_NOT_FINITE;
    }
    if (largest < SMALLEST_MAGNITUDE_BITS) {
        out->exponent = 0;
        memset(out->mantissa, 0, (size_t)elements * sizeof out->mantissa[0]);
        return MCT_OK;
    }
    /* A in [2^(k-1), 2^k): its biased exponent is k - 1 + 127. |exponent| <= 113, so the power of two is exact. */
    const int32_t exponent = (int32_t)(largest >> 23) - 126 - 15;
    const float power = mct_power_of_two_f32(-exponent);

    for (int32_t i = 0; i < elements; i++) {
        const int32_t mantissa = (int32_t)mct_half_even_f32(error[i] * power); /* at most 2^15 */
        out->mantissa[i] = (int16_t)mct_clamp_s32(mantissa, -LARGEST_MANTISSA, LARGEST_MANTISSA);
    }
    out->exponent = exponent;
    return MCT_OK;
}
