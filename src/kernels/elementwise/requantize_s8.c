/* requantize: a change of scale, and stand-alone relu, relu6 and clip. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include "kernels/common/requantize.h"

enum { WORD_BITS = 32 };

mct_status mct_requantize_s8(const mct_requantize_s8_params *params, const int8_t *x, int8_t *y, uint32_t *inside)
{
    if (params == NULL || x == NULL || y == NULL || params->elements <= 0 || !mct_code_valid(params->input_zero_point) ||
        !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max) ||
        !mct_multiplier_valid(params->multiplier, params->shift)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_requantize_s8_params p = *params; /* a copy: stores to y cannot change it */
    const mct_clamp clamp = mct_clamp_make(p.output_zero_point, p.clamp_min, p.clamp_max);

    for (int32_t start = 0; start < p.elements; start += WORD_BITS) {
        const int32_t end = p.elements - start > WORD_BITS ? start + WORD_BITS : p.elements;
        uint32_t word = 0;

        for (int32_t i = start; i < end; i++) {
            const int32_t value = mct_requantise(x[i] - p.input_zero_point, p.multiplier, p.shift);

            word |= mct_store_code(value, &clamp, &y[i]) << (i - start);
        }
        if (inside != NULL) {
            inside[start / WORD_BITS] = word;
        }
    }
    return MCT_OK;
}
