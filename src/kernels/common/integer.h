/* Small functions of integers, of all kernels. */
#ifndef MCT_KERNELS_INTEGER_H
#define MCT_KERNELS_INTEGER_H

#include <stdint.h>

static inline int32_t mct_smaller_s32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t mct_clamp_s32(int32_t x, int32_t low, int32_t high)
{
    const int32_t raised = x < low ? low : x;

    return raised > high ? high : raised;
}

#endif
