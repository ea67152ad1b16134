#include "block_float.h"
#include "mcutrain/backward.h"

mct_status mct_error_normalize_b16(const mct_elements_params *params, const mct_b32 *sums, mct_b16 *out)
{
    if (params == NULL || sums == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements;
    uint32_t largest = 0;

    for (int32_t i = 0; i < elements; i++) {
        const uint32_t magnitude = mct_magnitude_s32(sums->mantissa[i]);
        largest = magnitude > largest ? magnitude : largest;
    }
    const uint32_t r = mct_fit(largest, 15);

    out->exponent = sums->exponent + (int32_t)r;
    /* In place, mantissa i is written to bytes 2i and 2i + 1 of what is read from 4i on: ascending order never overtakes. */
    for (int32_t i = 0; i < elements; i++) {
        out->mantissa[i] = (int16_t)mct_halfaway(sums->mantissa[i], r);
    }
    return MCT_OK;
}
