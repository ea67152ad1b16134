/* Block floating point with int64 mantissas: the sums of a minibatch (docs/arithmetic.md, "Minibatches"). */
#ifndef MCT_KERNELS_WIDE_SUMS_H
#define MCT_KERNELS_WIDE_SUMS_H

#include <stdint.h>

/* An accumulator's mantissas v have at most this width between two samples: -2^62 <= v < 2^62. */
#define MCT_WIDEST_SUM 62u

/* v / 2^r, ties away from zero; r in [1, 63], |v| <= 2^63 - 2^(r-1): nothing overflows. A tie goes up, so a negative v is made one less. */
static inline int64_t mct_halfaway_s64(int64_t v, uint32_t r)
{
    const int64_t half = (int64_t)(UINT64_C(1) << (r - 1));

    return (v + (half + (v >> 63))) >> r;
}

/* The bits of what v has above its sign: their highest 1 is below 2^b exactly where -2^b <= v < 2^b. */
static inline uint64_t mct_spread_s64(int64_t v)
{
    return (uint64_t)(v ^ (v >> 63));
}

/* The smallest b with bits < 2^b. */
static inline uint32_t mct_width_u64(uint64_t bits)
{
    uint32_t width = 0;

    while (width < 64u && bits >> width != 0) {
        width++;
    }
    return width;
}

#endif
