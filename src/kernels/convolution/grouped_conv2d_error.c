/* dX of a convolution with dilated taps and groups of channels: tap by tap, so that borders, strides and dilation are only loop ranges, and
 * pixel by pixel, where every group's input channels take in its output channels. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/dsp.h"
#include "kernels/convolution/grouped_window.h"
#include "kernels/convolution/outer_2x4.h"

typedef mct_grouped_conv2d_gradient_params gradient_params;

static bool is_valid(const gradient_params *params, const void *g, const void *weights, const void *out)
{
    return params != NULL && g != NULL && weights != NULL && out != NULL &&
           mct_grouped_window_valid(&params->window, params->dilation_height, params->dilation_width, params->groups);
}

/* A group: `weights` at [o][tap][i] of its first output and input channel. */
typedef struct {
    int32_t inputs, outputs;
    int32_t filter_step; /* from one output channel's weights to the next's */
} group_shape;

static group_shape shape_of(const gradient_params *params)
{
    const int32_t inputs = params->window.in_channels / params->groups, taps = mct_kernel_taps(&params->window);

    return (group_shape){inputs, params->window.out_channels / params->groups, taps * inputs};
}

static void add_group(const group_shape *shape, const int16_t *g, const int8_t *weights, int32_t *sums)
{
    const int32_t outputs = shape->outputs, step = shape->filter_step;
    int32_t i = 0;

#if MCT_DSP
    for (; i + MCT_OUTER_LANES <= shape->inputs; i += MCT_OUTER_LANES) {
        const int8_t *row = weights + i;
        int32_t a = sums[i], b = sums[i + 1], c = sums[i + 2], d = sums[i + 3], o = 0;

        for (; o < outputs; o += 2, row += 2 * step) {
            const bool is_pair = o + 1 < outputs;
            const int32_t both = is_pair ? mct_load_word(g + o) : g[o];
            int32_t columns[MCT_OUTER_LANES];

            mct_pair_columns(mct_load_word(row), is_pair ? mct_load_word(row + step) : 0, columns);
            a = mct_smlad(both, columns[0], a);
            b = mct_smlad(both, columns[1], b);
            c = mct_smlad(both, columns[2], c);
            d = mct_smlad(both, columns[3], d);
        }
        sums[i] = a;
        sums[i + 1] = b;
        sums[i + 2] = c;
        sums[i + 3] = d;
    }
#endif
    for (; i < shape->inputs; i++) {
        int32_t sum = sums[i];

        for (int32_t o = 0; o < outputs; o++) {
            sum += g[o] * weights[o * step + i];
        }
        sums[i] = sum;
    }
}

/* One tap's part of the sums of an input pixel. */
static void add_pixel(const group_shape *shape, int32_t groups, const int16_t *g, const int8_t *weights, int32_t *sums)
{
    if (shape->inputs == 1 && shape->outputs == 1) { /* depthwise: groups of one product */
        for (int32_t group = 0; group < groups; group++) {
            sums[group] += g[group] * weights[group * shape->filter_step];
        }
        return;
    }
    for (; groups > 0; groups--) {
        add_group(shape, g, weights, sums);
        g += shape->outputs;
        weights += shape->outputs * shape->filter_step;
        sums += shape->inputs;
    }
}

mct_status mct_grouped_conv2d_error_b16(const gradient_params *params, const mct_b16 *g, const int8_t *weights, mct_b32 *sums)
{
    if (!is_valid(params, g, weights, sums)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const group_shape shape = shape_of(params);

    sums->exponent = g->exponent;
    memset(sums->mantissa, 0, mct_input_elements(w) * sizeof *sums->mantissa);
    for (int32_t tap = 0; tap < mct_kernel_taps(w); tap++) {
        const mct_tap_pixels p = mct_pixels_of_tap(w, params->dilation_height, params->dilation_width, tap);

        for (int32_t row = p.rows.first; row < p.rows.end; row++) {
            const int16_t *pixel = g->mantissa + (size_t)(row * w->out_width + p.columns.first) * (size_t)w->out_channels;
            int32_t *sum = sums->mantissa + mct_tap_input_offset(w, p.rows, p.columns, row);

            for (int32_t column = p.columns.first; column < p.columns.end; column++) {
                add_pixel(&shape, params->groups, pixel, weights + tap * shape.inputs, sum);
                pixel += w->out_channels;
                sum += w->stride_width * w->in_channels;
            }
        }
    }
    return MCT_OK;
}

/* Output channels ascending. */
static void add_pixel_f32(const group_shape *shape, int32_t groups, const float *g, const int8_t *weights, float *error)
{
    for (; groups > 0; groups--) {
        for (int32_t i = 0; i < shape->inputs; i++) {
            float sum = error[i];

            for (int32_t o = 0; o < shape->outputs; o++) {
                sum += g[o] * (float)weights[o * shape->filter_step + i];
            }
            error[i] = sum;
        }
        g += shape->outputs;
        weights += shape->outputs * shape->filter_step;
        error += shape->inputs;
    }
}

/* Taps ascending, and within a tap the output channels ascending: the stated order of each sum. */
mct_status mct_grouped_conv2d_error_f32(const gradient_params *params, const float *g, const int8_t *weights, float *error)
{
    if (!is_valid(params, g, weights, error)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const group_shape shape = shape_of(params);

    for (size_t i = 0; i < mct_input_elements(w); i++) {
        error[i] = 0.0f;
    }
    for (int32_t tap = 0; tap < mct_kernel_taps(w); tap++) {
        const mct_tap_pixels p = mct_pixels_of_tap(w, params->dilation_height, params->dilation_width, tap);

        for (int32_t row = p.rows.first; row < p.rows.end; row++) {
            const float *pixel = g + (size_t)(row * w->out_width + p.columns.first) * (size_t)w->out_channels;
            float *sum = error + mct_tap_input_offset(w, p.rows, p.columns, row);

            for (int32_t column = p.columns.first; column < p.columns.end; column++) {
                add_pixel_f32(&shape, params->groups, pixel, weights + tap * shape.inputs, sum);
                pixel += w->out_channels;
                sum += w->stride_width * w->in_channels;
            }
        }
    }
    return MCT_OK;
}
