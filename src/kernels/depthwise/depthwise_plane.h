/* Depthwise kernels work channel by channel: one channel of an image is gathered into a plane of int16, with the zeros of its padding
 * round it, so that neighbouring taps are neighbouring words and no border is left to test for. */
#ifndef MCT_KERNELS_DEPTHWISE_PLANE_H
#define MCT_KERNELS_DEPTHWISE_PLANE_H

#include "kernels/common/backward_window.h"
#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"

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

/* A filter over a plane, or any rows of int16 that slide over others. Its rows are whole words: behind an odd width comes a zero. */
typedef struct {
    const int16_t *values;
    int32_t rows, width;
} mct_plane_filter;

/* Where sums go: each is `first`, or what is there already, plus its products. */
typedef struct {
    int32_t *at;
    size_t step;
    int32_t first;
    bool add;
} mct_plane_sums;

static inline void mct_plane_store(mct_plane_sums *sums, int32_t sum)
{
    *sums->at = sums->add ? *sums->at + sum : sum;
    sums->at += sums->step;
}

/* sum + a * b modulo 2^32: on the way to a sum that fits, parts of it may not. */
static inline int32_t mct_add_product(int32_t sum, int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)sum + (uint32_t)(a * b));
}

#if MCT_DSP

/* Up to four neighbouring sums in the making: what every step shares of two words of the plane and two of the filter. */
typedef struct {
    int32_t s0, s1, s2, s3;
    int32_t x, before; /* the words of the plane and of the filter that the next step begins with */
} mct_plane_state;

/* The first word of a filter's row. The sums at odd distance multiply the same words of the plane with the filter moved by one element,
 * whose first word begins with a zero. */
static MCT_SPECIALISED void mct_plane_first_word(const int16_t *x, const int16_t *w, int32_t count, bool last, mct_plane_state *s)
{
    const int32_t here = mct_load_word(w), x0 = mct_load_word(x);

    if (count > 2 || !last) {
        s->x = mct_load_word(x + 2);
    }
    s->s0 = mct_smlad(x0, here, s->s0);
    s->s1 = mct_add_product(s->s1, x0 >> 16, (int16_t)here);
    if (count > 2) {
        s->s2 = mct_smlad(s->x, here, s->s2);
    }
    if (count > 3) {
        s->s3 = mct_add_product(s->s3, s->x >> 16, (int16_t)here);
    }
    s->before = here;
}

/* Another word. Those of the moved filter are a half each of two words, crossed. */
static MCT_SPECIALISED void mct_plane_word(const int16_t *x, const int16_t *w, int32_t count, bool last, mct_plane_state *s)
{
    const int32_t here = mct_load_word(w), moved = mct_low_and_high(here, s->before), x0 = s->x;

    s->s0 = mct_smlad(x0, here, s->s0);
    s->s1 = mct_smladx(x0, moved, s->s1);
    if (count > 2 || !last) {
        s->x = mct_load_word(x + 2);
    }
    if (count > 2) {
        s->s2 = mct_smlad(s->x, here, s->s2);
    }
    if (count > 3) {
        s->s3 = mct_smladx(s->x, moved, s->s3);
    }
    s->before = here;
}

static MCT_SPECIALISED void mct_plane_block_row(const int16_t *x, const int16_t *w, int32_t width, bool is_written_out, int32_t count,
                                                mct_plane_state *s)
{
    MCT_LOAD_FENCE();
    if (width <= 0) {
        return;
    }
    mct_plane_first_word(x, w, count, width == 1, s);
    if (is_written_out) {
        MCT_UNROLL(4)
        for (int32_t i = 2; i < width; i += 2) {
            mct_plane_word(x + i, w + i, count, width % 2 != 0 && i + 2 >= width, s);
        }
    } else {
        MCT_UNROLL(2)
        for (int32_t i = 2; i < width - 1; i += 2) {
            mct_plane_word(x + i, w + i, count, false, s);
        }
        if (width % 2 != 0 && width > 1) {
            mct_plane_word(x + width - 1, w + width - 1, count, true, s);
        }
    }
    if (width % 2 == 0) { /* the moved filter is one word longer */
        s->s1 = mct_add_product(s->s1, (int16_t)s->x, s->before >> 16);
        if (count > 3) {
            s->s3 = mct_add_product(s->s3, (int16_t)mct_load_word(x + width + 2), s->before >> 16);
        }
    }
}

