/* add: the sum or the difference of two tensors, each repeated along the axes that it lacks. add_s8 has the faster way for equal shapes. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/forward.h"

#include "kernels/common/broadcast.h"
#include "kernels/common/requantize.h"

enum { MAX_LEFT_SHIFT = 22 };

static bool valid(const mct_add_broadcast_s8_params *p)
{
    /* |code - zero point| <= 255: with multipliers up to 1 the sum of two stays within int32. check: 2 * 255 * 2^MAX_LEFT_SHIFT < 2^31 */
    return mct_broadcast_valid(&p->broadcast) && (p->subtracts == 0 || p->subtracts == 1) && mct_code_valid(p->a_zero_point) &&
           mct_code_valid(p->b_zero_point) && mct_clamp_valid(p->output_zero_point, p->clamp_min, p->clamp_max) && p->left_shift >= 0 &&
           p->left_shift <= MAX_LEFT_SHIFT && mct_multiplier_valid(p->a_multiplier, p->a_shift) && p->a_shift <= 0 &&
           mct_multiplier_valid(p->b_multiplier, p->b_shift) && p->b_shift <= 0 &&
           mct_multiplier_valid(p->output_multiplier, p->output_shift);
}

mct_status mct_add_broadcast_s8(const mct_add_broadcast_s8_params *params, const int8_t *restrict a, const int8_t *restrict b,
                                int8_t *restrict y, uint32_t *restrict inside)
{
    if (params == NULL || a == NULL || b == NULL || y == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_add_broadcast_s8_params p = *params; /* a copy: stores to y cannot change it */
    const mct_broadcast *const shape = &p.broadcast;
    const mct_clamp clamp = mct_clamp_make(p.output_zero_point, p.clamp_min, p.clamp_max);
    const int32_t unit = 1 << p.left_shift;
    mct_broadcast_row row = {0, 0, 0, 0, 0};
    size_t at = 0;

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words(mct_broadcast_elements(shape)) * sizeof *inside);
    }
    do {
        const int8_t *left = a + row.a, *right = b + row.b;

        for (int32_t i = 0; i < shape->size_3; i++, at++, left += shape->a_step_3, right += shape->b_step_3) {
            const int32_t fine_a = mct_requantise((*left - p.a_zero_point) * unit, p.a_multiplier, p.a_shift);
            const int32_t fine_b = mct_requantise((*right - p.b_zero_point) * unit, p.b_multiplier, p.b_shift);
            const int32_t sum = p.subtracts != 0 ? fine_a - fine_b : fine_a + fine_b;
            const uint32_t bit = mct_store_code(mct_requantise(sum, p.output_multiplier, p.output_shift), &clamp, &y[at]);

            if (inside != NULL) {
                inside[at / 32] |= bit << (at % 32);
            }
        }
    } while (mct_broadcast_next(shape, &row));
    return MCT_OK;
}
