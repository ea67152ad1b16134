/* multiply: the product of two tensors, each repeated along the axes that it lacks. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/forward.h"

#include "kernels/common/broadcast.h"
#include "kernels/common/compiler.h"
#include "kernels/common/requantize.h"

#define LARGEST_PRODUCT 65025 /* check: LARGEST_PRODUCT == 255 * 255 */

typedef struct {
    int32_t a_zero_point, b_zero_point, multiplier, shift;
    mct_prepared_scale prepared;
    mct_clamp clamp;
    bool half_even;
} multiply_context;

/* One row of the output. is_short: mct_is_preparable of every product, and LiteRT's roundings. */
static MCT_SPECIALISED void multiply_row(const multiply_context *context, const int8_t *a, size_t a_step, const int8_t *b, size_t b_step,
                                         int8_t *y, size_t count, size_t at, uint32_t *inside, bool is_short)
{
    const multiply_context m = *context; /* a copy: stores to y cannot change it */

    for (size_t i = 0; i < count; i++, a += a_step, b += b_step) {
        const int32_t product = (*a - m.a_zero_point) * (*b - m.b_zero_point);
        const int32_t value = is_short      ? mct_requantise_prepared(product, m.prepared, 0)
                              : m.half_even ? mct_requantise_once_even(product, m.multiplier, m.shift)
                                            : mct_requantise(product, m.multiplier, m.shift);
        const uint32_t bit = mct_store_code(value, &m.clamp, &y[i]);

        if (inside != NULL) {
            inside[(at + i) / 32] |= bit << ((at + i) % 32);
        }
    }
}

mct_status mct_multiply_s8(const mct_multiply_s8_params *params, const int8_t *restrict a, const int8_t *restrict b, int8_t *restrict y,
                           uint32_t *restrict inside)
{
    if (params == NULL || a == NULL || b == NULL || y == NULL || !mct_broadcast_valid(&params->broadcast) ||
        !mct_code_valid(params->a_zero_point) || !mct_code_valid(params->b_zero_point) ||
        !mct_multiplier_valid(params->multiplier, params->shift) ||
        !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_broadcast *const shape = &params->broadcast;
    const bool half_even = params->half_even != 0;
    const bool is_short = !half_even && mct_is_preparable(LARGEST_PRODUCT, params->multiplier, params->shift);
    const multiply_context context = {
        .a_zero_point = params->a_zero_point,
        .b_zero_point = params->b_zero_point,
        .multiplier = params->multiplier,
        .shift = params->shift,
        .prepared = is_short ? mct_prepare_scale(params->multiplier, params->shift) : (mct_prepared_scale){0, 0},
        .clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max),
        .half_even = half_even,
    };
    const size_t a_step = (size_t)shape->a_step_3, b_step = (size_t)shape->b_step_3, count = (size_t)shape->size_3;
    mct_broadcast_row row = {0, 0, 0, 0, 0};
    size_t at = 0;

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words(mct_broadcast_elements(shape)) * sizeof *inside);
    }
    do {
        if (is_short) {
            multiply_row(&context, a + row.a, a_step, b + row.b, b_step, y + at, count, at, inside, true);
        } else {
            multiply_row(&context, a + row.a, a_step, b + row.b, b_step, y + at, count, at, inside, false);
        }
        at += count;
    } while (mct_broadcast_next(shape, &row));
    return MCT_OK;
}