/* Two to four neighbouring sums. x begins at an even element: every word of it is loaded once for all sums, and aligned. */
static MCT_SPECIALISED void mct_plane_block(const int16_t *x, int32_t x_step, const int16_t *w, int32_t rows, int32_t width,
                                            bool is_written_out, int32_t count, mct_plane_sums *sums)
{
    const int32_t first = sums->first, w_step = mct_even(width);
    mct_plane_state s = {first, first, first, first, 0, 0};

    if (is_written_out && rows == 3) {
        mct_plane_block_row(x, w, width, true, count, &s);
        x += x_step;
        mct_plane_block_row(x, w + w_step, width, true, count, &s);
        x += x_step;
        mct_plane_block_row(x, w + 2 * w_step, width, true, count, &s);
    } else {
        for (int32_t r = 0; r < rows; r++, x += x_step, w += w_step) {
            mct_plane_block_row(x, w, width, is_written_out, count, &s);
        }
    }
    mct_plane_store(sums, s.s0);
    mct_plane_store(sums, s.s1);
    if (count > 2) {
        mct_plane_store(sums, s.s2);
    }
    if (count > 3) {
        mct_plane_store(sums, s.s3);
    }
}

/* A sum at any element. */
static inline void mct_plane_single(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, mct_plane_sums *sums)
{
    const int16_t *w = filter->values;
    int32_t sum = sums->first;

    for (int32_t r = 0; r < filter->rows; r++, x += x_step) {
        for (int32_t i = 0; i < filter->width; i += 2, w += 2) {
            sum = mct_smlad(mct_load_word(x + i), mct_load_word(w), sum);
        }
    }
    mct_plane_store(sums, sum);
}

/* `count` neighbouring sums of a filter of rows x width: small constants where the loops are to be written out. */
static MCT_SPECIALISED void mct_plane_correlate(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t rows,
                                                int32_t width, bool is_written_out, int32_t count, mct_plane_sums sums)
{
    const int16_t *const w = filter->values;

    if ((uintptr_t)x % 4 != 0) {
        mct_plane_single(x, x_step, filter, &sums);
        x++;
        count--;
    }
    for (; count >= 4; count -= 4, x += 4) {
        mct_plane_block(x, x_step, w, rows, width, is_written_out, 4, &sums);
    }
    if (count == 3) {
        mct_plane_block(x, x_step, w, rows, width, is_written_out, 3, &sums);
    } else if (count == 2) {
        mct_plane_block(x, x_step, w, rows, width, is_written_out, 2, &sums);
    } else if (count == 1) {
        mct_plane_single(x, x_step, filter, &sums);
    }
}

#else

static inline void mct_plane_single(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, mct_plane_sums *sums)
{
    const int16_t *w = filter->values;
    int32_t sum = sums->first;

    for (int32_t r = 0; r < filter->rows; r++, x += x_step, w += mct_even(filter->width)) {
        for (int32_t i = 0; i < filter->width; i++) {
            sum = mct_add_product(sum, x[i], w[i]);
        }
    }
    mct_plane_store(sums, sum);
}

/* `count` neighbouring sums of a filter of rows x width. */
static inline void mct_plane_correlate(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t rows, int32_t width,
                                       bool is_written_out, int32_t count, mct_plane_sums sums)
{
    (void)rows;
    (void)width;
    (void)is_written_out;
    for (; count > 0; count--, x++) {
        mct_plane_single(x, x_step, filter, &sums);
    }
}

#endif

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
