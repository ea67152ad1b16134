/* conv2d by quads of pixels: which layers it takes, and what scratch they need. */
#ifndef MCT_KERNELS_CONV2D_QUADS_H
#define MCT_KERNELS_CONV2D_QUADS_H

#include <stddef.h>

#include "mcutrain/forward.h"
#include "kernels/convolution/dot_2x4.h"
#include "kernels/convolution/gather_window.h"

enum { MCT_QUAD = MCT_DOT_COLUMNS, MCT_PAIR = MCT_DOT_ROWS };

/* How many windows are gathered at a time, a multiple of four; 0 where quads are not the way. A filter is widened once for them all: as many
 * as fit in six kilobytes of scratch, since that is part of what a layer takes of SRAM; from 64 on more would not be faster, and below 8
 * the smaller blocks that read filters as they are (dot_2x3.h) win. */
static inline int32_t mct_quads_pixels(const mct_window *w)
{
    const int32_t scratch_bytes = 6 * 1024, most = 64, fewest = 8;
    const int32_t pixels = w->out_height * w->out_width, taps = mct_gathered_taps(w);
    const int32_t pixel_bytes = taps * (int32_t)sizeof(int16_t) + MCT_QUAD, rows_bytes = taps * MCT_PAIR * (int32_t)sizeof(int16_t);

    if (pixels < MCT_QUAD || w->out_channels < MCT_PAIR || fewest * pixel_bytes > scratch_bytes - rows_bytes) {
        return 0;
    }
    const int32_t fitting = (scratch_bytes - rows_bytes) / pixel_bytes / MCT_QUAD * MCT_QUAD;
    const int32_t limit = fitting < most ? fitting : most;
    const int32_t rounds = (pixels + limit - 1) / limit;

    return ((pixels + rounds - 1) / rounds + MCT_QUAD - 1) / MCT_QUAD * MCT_QUAD;
}

/* Gathered windows, two rows of filters, and a word of mask for each quad and pair of channels out of four. */
static inline size_t mct_quads_scratch_bytes(const mct_window *w)
{
    const size_t taps = (size_t)mct_gathered_taps(w);

    return (size_t)mct_quads_pixels(w) * (taps * sizeof(int16_t) + MCT_QUAD) + MCT_PAIR * taps * sizeof(int16_t);
}

#if MCT_DSP

/* All of a layer whose scales can be prepared (requantize.h), where mct_quads_pixels is not 0. */
void mct_conv2d_quads(const mct_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                      const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside);

#endif
#endif
