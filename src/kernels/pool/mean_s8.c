/* mean: of every channel over all pixels. The number of pixels is part of the multiplier. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include <string.h>

#include "kernels/common/requantize.h"

mct_status mct_mean_s8(const mct_mean_s8_params *params, const int8_t *restrict x, int8_t *restrict y, uint32_t *restrict inside)
{
    if (params == NULL || x == NULL || y == NULL || params->pixels <= 0 || params->pixels >= 1 << 23 || params->channels <= 0 ||
        !mct_code_valid(params->input_zero_point) || !mct_multiplier_valid(params->multiplier, params->shift) ||
        !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_clamp clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max);
    const size_t channels = (size_t)params->channels;

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words(channels) * sizeof *inside);
    }
    for (size_t c = 0; c < channels; c++) {
        const int8_t *pixel = x + c;
        int32_t sum = -params->input_zero_point * params->pixels; /* |sum| < 2^8 * 2^23 */

        for (int32_t p = 0; p < params->pixels; p++, pixel += channels) {
            sum += *pixel;
        }
        const uint32_t bit = mct_store_code(mct_requantise(sum, params->multiplier, params->shift), &clamp, &y[c]);

        if (inside != NULL) {
            inside[c / 32] |= bit << (c % 32);
        }
    }
    return MCT_OK;
}
