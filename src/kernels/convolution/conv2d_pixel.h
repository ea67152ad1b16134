/* conv2d of a 1x1 kernel pixel by pixel: which layers it takes. */
#ifndef MCT_KERNELS_CONV2D_PIXEL_H
#define MCT_KERNELS_CONV2D_PIXEL_H

#include <stdbool.h>

#include "mcutrain/forward.h"
#include "kernels/common/dsp.h"

#if MCT_DSP

/* What all pixels of a layer share. */
typedef struct {
    const mct_conv2d_s8_params *params;
    const int8_t *weights;
    const int32_t *bias, *multiplier, *shift;
    int32_t *words; /* room for a gathered pixel */
    int8_t *y;
    uint32_t *inside;
} mct_pixels;

/* Whether pixels are the way: too few for a quad, of a 1x1 kernel, by at least two filters. */
static inline bool mct_takes_pixels(const mct_window *w)
{
    return w->out_height * w->out_width < 4 && w->kernel_height == 1 && w->kernel_width == 1 && w->out_channels >= 2;
}

/* A layer of a 1x1 kernel. */
void mct_conv2d_pixels(const mct_pixels *q, const int8_t *x);

#endif
#endif
