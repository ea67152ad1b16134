/* depthwise_conv2d: each channel's plane is gathered once, minus the zero point, and every output of it is a dot product of a few words.
 * A channel of x is read whole before the same channel of y is written, so with one output per input channel y may be x. */
#include "mcutrain/forward.h"

#include <string.h>

#include "compiler.h"
#include "depthwise_plane.h"
#include "requantize.h"

/* A filter row is a whole number of words; the columns it gains are zeros. */
static int32_t filter_columns(const mct_window *w)
{
    return mct_even(w->kernel_width);
}

static mct_plane input_plane(const mct_window *w)
{
    const mct_plane plane = {
        .height = (w->out_height - 1) * w->stride_height + w->kernel_height,
        .width = mct_even((w->out_width - 1) * w->stride_width + filter_columns(w)),
        .top = w->pad_top,
        .left = w->pad_left,
    };
    return plane;
}

static size_t filter_elements(const mct_window *w)
{
    return (size_t)w->kernel_height * (size_t)filter_columns(w);
}

size_t mct_depthwise_conv2d_s8_scratch_bytes(const mct_depthwise_conv2d_s8_params *params)
{
    const mct_plane plane = input_plane(&params->window);

    return (filter_elements(&params->window) + mct_plane_elements(&plane)) * sizeof(int16_t);
}

static void gather(const mct_window *w, const mct_plane *plane, const int8_t *restrict x, int32_t zero_point, int16_t *restrict values)
{
    const int32_t rows = mct_plane_rows(plane, w->in_height), columns = mct_plane_columns(plane, w->in_width);
    const int32_t step = w->in_channels;

    for (int32_t row = 0; row < rows; row++) {
        const int8_t *source = x + (size_t)row * (size_t)w->in_width * (size_t)step;
        int16_t *target = values + (plane->top + row) * plane->width + plane->left;

        for (int32_t column = 0; column < columns; column++, source += step) {
            target[column] = (int16_t)(*source - zero_point);
        }
    }
}

static void widen_filter(const mct_window *w, const int8_t *weights, int16_t *filter)
{
    const int32_t columns = filter_columns(w);

    for (int32_t row = 0; row < w->kernel_height; row++, filter += columns) {
        filter[columns - 1] = 0;
        for (int32_t column = 0; column < w->kernel_width; column++) {
            filter[column] = *weights++;
        }
    }
}

/* What turns the sums of one output channel into codes, and where they go. */
typedef struct {
    int32_t bias, multiplier, shift;
    mct_clamp clamp;
    int8_t *y;        /* of pixel 0 */
    uint32_t *inside; /* or NULL */
    size_t element;   /* of pixel 0 */
    size_t step;      /* elements from one pixel to the next */
} channel_output;

static inline void store(channel_output *out, int32_t sum)
{
    const uint32_t bit = mct_store_code(mct_requantise(sum, out->multiplier, out->shift), &out->clamp, out->y);

    if (out->inside != NULL) {
        out->inside[out->element / 32] |= bit << (out->element % 32);
        out->element += out->step;
    }
    out->y += out->step;
}

/* Compiled apart for the usual filters, whose loops then vanish. */
static MCT_SPECIALISED void convolve(const mct_window *w, const mct_plane *plane, const int16_t *values, const int16_t *filter,
                                     int32_t rows, int32_t columns, channel_output *out)
{
    const int32_t row_step = w->stride_height * plane->width, column_step = w->stride_width, width = plane->width;
    const int32_t bias = out->bias, out_width = w->out_width;

    for (int32_t row = 0; row < w->out_height; row++, values += row_step) {
        const int16_t *x = values;
        int32_t column = 0;

        for (; column + 2 <= out_width; column += 2, x += 2 * column_step) {
            const int16_t *x0 = x, *x1 = x + column_step, *f = filter;
            int32_t s0 = bias, s1 = bias;

            for (int32_t r = 0; r < rows; r++, x0 += width, x1 += width, f += columns) {
                s0 = mct_plane_dot(x0, 0, f, 0, 1, columns, s0);
                s1 = mct_plane_dot(x1, 0, f, 0, 1, columns, s1);
            }
            store(out, s0);
            store(out, s1);
        }
        if (column < out_width) {
            store(out, mct_plane_dot(x, width, filter, columns, rows, columns, bias));
        }
    }
}

