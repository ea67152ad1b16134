/* Channels of an image of interleaved channels into planes (depthwise_plane.h), for the gradients of depthwise convolutions: elements `step`
 * apart become neighbours. The forward kernel has its own (depthwise_conv2d_s8.c). */
#ifndef MCT_KERNELS_PLANE_GATHER_H
#define MCT_KERNELS_PLANE_GATHER_H

#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"

/* Where rows of columns lie, in elements: a column is `step` behind the one before it, a row `row_step` behind the row. */
typedef struct {
    int32_t rows, columns;
    int32_t step, row_step; /* of the image */
    int32_t target_row_step;
} mct_gathering;

#if MCT_DSP

/* Loads in a row take one cycle each on the M4; pairs are stored, as compilers would not. */
static inline void mct_gather_row_s16(const int16_t *source, int32_t step, int32_t columns, int16_t *target)
{
    const int16_t *const end = target + columns, *const end_of_fours = target + columns / 4 * 4;

    for (; target != end_of_fours; target += 4) {
        const int16_t x0 = source[0], x1 = source[step], x2 = source[2 * step], x3 = source[3 * step];

        source += 4 * step;
        MCT_LOAD_FENCE();
        mct_store_word(target, mct_pkhbt(x0, x1));
        mct_store_word(target + 2, mct_pkhbt(x2, x3));
    }
    for (; target != end; source += step) {
        *target++ = *source;
    }
}

static inline void mct_gather_row_s8(const int8_t *source, int32_t step, int32_t zero_point, int32_t columns, int16_t *target)
{
    const int32_t zero_points = mct_both(zero_point);
    const int16_t *const end = target + columns, *const end_of_fours = target + columns / 4 * 4;

    for (; target != end_of_fours; target += 4) {
        const int32_t x0 = source[0], x1 = source[step], x2 = source[2 * step], x3 = source[3 * step];

        source += 4 * step;
        MCT_LOAD_FENCE();
        mct_store_word(target, mct_ssub16(mct_pkhbt(x0, x1), zero_points));
        mct_store_word(target + 2, mct_ssub16(mct_pkhbt(x2, x3), zero_points));
    }
    for (; target != end; source += step) {
        *target++ = (int16_t)(*source - zero_point);
    }
}

#else

static inline void mct_gather_row_s16(const int16_t *source, int32_t step, int32_t columns, int16_t *target)
{
    for (; columns > 0; columns--, source += step) {
        *target++ = *source;
    }
}

static inline void mct_gather_row_s8(const int8_t *source, int32_t step, int32_t zero_point, int32_t columns, int16_t *target)
{
    for (; columns > 0; columns--, source += step) {
        *target++ = (int16_t)(*source - zero_point);
    }
}

#endif

static MCT_NOINLINE void mct_gather_plane_s16(const int16_t *source, mct_gathering from, int16_t *target)
{
    for (; from.rows > 0; from.rows--, source += from.row_step, target += from.target_row_step) {
        mct_gather_row_s16(source, from.step, from.columns, target);
    }
}

#endif
