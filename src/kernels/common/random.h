/* xorshift32 (Marsaglia 2003, shifts 13, 17, 5): the one random generator of training, so that every runner draws the same numbers. */
#ifndef MCT_KERNELS_RANDOM_H
#define MCT_KERNELS_RANDOM_H

#include <stdint.h>

/* Advance the state, which is never 0, and return it. */
static inline uint32_t mct_random_next(uint32_t *state)
{
    uint32_t x = *state;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    return x;
}

#endif
