/* conv2d with dilated taps and with groups of channels. What a group reads for an output pixel is gathered, byte for byte and with the zero
 * point outside of the image; its output channels are then dot products of contiguous bytes, two at a time. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/forward.h"
#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/common/requantize.h"
#include "kernels/convolution/gather_window.h"
#include "kernels/convolution/grouped_window.h"

static int32_t group_taps(const mct_grouped_conv2d_s8_params *params)
{
    return mct_kernel_taps(&params->window) * (params->window.in_channels / params->groups);
}

size_t mct_grouped_conv2d_s8_scratch_bytes(const mct_grouped_conv2d_s8_params *params)
{
    return (size_t)group_taps(params);
}

static inline void copy_bytes(int8_t *target, const int8_t *source, int32_t count)
{
#if MCT_DSP
    mct_copy_bytes(target, source, count);
#else
    memcpy(target, source, (size_t)count);
#endif
}

/* What a group reads for an output pixel, [kernel_height][kernel_width][in_channels / groups]. x begins at the group's first channel. */
static MCT_NOINLINE void gather(const mct_grouped_conv2d_s8_params *params, const int8_t *x, int32_t out_row, int32_t out_column,
                                int8_t *taps)
{
    const mct_window *const w = &params->window;
    const int32_t channels = w->in_channels / params->groups;
    const int32_t top = out_row * w->stride_height - w->pad_top, left = out_column * w->stride_width - w->pad_left;
    const int32_t height = (w->kernel_height - 1) * params->dilation_height, width = (w->kernel_width - 1) * params->dilation_width;

    if (top < 0 || left < 0 || top + height >= w->in_height || left + width >= w->in_width) {
        memset(taps, params->input_zero_point, (size_t)group_taps(params));
    }
    for (int32_t row = top; row <= top + height; row += params->dilation_height) {
        for (int32_t column = left; column <= left + width; column += params->dilation_width, taps += channels) {
            if (row >= 0 && row < w->in_height && column >= 0 && column < w->in_width) {
                copy_bytes(taps, x + (size_t)(row * w->in_width + column) * (size_t)w->in_channels, channels);
            }
        }
    }
}

/* sums += what was gathered, less the zero point, times two filters. */
static MCT_NOINLINE void dot(const int8_t *taps, const int8_t *filter_0, const int8_t *filter_1, int32_t count, int32_t zero_point,
                             int32_t sums[2])
{
    int32_t s0 = sums[0], s1 = sums[1];

#if MCT_DSP
    const int32_t zero_points = mct_both(zero_point);

    for (; count >= 4; count -= 4, taps += 4, filter_0 += 4, filter_1 += 4) {
        const int32_t word = mct_load_word(taps), w0 = mct_load_word(filter_0), w1 = mct_load_word(filter_1);
        const int32_t even = mct_ssub16(mct_sxtb16(word), zero_points), odd = mct_ssub16(mct_sxtb16_ror8(word), zero_points);

        s0 = mct_smlad(odd, mct_sxtb16_ror8(w0), mct_smlad(even, mct_sxtb16(w0), s0));
        s1 = mct_smlad(odd, mct_sxtb16_ror8(w1), mct_smlad(even, mct_sxtb16(w1), s1));
    }
#endif
    for (int32_t i = 0; i < count; i++) {
        s0 += (taps[i] - zero_point) * filter_0[i];
        s1 += (taps[i] - zero_point) * filter_1[i];
    }
    sums[0] = s0;
    sums[1] = s1;
}

static bool is_valid(const mct_grouped_conv2d_s8_params *params, const int32_t *multiplier, const int32_t *shift)
{
    if (!mct_grouped_window_valid(&params->window, params->dilation_height, params->dilation_width, params->groups) ||
        !mct_code_valid(params->input_zero_point) || !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max)) {
        return false;
    }
    for (int32_t c = 0; c < params->window.out_channels; c++) {
        if (!mct_multiplier_valid(multiplier[c], shift[c])) {
            return false;
        }
    }
    return true;
}

mct_status mct_grouped_conv2d_s8(const mct_grouped_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                                 const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside)
{
    if (params == NULL || x == NULL || weights == NULL || bias == NULL || multiplier == NULL || shift == NULL || scratch == NULL ||
        (uintptr_t)scratch % 4 != 0 || y == NULL || !is_valid(params, multiplier, shift)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const mct_clamp clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max);
    const int32_t taps = group_taps(params), inputs = w->in_channels / params->groups, outputs = w->out_channels / params->groups;
    size_t element = 0; /* of y: pixels, groups and their channels come in its order */

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)(w->out_height * w->out_width) * (size_t)w->out_channels) * sizeof *inside);
    }
    for (int32_t pixel = 0; pixel < w->out_height * w->out_width; pixel++) {
        for (int32_t group = 0; group < params->groups; group++) {
            gather(params, x + group * inputs, pixel / w->out_width, pixel % w->out_width, scratch);
            for (int32_t c = group * outputs; c < (group + 1) * outputs; c += 2) {
                const int32_t pair = c + 1 < (group + 1) * outputs ? 2 : 1;
                const int8_t *const filter = weights + (size_t)c * (size_t)taps;
                int32_t sums[2] = {bias[c], bias[c + pair - 1]};

                dot(scratch, filter, filter + (pair - 1) * taps, taps, params->input_zero_point, sums);
                for (int32_t i = 0; i < pair; i++, element++) {
                    const int32_t value = mct_requantise(sums[i], multiplier[c + i], shift[c + i]);
                    const uint32_t bit = mct_store_code(value, &clamp, &y[element]);

                    if (inside != NULL) {
                        inside[element / 32] |= bit << (element % 32);
                    }
                }
            }
        }
    }
    return MCT_OK;
}
