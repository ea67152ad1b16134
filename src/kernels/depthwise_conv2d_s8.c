/* depthwise_conv2d: each channel's plane is gathered once, minus the zero point, and every output of it is a dot product of a few words.
 * Rows of sums become codes in a loop of their own, whose many constants then fit the registers. A channel of x is read whole before the
 * same channel of y is written, so with one output per input channel y may be x. */
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

    return (size_t)params->window.out_width * sizeof(int32_t) +
           (filter_elements(&params->window) + mct_plane_elements(&plane)) * sizeof(int16_t);
}

static void gather(const mct_window *w, const mct_plane *plane, const int8_t *restrict x, int32_t zero_point, int16_t *restrict values)
{
    const int32_t rows = mct_plane_rows(plane, w->in_height), columns = mct_plane_columns(plane, w->in_width);
    const int32_t step = w->in_channels;

    for (int32_t row = 0; row < rows; row++) {
        const int8_t *source = x + (size_t)row * (size_t)w->in_width * (size_t)step;
        int16_t *target = values + (plane->top + row) * plane->width + plane->left;

        MCT_UNROLL(4)
        for (int32_t column = 0; column < columns; column++) {
            target[column] = (int16_t)(*source - zero_point);
            source += step;
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
    int32_t multiplier, shift;
    mct_clamp clamp;
    size_t step; /* elements from one pixel to the next */
    int8_t *y;
    uint32_t *inside; /* or NULL */
} channel_output;

static MCT_SPECIALISED void store(const int32_t *restrict sums, int32_t count, size_t element, const channel_output *out, bool masked)
{
    const mct_clamp clamp = out->clamp;
    const int32_t multiplier = out->multiplier, shift = out->shift;
    const size_t step = out->step;
    uint32_t *const inside = out->inside;
    int8_t *y = out->y + element;

    for (const int32_t *const end = sums + count; sums != end; y += step) {
        const uint32_t bit = mct_store_code(mct_requantise(*sums++, multiplier, shift), &clamp, y);

        if (masked) {
            inside[element / 32] |= bit << (element % 32);
            element += step;
        }
    }
}

static MCT_NOINLINE void store_row(const int32_t *sums, int32_t count, size_t element, const channel_output *out)
{
    if (out->inside != NULL) {
        store(sums, count, element, out, true);
    } else {
        store(sums, count, element, out, false);
    }
}

/* A row of sums. Compiled apart for the usual filters, whose loops then vanish. */
static MCT_SPECIALISED void convolve(const int16_t *x, int32_t width, const int16_t *filter, int32_t rows, int32_t columns, int32_t stride,
                                     int32_t bias, int32_t *sums, int32_t count)
{
    int32_t *const end = sums + count;

    for (; end - sums >= 2; x += 2 * stride) {
        const int16_t *x0 = x, *x1 = x + stride;
        int32_t s0 = bias, s1 = bias;

        MCT_UNROLL(8)
        for (int32_t r = 0; r < rows; r++) {
            MCT_UNROLL(4)
            for (int32_t i = 0; i < columns; i += 2) {
                s0 = mct_pair_dot(x0 + i, filter + r * columns + i, s0);
                s1 = mct_pair_dot(x1 + i, filter + r * columns + i, s1);
            }
            x0 += width;
            x1 += width;
        }
        *sums++ = s0;
        *sums++ = s1;
    }
    if (sums != end) {
        *sums = mct_plane_dot(x, width, filter, columns, rows, columns, bias);
    }
}

static MCT_NOINLINE void convolve_row(const mct_window *w, const int16_t *x, int32_t width, const int16_t *filter, int32_t bias,
                                      int32_t *sums)
{
    const int32_t rows = w->kernel_height, columns = filter_columns(w), stride = w->stride_width, count = w->out_width;

    if (rows == 3 && columns == 4) {
        convolve(x, width, filter, 3, 4, stride, bias, sums, count);
    } else if (rows == 5 && columns == 6) {
        convolve(x, width, filter, 5, 6, stride, bias, sums, count);
    } else if (rows == 7 && columns == 8) {
        convolve(x, width, filter, 7, 8, stride, bias, sums, count);
    } else {
        convolve(x, width, filter, rows, columns, stride, bias, sums, count);
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
    int32_t *const sums = scratch;
    int16_t *const filter = (int16_t *)(sums + w->out_width), *const values = filter + filter_elements(w);

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)w->out_height * (size_t)w->out_width * channels) * sizeof *inside);
    }
    memset(values, 0, mct_plane_elements(&plane) * sizeof *values); /* the border stays; every channel has the same interior */
    for (int32_t c = 0, o = 0; c < w->in_channels; c++) {
        gather(w, &plane, x + c, params->input_zero_point, values);
        for (const int32_t end = o + outputs; o < end; o++, weights += taps) {
            const channel_output out = {
                .multiplier = multiplier[o],
                .shift = shift[o],
                .clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max),
                .step = channels,
                .y = y,
                .inside = inside,
            };
            const int16_t *row_values = values;
            size_t element = (size_t)o;

            widen_filter(w, weights, filter);
            for (int32_t row = 0; row < w->out_height; row++, row_values += w->stride_height * plane.width) {
                convolve_row(w, row_values, plane.width, filter, bias[o], sums);
                store_row(sums, w->out_width, element, &out);
                element += (size_t)w->out_width * channels;
            }
        }
    }
    return MCT_OK;
}
