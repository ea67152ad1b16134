/* Geometry of windows that slide over an image, window by window; backward_window.h has it tap by tap. */
#ifndef MCT_KERNELS_WINDOW_H
#define MCT_KERNELS_WINDOW_H

#include <stdbool.h>

#include "mcutrain/types.h"

/* Sizes are positive, and every window touches the image: kernels may then rely on at least one tap inside. */
static inline bool mct_axis_valid(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t pad)
{
    /* The limits keep every index below 2^31. */
    const int32_t limit = 1 << 15;
    return in > 0 && in < limit && out > 0 && out < limit && kernel > 0 && kernel < limit && stride > 0 && stride < limit && pad >= 0 &&
           pad < kernel && (out - 1) * stride - pad < in;
}

static inline bool mct_window_valid(const mct_window *w)
{
    return w->in_channels > 0 && w->out_channels > 0 &&
           mct_axis_valid(w->in_height, w->out_height, w->kernel_height, w->stride_height, w->pad_top) &&
           mct_axis_valid(w->in_width, w->out_width, w->kernel_width, w->stride_width, w->pad_left);
}

/* The taps of one window along one axis that lie inside the image: [begin, end), never empty. */
typedef struct {
    int32_t origin; /* position in the image of tap 0, negative in the padding */
    int32_t begin, end;
} mct_taps;

static inline mct_taps mct_taps_at(int32_t position, int32_t stride, int32_t pad, int32_t kernel, int32_t in)
{
    mct_taps taps;
    taps.origin = position * stride - pad;
    taps.begin = taps.origin < 0 ? -taps.origin : 0;
    taps.end = in - taps.origin < kernel ? in - taps.origin : kernel;
    return taps;
}

static inline mct_taps mct_rows_at(const mct_window *w, int32_t out_row)
{
    return mct_taps_at(out_row, w->stride_height, w->pad_top, w->kernel_height, w->in_height);
}

static inline mct_taps mct_columns_at(const mct_window *w, int32_t out_column)
{
    return mct_taps_at(out_column, w->stride_width, w->pad_left, w->kernel_width, w->in_width);
}

#endif
