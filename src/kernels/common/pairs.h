/* Words of two int16 (pairs): comparison, selection and masks, made of several DSP instructions each (dsp.h). Of the error kernels and the
 * updates. */
#ifndef MCT_KERNELS_PAIRS_H
#define MCT_KERNELS_PAIRS_H

#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"

#if MCT_DSP

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* Comparison and selection are one statement: no compiler may put anything between that changes the GE flags. */
static inline int32_t mct_pair_max(int32_t a, int32_t b)
{
    int32_t result;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b) : "cc");
    return result;
}

static inline int32_t mct_pair_min(int32_t a, int32_t b)
{
    int32_t result;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(result) : "r"(a), "r"(b) : "cc");
    return result;
}

/* Doubling a half sets its GE flags where its top bit was 0. */
static inline int32_t mct_pair_inside(uint32_t *bits, int32_t pair)
{
    int32_t result;
    __asm__("sadd16 %0, %0, %0\n\tsel %1, %3, %2" : "+r"(*bits), "=&r"(result) : "r"(pair), "r"(0) : "cc");
    return result;
}

/* The halves that are not positive, less one. */
static inline int32_t mct_pair_lower(int32_t pair)
{
    int32_t result;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %1, %0" : "=&r"(result) : "r"(pair), "r"(0x00010001) : "cc");
    return result;
}

#else

/* The larger of each half. */
static inline int32_t mct_pair_max(int32_t a, int32_t b)
{
    const int32_t low = mct_halfword(a, 0) > mct_halfword(b, 0) ? a : b, high = mct_halfword(a, 1) > mct_halfword(b, 1) ? a : b;

    return mct_low_and_high(low, high);
}

/* The smaller of each half. */
static inline int32_t mct_pair_min(int32_t a, int32_t b)
{
    const int32_t low = mct_halfword(a, 0) < mct_halfword(b, 0) ? a : b, high = mct_halfword(a, 1) < mct_halfword(b, 1) ? a : b;

    return mct_low_and_high(low, high);
}

/* The halves of `pair` whose bit in `bits` (the top one of each half) is 1, the others 0; bits moves on to the next pair. */
static inline int32_t mct_pair_inside(uint32_t *bits, int32_t pair)
{
    const uint32_t low = (*bits & 0x8000u) != 0 ? 0xFFFFu : 0u, high = (*bits & 0x80000000u) != 0 ? 0xFFFF0000u : 0u;

    *bits = (*bits & 0x7FFF7FFFu) << 1;
    return (int32_t)((uint32_t)pair & (low | high));
}

/* The halves that are not positive, less one. */
static inline int32_t mct_pair_lower(int32_t pair)
{
    const int32_t low = mct_halfword(pair, 0), high = mct_halfword(pair, 1);

    return mct_pkhbt(low > 0 ? low : low - 1, high > 0 ? high : high - 1);
}

#endif

/* The low bytes of (b0, b2) and (b1, b3) as the bytes of one word. */
static inline int32_t mct_join_bytes(int32_t even, int32_t odd)
{
    return (int32_t)((uint32_t)mct_uxtb16(even) | (uint32_t)mct_uxtb16(odd) << 8);
}

/* A mask word for mct_pair_inside: the bits of even elements in the low half and those of odd ones in the high half, the first on top. */
static inline uint32_t mct_pairs_of_mask(uint32_t word)
{
    uint32_t t;

    /* A perfect unshuffle: each step swaps the middle two quarters of every group of 4, 8, 16 and 32 bits. */
    t = (word ^ (word >> 1)) & 0x22222222u;
    word ^= t ^ (t << 1);
    t = (word ^ (word >> 2)) & 0x0C0C0C0Cu;
    word ^= t ^ (t << 2);
    t = (word ^ (word >> 4)) & 0x00F000F0u;
    word ^= t ^ (t << 4);
    t = (word ^ (word >> 8)) & 0x0000FF00u;
    word ^= t ^ (t << 8);
    /* Reversed as a whole, and the halves exchanged back. */
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    __asm__("rbit %0, %1" : "=r"(word) : "r"(word));
#else
    word = ((word >> 1) & 0x55555555u) | ((word & 0x55555555u) << 1);
    word = ((word >> 2) & 0x33333333u) | ((word & 0x33333333u) << 2);
    word = ((word >> 4) & 0x0F0F0F0Fu) | ((word & 0x0F0F0F0Fu) << 4);
    word = ((word >> 8) & 0x00FF00FFu) | ((word & 0x00FF00FFu) << 8);
    word = (word >> 16) | (word << 16);
#endif
    return (word >> 16) | (word << 16);
}

#endif
#endif