static MCT_NOINLINE void convolve_3(const mct_window *w, const mct_plane *plane, const int16_t *values, const int16_t *filter,
                                    channel_output *out)
{
    convolve(w, plane, values, filter, 3, 4, out);
}

static MCT_NOINLINE void convolve_5(const mct_window *w, const mct_plane *plane, const int16_t *values, const int16_t *filter,
                                    channel_output *out)
{
    convolve(w, plane, values, filter, 5, 6, out);
}

static MCT_NOINLINE void convolve_7(const mct_window *w, const mct_plane *plane, const int16_t *values, const int16_t *filter,
                                    channel_output *out)
{
    convolve(w, plane, values, filter, 7, 8, out);
}

static MCT_NOINLINE void convolve_any(const mct_window *w, const mct_plane *plane, const int16_t *values, const int16_t *filter,
                                      channel_output *out)
{
    convolve(w, plane, values, filter, w->kernel_height, filter_columns(w), out);
}

static void convolve_channel(const mct_window *w, const mct_plane *plane, const int16_t *values, const int16_t *filter,
                             channel_output *out)
{
    if (w->kernel_height == 3 && w->kernel_width == 3) {
        convolve_3(w, plane, values, filter, out);
    } else if (w->kernel_height == 5 && w->kernel_width == 5) {
        convolve_5(w, plane, values, filter, out);
    } else if (w->kernel_height == 7 && w->kernel_width == 7) {
        convolve_7(w, plane, values, filter, out);
    } else {
        convolve_any(w, plane, values, filter, out);
    }
}

static bool valid(const mct_depthwise_conv2d_s8_params *params, const int32_t *multiplier, const int32_t *shift)
{
    if (!mct_depthwise_window_valid(&params->window) || !mct_code_valid(params->input_zero_point) ||
        !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max)) {
        return false;
    }
    for (int32_t c = 0; c < params->window.out_channels; c++) {
        if (!mct_multiplier_valid(multiplier[c], shift[c])) {
            return false;
        }
    }
    return true;
}

mct_status mct_depthwise_conv2d_s8(const mct_depthwise_conv2d_s8_params *params, const int8_t *x, const int8_t *weights,
                                   const int32_t *bias, const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y,
                                   uint32_t *inside)
{
    if (params == NULL || x == NULL || weights == NULL || bias == NULL || multiplier == NULL || shift == NULL || scratch == NULL ||
        (uintptr_t)scratch % 4 != 0 || y == NULL || !valid(params, multiplier, shift)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const mct_plane plane = input_plane(w);
    const int32_t taps = w->kernel_height * w->kernel_width, outputs = w->out_channels / w->in_channels;
    const size_t channels = (size_t)w->out_channels;
    int16_t *const filter = scratch, *const values = filter + filter_elements(w);

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)w->out_height * (size_t)w->out_width * channels) * sizeof *inside);
    }
    memset(values, 0, mct_plane_elements(&plane) * sizeof *values); /* the border stays; every channel has the same interior */
    for (int32_t c = 0, o = 0; c < w->in_channels; c++) {
        gather(w, &plane, x + c, params->input_zero_point, values);
        for (const int32_t end = o + outputs; o < end; o++, weights += taps) {
            channel_output out = {
                .bias = bias[o],
                .multiplier = multiplier[o],
                .shift = shift[o],
                .clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max),
                .y = y + o,
                .inside = inside,
                .element = (size_t)o,
                .step = channels,
            };
            widen_filter(w, weights, filter);
            convolve_channel(w, &plane, values, filter, &out);
        }
    }
    return MCT_OK;
}
