/* Two int16 a word: what the DSP forms of the error and update kernels have in common. As in dsp.h, each instruction has a twin in C. */
#ifndef MCT_KERNELS_PAIRS_H
#define MCT_KERNELS_PAIRS_H

#include "compiler.h"
#include "dsp.h"

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

#define MCT_PAIR_INSTRUCTION(name)                                                                                                         \
    static inline int32_t mct_##name(int32_t a, int32_t b)                                                                                 \
    {                                                                                                                                      \
        int32_t result;                                                                                                                    \
        __asm__(#name " %0, %1, %2" : "=r"(result) : "r"(a), "r"(b) : "cc");                                                               \
        return result;                                                                                                                     \
    }
MCT_PAIR_INSTRUCTION(smulwb)
MCT_PAIR_INSTRUCTION(smulwt)
MCT_PAIR_INSTRUCTION(qadd16)
MCT_PAIR_INSTRUCTION(qsub16)
MCT_PAIR_INSTRUCTION(shadd16)
#undef MCT_PAIR_INSTRUCTION

/* The halves that are not positive, less one. */
static inline int32_t mct_pair_lower(int32_t pair)
{
    int32_t result;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %1, %0" : "=&r"(result) : "r"(pair), "r"(0x00010001) : "cc");
    return result;
}

static inline int32_t mct_smlawb(int32_t a, int32_t pair, int32_t sum)
{
    int32_t result;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(pair), "r"(sum));
    return result;
}

static inline int32_t mct_smlawt(int32_t a, int32_t pair, int32_t sum)
{
    int32_t result;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(pair), "r"(sum));
    return result;
}

static inline int32_t mct_uxtb16(int32_t x)
{
    int32_t result;
    __asm__("uxtb16 %0, %1" : "=r"(result) : "r"(x));
    return result;
}

static inline int32_t mct_uxtb16_ror8(int32_t x)
{
    int32_t result;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
    return result;
}

static inline int32_t mct_saturate16_s8(int32_t x)
{
    int32_t result;
    __asm__("ssat16 %0, #8, %1" : "=r"(result) : "r"(x));
    return result;
}

#else

static inline int32_t mct_pair_low(int32_t pair)
{
    return (int16_t)(uint16_t)(uint32_t)pair;
}

static inline int32_t mct_pair_high(int32_t pair)
{
    return (int16_t)(uint16_t)((uint32_t)pair >> 16);
}

/* The larger of each half. */
static inline int32_t mct_pair_max(int32_t a, int32_t b)
{
    const int32_t low = mct_pair_low(a) > mct_pair_low(b) ? a : b, high = mct_pair_high(a) > mct_pair_high(b) ? a : b;

    return (int32_t)(((uint32_t)low & 0xFFFFu) | ((uint32_t)high & 0xFFFF0000u));
}

/* The smaller of each half. */
static inline int32_t mct_pair_min(int32_t a, int32_t b)
{
    const int32_t low = mct_pair_low(a) < mct_pair_low(b) ? a : b, high = mct_pair_high(a) < mct_pair_high(b) ? a : b;

    return (int32_t)(((uint32_t)low & 0xFFFFu) | ((uint32_t)high & 0xFFFF0000u));
}

/* The halves of `pair` whose bit in `bits` (the top one of each half) is 1, the others 0; bits moves on to the next pair. */
static inline int32_t mct_pair_inside(uint32_t *bits, int32_t pair)
{
    const uint32_t low = (*bits & 0x8000u) != 0 ? 0xFFFFu : 0u, high = (*bits & 0x80000000u) != 0 ? 0xFFFF0000u : 0u;

    *bits = (*bits & 0x7FFF7FFFu) << 1;
    return (int32_t)((uint32_t)pair & (low | high));
}

/* floor(a * pair.low / 2^16) */
static inline int32_t mct_smulwb(int32_t a, int32_t pair)
{
    return (int32_t)(((int64_t)a * mct_pair_low(pair)) >> 16);
}

/* floor(a * pair.high / 2^16) */
static inline int32_t mct_smulwt(int32_t a, int32_t pair)
{
    return (int32_t)(((int64_t)a * mct_pair_high(pair)) >> 16);
}

static inline int32_t mct_saturate_s16(int32_t x)
{
    return x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x;
}

/* Both halves of a + b and of a - b, saturated. */
static inline int32_t mct_qadd16(int32_t a, int32_t b)
{
    return mct_pkhbt(mct_saturate_s16(mct_pair_low(a) + mct_pair_low(b)), mct_saturate_s16(mct_pair_high(a) + mct_pair_high(b)));
}

static inline int32_t mct_qsub16(int32_t a, int32_t b)
{
    return mct_pkhbt(mct_saturate_s16(mct_pair_low(a) - mct_pair_low(b)), mct_saturate_s16(mct_pair_high(a) - mct_pair_high(b)));
}

/* Both halves of a + b, halved and rounded down. */
static inline int32_t mct_shadd16(int32_t a, int32_t b)
{
    return mct_pkhbt((mct_pair_low(a) + mct_pair_low(b)) >> 1, (mct_pair_high(a) + mct_pair_high(b)) >> 1);
}

/* The halves that are not positive, less one. */
static inline int32_t mct_pair_lower(int32_t pair)
{
    const int32_t low = mct_pair_low(pair), high = mct_pair_high(pair);

    return mct_pkhbt(low > 0 ? low : low - 1, high > 0 ? high : high - 1);
}

/* sum + mct_smulwb(a, pair), sum + mct_smulwt(a, pair) */
static inline int32_t mct_smlawb(int32_t a, int32_t pair, int32_t sum)
{
    return sum + mct_smulwb(a, pair);
}

static inline int32_t mct_smlawt(int32_t a, int32_t pair, int32_t sum)
{
    return sum + mct_smulwt(a, pair);
}

/* Bytes 0 and 2, zero extended. */
static inline int32_t mct_uxtb16(int32_t x)
{
    return x & 0x00FF00FF;
}

/* Bytes 1 and 3, zero extended. */
static inline int32_t mct_uxtb16_ror8(int32_t x)
{
    return (int32_t)((uint32_t)x >> 8 & 0x00FF00FFu);
}

/* Both halves, saturated to int8. */
static inline int32_t mct_saturate16_s8(int32_t x)
{
    return mct_pair_min(mct_pair_max(x, mct_pkhbt(INT8_MIN, INT8_MIN)), mct_pkhbt(INT8_MAX, INT8_MAX));
}

#endif

/* The low bytes of (b0, b2) and (b1, b3) as the bytes of one word. */
static inline int32_t mct_join_bytes(int32_t even, int32_t odd)
{
    return (int32_t)((uint32_t)mct_uxtb16(even) | (uint32_t)mct_uxtb16(odd) << 8);
}

/* The same value in both halves. */
static inline int32_t mct_both(int32_t value)
{
    return mct_pkhbt(value, value);
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
