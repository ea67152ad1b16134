/* One plane slides over another: neighbouring sums of all products, for weight gradients. */
#ifndef MCT_KERNELS_PLANE_SLIDE_H
#define MCT_KERNELS_PLANE_SLIDE_H

#include "compiler.h"
#include "depthwise_plane.h"

/* The plane that slides: rows of whole words, a zero behind an odd width. x_step: elements between the rows of the other one that it meets. */
typedef struct {
    const int16_t *g;
    int32_t rows, columns;
    int32_t x_step;
} mct_sliding;

#if MCT_DSP

/* Sums 0 to count - 1: of g[c] * x[c + n] for sum n. The odd ones multiply the words of x with those of g moved by one element, whose first
 * word begins with a zero and whose last one is left over. */
static MCT_SPECIALISED void mct_slide_block(const mct_sliding *sliding, const int16_t *x, int32_t count, size_t step, int32_t *sums)
{
    const int16_t *g = sliding->g;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0;

    for (int32_t row = 0; row < sliding->rows; row++, x += sliding->x_step) {
        const int16_t *const end = g + sliding->columns, *next = x;
        int32_t before = 0, x0 = mct_load_word(next), x1 = count > 4 ? mct_load_word(next + 2) : 0, x2 = 0;

        MCT_UNROLL(2)
        do {
            const int32_t here = mct_load_word(g), moved = mct_low_and_high(here, before);

            if (count > 4) {
                x2 = mct_load_word(next + 4);
            } else if (count > 1) {
                x1 = mct_load_word(next + 2);
            }
            s0 = mct_smlad(x0, here, s0);
            if (count > 1) {
                s1 = mct_smladx(x0, moved, s1);
            }
            if (count > 2) {
                s2 = mct_smlad(x1, here, s2);
            }
            if (count > 3) {
                s3 = mct_smladx(x1, moved, s3);
            }
            if (count > 4) {
                s4 = mct_smlad(x2, here, s4);
            }
            before = here;
            g += 2;
            next += 2;
            x0 = count > 1 ? x1 : mct_load_word(next);
            x1 = x2;
        } while (g != end);
        const int32_t left = mct_low_and_high(0, before);

        if (count > 1) {
            s1 = mct_smladx(x0, left, s1);
        }
        if (count > 3) {
            s3 = mct_smladx(count > 4 ? x1 : mct_load_word(next + 2), left, s3);
        }
    }
    sums[0] = s0;
    if (count > 1) {
        sums[step] = s1;
    }
    if (count > 2) {
        sums[2 * step] = s2;
    }
    if (count > 3) {
        sums[3 * step] = s3;
    }
    if (count > 4) {
        sums[4 * step] = s4;
    }
}

/* Compiled apart, for the registers of each. */
static MCT_NOINLINE void mct_slide_one(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 1, step, sums);
}

static MCT_NOINLINE void mct_slide_two(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 2, step, sums);
}

static MCT_NOINLINE void mct_slide_three(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 3, step, sums);
}

static MCT_NOINLINE void mct_slide_four(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 4, step, sums);
}

static MCT_NOINLINE void mct_slide_five(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 5, step, sums);
}

/* `count` sums, `step` apart. Rows of x begin at even elements and have count - 1 elements more than g, rounded up to whole words. */
static inline void mct_slide(const mct_sliding *sliding, const int16_t *x, int32_t count, size_t step, int32_t *sums)
{
    for (; count > 5; count -= 4, x += 4, sums += 4 * step) {
        mct_slide_four(sliding, x, step, sums);
    }
    if (count == 5) {
        mct_slide_five(sliding, x, step, sums);
    } else if (count == 4) {
        mct_slide_four(sliding, x, step, sums);
    } else if (count == 3) {
        mct_slide_three(sliding, x, step, sums);
    } else if (count == 2) {
        mct_slide_two(sliding, x, step, sums);
    } else if (count == 1) {
        mct_slide_one(sliding, x, step, sums);
    }
}

#else

/* `count` sums, `step` apart, of all products of g and x from their place on. */
static inline void mct_slide(const mct_sliding *sliding, const int16_t *x, int32_t count, size_t step, int32_t *sums)
{
    for (int32_t n = 0; n < count; n++, x++, sums += step) {
        const int16_t *g = sliding->g, *row = x;
        int32_t sum = 0;

        for (int32_t r = 0; r < sliding->rows; r++, row += sliding->x_step, g += sliding->columns) {
            for (int32_t c = 0; c < sliding->columns; c++) {
                sum += row[c] * g[c];
            }
        }
        *sums = sum;
    }
}

#endif
#endif
