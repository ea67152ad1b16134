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

static bool is_depthwise(const mct_grouped_conv2d_s8_params *params)
{
    return params->groups == params->window.in_channels;
}

size_t mct_grouped_conv2d_s8_scratch_bytes(const mct_grouped_conv2d_s8_params *params)
{
    return is_depthwise(params) ? (size_t)params->window.out_channels * sizeof(int32_t) : (size_t)group_taps(params);
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

/* A depthwise convolution's sums of one output pixel: they begin as the bias. */
static MCT_NOINLINE void add_taps(const mct_grouped_conv2d_s8_params *params, const int8_t *x, int32_t out_row, int32_t out_column,
                                  const int8_t *weights, int32_t *sums)
{
    const mct_window *const w = &params->window;
    const int32_t taps = mct_kernel_taps(w), outputs = w->out_channels / params->groups, zero_point = params->input_zero_point;

    for (int32_t tap = 0; tap < taps; tap++) {
        const int32_t row = out_row * w->stride_height - w->pad_top + tap / w->kernel_width * params->dilation_height;
        const int32_t column = out_column * w->stride_width - w->pad_left + tap % w->kernel_width * params->dilation_width;

        if (row < 0 || row >= w->in_height || column < 0 || column >= w->in_width) {
            continue;
        }
        const int8_t *pixel = x + (size_t)(row * w->in_width + column) * (size_t)w->in_channels;
        const int8_t *weight = weights + tap;
        int32_t *sum = sums;

        if (outputs == 1) { /* the usual case, without the inner loop */
            for (int32_t *const end = sums + w->in_channels; sum != end; weight += taps) {
                *sum++ += (*pixel++ - zero_point) * *weight;
            }
            continue;
        }
        for (int32_t i = 0; i < w->in_channels; i++) {
            const int32_t value = pixel[i] - zero_point;

            for (int32_t o = 0; o < outputs; o++, weight += taps) {
                *sum++ += value * *weight;
            }
        }
    }
}

/* What turns sums into codes, and where they go. */
typedef struct {
    const int32_t *multiplier, *shift;
    mct_clamp clamp;
    int8_t *y;
    uint32_t *inside; /* or NULL; all bits 0 */
    size_t element;   /* of y, the next one: pixels, groups and their channels come in its order */
    bool half_even;
} output;

static void finish(output *out, const int32_t *sums, int32_t channel, int32_t channels)
{
    for (int32_t c = channel; c < channel + channels; c++, sums++, out->element++) {
        const int32_t multiplier = out->multiplier[c], shift = out->shift[c];
        const int32_t value =
            out->half_even ? mct_requantise_once_even(*sums, multiplier, shift) : mct_requantise(*sums, multiplier, shift);
        const uint32_t bit = mct_store_code(value, &out->clamp, &out->y[out->element]);

        if (out->inside != NULL) {
            out->inside[out->element / 32] |= bit << (out->element % 32);
        }
    }
}

static void convolve_group(const mct_grouped_conv2d_s8_params *params, const int8_t *gathered, const int8_t *weights, const int32_t *bias,
                           int32_t group, output *out)
{
    const int32_t taps = group_taps(params), outputs = params->window.out_channels / params->groups, end = (group + 1) * outputs;

    for (int32_t c = group * outputs; c < end; c += 2) {
        const int32_t next = c + 1 < end ? 1 : 0; /* a last filter goes twice */
        const int8_t *const filter = weights + (size_t)c * (size_t)taps;
        int32_t sums[2] = {bias[c], bias[c + next]};

        dot(gathered, filter, filter + next * taps, taps, params->input_zero_point, sums);
        finish(out, sums, c, 1 + next);
    }
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
    const int32_t inputs = w->in_channels / params->groups;
    const mct_clamp clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max);
    output out = {multiplier, shift, clamp, y, inside, 0, params->half_even != 0};

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)(w->out_height * w->out_width) * (size_t)w->out_channels) * sizeof *inside);
    }
    for (int32_t pixel = 0; pixel < w->out_height * w->out_width; pixel++) {
        const int32_t row = pixel / w->out_width, column = pixel % w->out_width;

        if (is_depthwise(params)) {
            memcpy(scratch, bias, (size_t)w->out_channels * sizeof *bias);
            add_taps(params, x, row, column, weights, scratch);
            finish(&out, scratch, 0, w->out_channels);
            continue;
        }
        for (int32_t group = 0; group < params->groups; group++) {
            gather(params, x + group * inputs, row, column, scratch);
            convolve_group(params, scratch, weights, bias, group, &out);
        }
    }
    return MCT_OK;
}
