/* The portable inner loop of both convolution gradients: a row of sums takes in four rows of factors, each times its own scalar. Four at
 * a time, a sum is loaded and stored once for four products; LANES is a constant trip count that compilers vectorise. */
#ifndef MCT_KERNELS_OUTER_PRODUCT_H
#define MCT_KERNELS_OUTER_PRODUCT_H

#include <stdint.h>

enum { MCT_LANES = 16, MCT_DEPTH = 4 };

static inline void mct_add_products_n_s32(int32_t *restrict sum, int16_t (*restrict rows)[MCT_LANES], const int32_t *restrict scalars,
                                          int32_t lanes)
{
    const int32_t s0 = scalars[0], s1 = scalars[1], s2 = scalars[2], s3 = scalars[3];

    for (int32_t i = 0; i < lanes; i++) {
        sum[i] += s0 * rows[0][i] + s1 * rows[1][i] + s2 * rows[2][i] + s3 * rows[3][i];
    }
}

static inline void mct_add_products_s32(int32_t *sum, int16_t (*rows)[MCT_LANES], const int32_t *scalars, int32_t lanes)
{
    if (lanes == MCT_LANES) {
        mct_add_products_n_s32(sum, rows, scalars, MCT_LANES);
    } else {
        mct_add_products_n_s32(sum, rows, scalars, lanes);
    }
}

/* Row after row, each product rounded before it is added. */
static inline void mct_add_products_n_f32(float *restrict sum, float (*restrict rows)[MCT_LANES], const float *restrict scalars,
                                          int32_t lanes)
{
    const float s0 = scalars[0], s1 = scalars[1], s2 = scalars[2], s3 = scalars[3];

    for (int32_t i = 0; i < lanes; i++) {
        sum[i] = (((sum[i] + s0 * rows[0][i]) + s1 * rows[1][i]) + s2 * rows[2][i]) + s3 * rows[3][i];
    }
}

static inline void mct_add_products_f32(float *sum, float (*rows)[MCT_LANES], const float *scalars, int32_t lanes)
{
    if (lanes == MCT_LANES) {
        mct_add_products_n_f32(sum, rows, scalars, MCT_LANES);
    } else {
        mct_add_products_n_f32(sum, rows, scalars, lanes);
    }
}

#endif
