/* Depthwise kernels work channel by channel: one channel of an image is gathered into a plane of int16, with the zeros of its padding
 * round it, so that neighbouring taps are neighbouring words and no border is left to test for. */
#ifndef MCT_KERNELS_DEPTHWISE_PLANE_H
#define MCT_KERNELS_DEPTHWISE_PLANE_H

#include "backward_window.h"
#include "dsp.h"

/* Loops of a known, small number of rounds: compilers keep them as loops where they are not asked to write them out. */
#if defined(__GNUC__)
#define MCT_UNROLL(rounds) _Pragma(MCT_TEXT(GCC unroll rounds))
#define MCT_TEXT(x) #x
#else
#define MCT_UNROLL(rounds)
#endif

/* Rows of a plane begin at even elements: a word holds two. The image's pixel (0, 0) lies at (top, left). */
typedef struct {
    int32_t height, width, top, left;
} mct_plane;

static inline size_t mct_plane_elements(const mct_plane *plane)
{
    return (size_t)plane->height * (size_t)plane->width;
}

static inline int32_t mct_even(int32_t n)
{
    return (n + 1) / 2 * 2;
}

static inline int32_t mct_ceil_divide(int32_t n, int32_t by)
{
    return (n + by - 1) / by;
}

/* A depthwise window: every input channel has the same number of output channels. */
static inline bool mct_depthwise_window_valid(const mct_window *w)
{
    return mct_window_valid(w) && w->out_channels % w->in_channels == 0;
}

/* sum + the products of two neighbouring elements. */
static inline int32_t mct_pair_dot(const int16_t *x, const int16_t *w, int32_t sum)
{
#if MCT_DSP
    return mct_smlad(mct_load_word(x), mct_load_word(w), sum);
#else
    return sum + x[0] * w[0] + x[1] * w[1];
#endif
}

/* Sum of rows * columns products; columns is even. w begins at an even element, x need not. */
static inline int32_t mct_plane_dot(const int16_t *restrict x, int32_t x_step, const int16_t *restrict w, int32_t w_step, int32_t rows,
                                    int32_t columns, int32_t sum)
{
    for (; rows > 0; rows--, x += x_step, w += w_step) {
        for (int32_t i = 0; i < columns; i += 2) {
            sum = mct_pair_dot(x + i, w + i, sum);
        }
    }
    return sum;
}

/* The part of the image that a plane holds: rows and columns behind it are read by no window. */
static inline int32_t mct_plane_rows(const mct_plane *plane, int32_t height)
{
    return mct_smaller_s32(height, plane->height - plane->top);
}

static inline int32_t mct_plane_columns(const mct_plane *plane, int32_t width)
{
    return mct_smaller_s32(width, plane->width - plane->left);
}

#endif
