/* mean: over any axes, as pixels and runs of each channel. The number of values is part of the multiplier. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include <string.h>

#include "kernels/common/compiler.h"
#include "kernels/common/requantize.h"

static bool valid(const mct_mean_s8_params *p)
{
    return p->pixels > 0 && p->run > 0 && (int64_t)p->pixels * p->run < 1 << 23 && p->channels > 0 && p->outer > 0 &&
           mct_code_valid(p->input_zero_point) && mct_multiplier_valid(p->multiplier, p->shift) &&
           mct_clamp_valid(p->output_zero_point, p->clamp_min, p->clamp_max);
}

/* The sum of one channel; x is at its first value. |sum| < 2^8 * 2^23. */
static MCT_SPECIALISED int32_t sum_values(const int8_t *x, int32_t pixels, size_t step, int32_t run, int32_t zero_point)
{
    int32_t sum = -zero_point * pixels * run;

    for (int32_t p = 0; p < pixels; p++, x += step) {
        for (int32_t i = 0; i < run; i++) {
            sum += x[i];
        }
    }
    return sum;
}

mct_status mct_mean_s8(const mct_mean_s8_params *params, const int8_t *restrict x, int8_t *restrict y, uint32_t *restrict inside)
{
    if (params == NULL || x == NULL || y == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_clamp clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max);
    const size_t channels = (size_t)params->channels, step = channels * (size_t)params->run;
    const int32_t pixels = params->pixels, run = params->run, zero_point = params->input_zero_point;
    size_t i = 0;

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)params->outer * channels) * sizeof *inside);
    }
    for (int32_t outer = 0; outer < params->outer; outer++, x += (size_t)pixels * step) {
        for (size_t c = 0; c < channels; c++, i++) {
            const int32_t sum =
                run == 1 ? sum_values(x + c, pixels, step, 1, zero_point) : sum_values(x + c * (size_t)run, pixels, step, run, zero_point);
            const uint32_t bit = mct_store_code(mct_requantise(sum, params->multiplier, params->shift), &clamp, &y[i]);

            if (inside != NULL) {
                inside[i / 32] |= bit << (i % 32);
            }
        }
    }
    return MCT_OK;
}
