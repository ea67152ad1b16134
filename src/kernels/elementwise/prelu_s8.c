/* prelu: a change of scale above 0, and times alpha below. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include "kernels/common/requantize.h"

enum { WORD_BITS = 32 };

static bool valid(const mct_prelu_s8_params *p)
{
    return p->elements > 0 && p->alphas > 0 && p->elements % p->alphas == 0 && mct_code_valid(p->input_zero_point) &&
           mct_code_valid(p->output_zero_point) && mct_multiplier_valid(p->multiplier, p->shift) &&
           mct_multiplier_valid(p->alpha_multiplier, p->alpha_shift);
}

mct_status mct_prelu_s8(const mct_prelu_s8_params *params, const int8_t *x, const int32_t *alpha, int8_t *y, uint32_t *inside)
{
    if (params == NULL || x == NULL || alpha == NULL || y == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_prelu_s8_params p = *params; /* a copy: stores to y cannot change it */
    const mct_clamp clamp = mct_clamp_make(p.output_zero_point, INT8_MIN, INT8_MAX);
    int32_t channel = 0;

    for (int32_t start = 0; start < p.elements; start += WORD_BITS) {
        const int32_t end = p.elements - start > WORD_BITS ? start + WORD_BITS : p.elements;
        uint32_t word = 0;

        for (int32_t i = start; i < end; i++) {
            const int32_t centred = x[i] - p.input_zero_point;
            const int32_t value = centred >= 0 ? mct_requantise(centred, p.multiplier, p.shift)
                                               : mct_requantise(centred * alpha[channel], p.alpha_multiplier, p.alpha_shift);

            word |= mct_store_code(value, &clamp, &y[i]) << (i - start);
            channel = channel + 1 < p.alphas ? channel + 1 : 0;
        }
        if (inside != NULL) {
            inside[start / WORD_BITS] = word;
        }
    }
    return MCT_OK;
}
