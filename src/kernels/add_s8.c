/* add: both inputs on a common finer scale, summed, rescaled to the output. */
#include "mcutrain/forward.h"

#include "requantize.h"

enum { WORD_BITS = 32, MAX_LEFT_SHIFT = 22 };

static bool valid(const mct_add_s8_params *p)
{
    /* |code - zero point| <= 255, so that 255 * 2^22 and, with multipliers up to 1, the sum of two stay below 2^31. */
    return p->elements > 0 && mct_code_valid(p->a_zero_point) && mct_code_valid(p->b_zero_point) &&
           mct_clamp_valid(p->output_zero_point, p->clamp_min, p->clamp_max) && p->left_shift >= 0 && p->left_shift <= MAX_LEFT_SHIFT &&
           mct_multiplier_valid(p->a_multiplier, p->a_shift) && p->a_shift <= 0 && mct_multiplier_valid(p->b_multiplier, p->b_shift) &&
           p->b_shift <= 0 && mct_multiplier_valid(p->output_multiplier, p->output_shift);
}

mct_status mct_add_s8(const mct_add_s8_params *params, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *inside)
{
    if (params == NULL || a == NULL || b == NULL || y == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_add_s8_params p = *params; /* a copy: stores to y cannot change it */
    const mct_clamp clamp = mct_clamp_make(p.output_zero_point, p.clamp_min, p.clamp_max);
    const int32_t unit = 1 << p.left_shift;

    for (int32_t start = 0; start < p.elements; start += WORD_BITS) {
        const int32_t end = p.elements - start > WORD_BITS ? start + WORD_BITS : p.elements;
        uint32_t word = 0;

        for (int32_t i = start; i < end; i++) {
            const int32_t fine_a = mct_requantise((a[i] - p.a_zero_point) * unit, p.a_multiplier, p.a_shift);
            const int32_t fine_b = mct_requantise((b[i] - p.b_zero_point) * unit, p.b_multiplier, p.b_shift);
            const int32_t sum = mct_requantise(fine_a + fine_b, p.output_multiplier, p.output_shift);

            word |= mct_store_code(sum, &clamp, &y[i]) << (i - start);
        }
        if (inside != NULL) {
            inside[start / WORD_BITS] = word;
        }
    }
    return MCT_OK;
}
