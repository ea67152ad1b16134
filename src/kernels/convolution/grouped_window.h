/* Geometry of a convolution in groups of channels, with taps that are dilated. A window may lie outside of the image, whole or in part. */
#ifndef MCT_KERNELS_GROUPED_WINDOW_H
#define MCT_KERNELS_GROUPED_WINDOW_H

#include <stdbool.h>

#include "kernels/common/backward_window.h"

static inline bool mct_dilated_axis_valid(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t pad, int32_t dilation)
{
    /* The limits keep every index below 2^31. */
    const int32_t limit = 1 << 15;
    return in > 0 && in < limit && out > 0 && out < limit && kernel > 0 && kernel < limit && stride > 0 && stride < limit && pad >= 0 &&
           pad < limit && dilation > 0 && dilation < limit && (kernel - 1) * dilation < limit;
}

static inline bool mct_grouped_window_valid(const mct_window *w, int32_t dilation_height, int32_t dilation_width, int32_t groups)
{
    return groups > 0 && w->in_channels > 0 && w->out_channels > 0 && w->in_channels % groups == 0 && w->out_channels % groups == 0 &&
           mct_dilated_axis_valid(w->in_height, w->out_height, w->kernel_height, w->stride_height, w->pad_top, dilation_height) &&
           mct_dilated_axis_valid(w->in_width, w->out_width, w->kernel_width, w->stride_width, w->pad_left, dilation_width);
}

static inline int32_t mct_kernel_taps(const mct_window *w)
{
    return w->kernel_height * w->kernel_width;
}

/* The pixels that a tap joins; rows.first == rows.end where it joins none. */
typedef struct {
    mct_tap_range rows, columns;
} mct_tap_pixels;

static inline mct_tap_pixels mct_pixels_of_tap(const mct_window *w, int32_t dilation_height, int32_t dilation_width, int32_t tap)
{
    const int32_t row = tap / w->kernel_width * dilation_height, column = tap % w->kernel_width * dilation_width;
    mct_tap_pixels pixels;

    pixels.rows = mct_tap_range_of(w->in_height, w->out_height, w->stride_height, w->pad_top, row);
    pixels.columns = mct_tap_range_of(w->in_width, w->out_width, w->stride_width, w->pad_left, column);
    if (pixels.columns.first == pixels.columns.end) { /* no address is made of what lies outside */
        pixels.rows.end = pixels.rows.first;
    }
    return pixels;
}

#endif
