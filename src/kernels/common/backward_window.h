/* Geometry of the gradients: which outputs of a sliding window read the image at a given kernel row (or column). Walking a convolution
 * tap by tap, with these ranges outside the pixel loops, leaves no test for borders, strides or padding inside them. */
#ifndef MCT_KERNELS_BACKWARD_WINDOW_H
#define MCT_KERNELS_BACKWARD_WINDOW_H

#include "kernels/common/integer.h"
#include "kernels/common/window.h"

static inline size_t mct_input_elements(const mct_window *window)
{
    return (size_t)window->in_height * (size_t)window->in_width * (size_t)window->in_channels;
}

typedef struct {
    int32_t first, end; /* output rows (columns) first <= o < end; empty where first == end */
    int32_t input;      /* input row (column) that output `first` reads; the next output reads `stride` further */
} mct_tap_range;

static inline mct_tap_range mct_tap_range_of(int32_t in, int32_t out, int32_t stride, int32_t pad, int32_t tap)
{
    const int32_t offset = tap - pad; /* output o reads input o * stride + offset */
    const int32_t first = offset < 0 ? (-offset + stride - 1) / stride : 0;
    const int32_t inputs_left = in - offset; /* inputs from that of output 0 to the image's end */
    const int32_t reached = inputs_left > 0 ? (inputs_left + stride - 1) / stride : 0;
    int32_t end = reached < out ? reached : out;

    if (end < first) {
        end = first;
    }
    return (mct_tap_range){first, end, first * stride + offset};
}

static inline mct_tap_range mct_tap_rows(const mct_window *window, int32_t kernel_row)
{
    return mct_tap_range_of(window->in_height, window->out_height, window->stride_height, window->pad_top, kernel_row);
}

static inline mct_tap_range mct_tap_columns(const mct_window *window, int32_t kernel_column)
{
    return mct_tap_range_of(window->in_width, window->out_width, window->stride_width, window->pad_left, kernel_column);
}

/* First input element that a tap reads in output row `row`. */
static inline size_t mct_tap_input_offset(const mct_window *window, mct_tap_range rows, mct_tap_range columns, int32_t row)
{
    const int32_t input_row = rows.input + (row - rows.first) * window->stride_height;

    return ((size_t)input_row * (size_t)window->in_width + (size_t)columns.input) * (size_t)window->in_channels;
}

#endif
