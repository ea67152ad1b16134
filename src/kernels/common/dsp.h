/* The DSP instructions of the Cortex-M4 and M7 that the DSP forms of the kernels use, under one name each, with its twin in C. What is
 * made of several of them is in pairs.h.
 *
 * MCT_DSP selects the form: 1 where the core has the instructions, unless the build says otherwise. MCT_CMSIS_CORE (defined by the user)
 * takes them from CMSIS-Core's cmsis_compiler.h, for compilers without arm_acle.h. With MCT_DSP=1 on any other machine they are emulated
 * in C, so that the host tests the DSP forms too.
 *
 * Operands are words of two int16 or four int8, the lowest index in the lowest bits. */
#ifndef MCT_KERNELS_DSP_H
#define MCT_KERNELS_DSP_H

#include <stdint.h>
#include <string.h>

#include "kernels/common/integer.h"

#ifndef MCT_DSP
#if defined(__ARM_FEATURE_DSP)
#define MCT_DSP 1
#else
#define MCT_DSP 0
#endif
#endif

#if MCT_DSP

/* A copy of one word compiles to one load or store (the cores allow unaligned words) - with -ffreestanding only the builtin does. */
#if defined(__GNUC__)
#define MCT_COPY_WORD(to, from) __builtin_memcpy((to), (from), sizeof(int32_t))
#else
#define MCT_COPY_WORD(to, from) memcpy((to), (from), sizeof(int32_t))
#endif

static inline int32_t mct_load_word(const void *address)
{
    int32_t word;
    MCT_COPY_WORD(&word, address);
    return word;
}

static inline void mct_store_word(void *address, int32_t word)
{
    MCT_COPY_WORD(address, &word);
}

/* The first count (0 to 3) bytes as a word, the others 0: the tail of a row of int8. */
static inline int32_t mct_load_tail_s8(const int8_t *address, int32_t count)
{
    uint32_t word = 0;
    for (int32_t i = 0; i < count; i++) {
        word |= (uint32_t)(uint8_t)address[i] << (8 * i);
    }
    return (int32_t)word;
}

/* A half of a word, and a word of two halves, for the twins in C. */
static inline int32_t mct_halfword(int32_t word, int32_t index)
{
    return (int16_t)(uint16_t)((uint32_t)word >> (16 * index));
}
static inline int32_t mct_pair(int32_t low, int32_t high)
{
    return (int32_t)(((uint32_t)low & 0xFFFFu) | ((uint32_t)high << 16));
}

#if defined(MCT_CMSIS_CORE)

#include "cmsis_compiler.h"

static inline int32_t mct_sxtb16(int32_t x)
{
    return (int32_t)__SXTB16((uint32_t)x);
}
static inline int32_t mct_sxtb16_ror8(int32_t x)
{
    return (int32_t)__SXTB16(__ROR((uint32_t)x, 8));
}
static inline int32_t mct_sxtab16(int32_t sum, int32_t x)
{
    return (int32_t)__SXTAB16((uint32_t)sum, (uint32_t)x);
}
static inline int32_t mct_sxtab16_ror8(int32_t sum, int32_t x)
{
    return (int32_t)__SXTAB16((uint32_t)sum, __ROR((uint32_t)x, 8));
}
static inline int32_t mct_ssub16(int32_t a, int32_t b)
{
    return (int32_t)__SSUB16((uint32_t)a, (uint32_t)b);
}
static inline int32_t mct_sadd16(int32_t a, int32_t b)
{
    return (int32_t)__SADD16((uint32_t)a, (uint32_t)b);
}
static inline int32_t mct_smlad(int32_t a, int32_t b, int32_t sum)
{
    return (int32_t)__SMLAD((uint32_t)a, (uint32_t)b, (uint32_t)sum);
}
static inline int32_t mct_pkhbt(int32_t low, int32_t high)
{
    return (int32_t)__PKHBT((uint32_t)low, (uint32_t)high, 16);
}
static inline int32_t mct_pkhtb(int32_t high, int32_t low)
{
    return (int32_t)__PKHTB((uint32_t)high, (uint32_t)low, 16);
}

#elif defined(__ARM_FEATURE_DSP)

#include <arm_acle.h>

static inline int32_t mct_sxtb16(int32_t x)
{
    return __sxtb16(x);
}
static inline int32_t mct_sxtab16(int32_t sum, int32_t x)
{
    return __sxtab16(sum, x);
}
static inline int32_t mct_ssub16(int32_t a, int32_t b)
{
    return __ssub16(a, b);
}
static inline int32_t mct_sadd16(int32_t a, int32_t b)
{
    return __sadd16(a, b);
}
static inline int32_t mct_smlad(int32_t a, int32_t b, int32_t sum)
{
    return __smlad(a, b, sum);
}

/* The rotations and shifts are free inside these, which compilers do not find from the intrinsics. */
static inline int32_t mct_sxtb16_ror8(int32_t x)
{
    int32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
    return result;
}
static inline int32_t mct_sxtab16_ror8(int32_t sum, int32_t x)
{
    int32_t result;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sum), "r"(x));
    return result;
}
static inline int32_t mct_pkhbt(int32_t low, int32_t high)
{
    int32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(low), "r"(high));
    return result;
}
static inline int32_t mct_pkhtb(int32_t high, int32_t low)
{
    int32_t result;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(high), "r"(low));
    return result;
}

#else /* emulated */

/* Bytes 0 and 2, sign extended. */
static inline int32_t mct_sxtb16(int32_t x)
{
    return mct_pair((int8_t)(uint8_t)x, (int8_t)(uint8_t)((uint32_t)x >> 16));
}

/* Bytes 1 and 3, sign extended. */
static inline int32_t mct_sxtb16_ror8(int32_t x)
{
    return mct_sxtb16((int32_t)((uint32_t)x >> 8));
}

/* Both halves of a - b, each modulo 2^16. */
static inline int32_t mct_ssub16(int32_t a, int32_t b)
{
    return mct_pair(mct_halfword(a, 0) - mct_halfword(b, 0), mct_halfword(a, 1) - mct_halfword(b, 1));
}

/* Both halves of a + b, each modulo 2^16. */
static inline int32_t mct_sadd16(int32_t a, int32_t b)
{
    return mct_pair(mct_halfword(a, 0) + mct_halfword(b, 0), mct_halfword(a, 1) + mct_halfword(b, 1));
}

/* sum + sxtb16(x) in both halves, each modulo 2^16. */
static inline int32_t mct_sxtab16(int32_t sum, int32_t x)
{
    return mct_sadd16(sum, mct_sxtb16(x));
}
static inline int32_t mct_sxtab16_ror8(int32_t sum, int32_t x)
{
    return mct_sadd16(sum, mct_sxtb16_ror8(x));
}

/* sum + a.low * b.low + a.high * b.high, modulo 2^32. */
static inline int32_t mct_smlad(int32_t a, int32_t b, int32_t sum)
{
    uint32_t low = (uint32_t)(mct_halfword(a, 0) * mct_halfword(b, 0));
    uint32_t high = (uint32_t)(mct_halfword(a, 1) * mct_halfword(b, 1));
    return (int32_t)((uint32_t)sum + low + high);
}

/* (low.low, high.low): the low halves of both. */
static inline int32_t mct_pkhbt(int32_t low, int32_t high)
{
    return mct_pair(low, high);
}

/* (low.high, high.high): the high halves of both. */
static inline int32_t mct_pkhtb(int32_t high, int32_t low)
{
    return mct_pair(mct_halfword(low, 1), mct_halfword(high, 1));
}

#endif

/* Those for which there is no intrinsic that every compiler has. */
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

#define MCT_INSTRUCTION_1(function, instruction)                                                                                           \
    static inline int32_t function(int32_t a)                                                                                              \
    {                                                                                                                                      \
        int32_t result;                                                                                                                    \
        __asm__(instruction : "=r"(result) : "r"(a));                                                                                      \
        return result;                                                                                                                     \
    }
#define MCT_INSTRUCTION_2(function, instruction)                                                                                           \
    static inline int32_t function(int32_t a, int32_t b)                                                                                   \
    {                                                                                                                                      \
        int32_t result;                                                                                                                    \
        __asm__(instruction : "=r"(result) : "r"(a), "r"(b) : "cc"); /* some set the GE flags */                                           \
        return result;                                                                                                                     \
    }
#define MCT_INSTRUCTION_3(function, instruction)                                                                                           \
    static inline int32_t function(int32_t a, int32_t b, int32_t sum)                                                                      \
    {                                                                                                                                      \
        int32_t result;                                                                                                                    \
        __asm__(instruction : "=r"(result) : "r"(a), "r"(b), "r"(sum));                                                                    \
        return result;                                                                                                                     \
    }

MCT_INSTRUCTION_2(mct_low_and_high, "pkhbt %0, %1, %2")
MCT_INSTRUCTION_1(mct_uxtb16, "uxtb16 %0, %1")
MCT_INSTRUCTION_1(mct_uxtb16_ror8, "uxtb16 %0, %1, ror #8")
MCT_INSTRUCTION_1(mct_saturate16_s8, "ssat16 %0, #8, %1")
MCT_INSTRUCTION_1(mct_usat16_8, "usat16 %0, #8, %1")
MCT_INSTRUCTION_2(mct_qadd16, "qadd16 %0, %1, %2")
MCT_INSTRUCTION_2(mct_qsub16, "qsub16 %0, %1, %2")
MCT_INSTRUCTION_2(mct_shadd16, "shadd16 %0, %1, %2")
MCT_INSTRUCTION_2(mct_uqadd8, "uqadd8 %0, %1, %2")
MCT_INSTRUCTION_2(mct_usub8, "usub8 %0, %1, %2")
MCT_INSTRUCTION_2(mct_smulwb, "smulwb %0, %1, %2")
MCT_INSTRUCTION_2(mct_smulwt, "smulwt %0, %1, %2")
MCT_INSTRUCTION_3(mct_smlawb, "smlawb %0, %1, %2, %3")
MCT_INSTRUCTION_3(mct_smlawt, "smlawt %0, %1, %2, %3")
MCT_INSTRUCTION_3(mct_smladx, "smladx %0, %1, %2, %3")

#undef MCT_INSTRUCTION_1
#undef MCT_INSTRUCTION_2
#undef MCT_INSTRUCTION_3

#else

static inline uint32_t mct_byte(int32_t word, int32_t index)
{
    return (uint32_t)word >> (8 * index) & 0xFFu;
}

/* (a.low, b.high) */
static inline int32_t mct_low_and_high(int32_t a, int32_t b)
{
    return mct_pair(a, mct_halfword(b, 1));
}

/* Bytes 0 and 2, zero extended; bytes 1 and 3. */
static inline int32_t mct_uxtb16(int32_t x)
{
    return x & 0x00FF00FF;
}
static inline int32_t mct_uxtb16_ror8(int32_t x)
{
    return (int32_t)((uint32_t)x >> 8 & 0x00FF00FFu);
}

/* Both halves, saturated to int8; to uint8. */
static inline int32_t mct_saturate16_s8(int32_t x)
{
    return mct_pair(mct_clamp_s32(mct_halfword(x, 0), INT8_MIN, INT8_MAX), mct_clamp_s32(mct_halfword(x, 1), INT8_MIN, INT8_MAX));
}
static inline int32_t mct_usat16_8(int32_t x)
{
    return mct_pair(mct_clamp_s32(mct_halfword(x, 0), 0, UINT8_MAX), mct_clamp_s32(mct_halfword(x, 1), 0, UINT8_MAX));
}

/* Both halves of a + b, and of a - b, saturated. */
static inline int32_t mct_qadd16(int32_t a, int32_t b)
{
    return mct_pair(mct_clamp_s32(mct_halfword(a, 0) + mct_halfword(b, 0), INT16_MIN, INT16_MAX),
                    mct_clamp_s32(mct_halfword(a, 1) + mct_halfword(b, 1), INT16_MIN, INT16_MAX));
}
static inline int32_t mct_qsub16(int32_t a, int32_t b)
{
    return mct_pair(mct_clamp_s32(mct_halfword(a, 0) - mct_halfword(b, 0), INT16_MIN, INT16_MAX),
                    mct_clamp_s32(mct_halfword(a, 1) - mct_halfword(b, 1), INT16_MIN, INT16_MAX));
}

/* Both halves of a + b, halved and rounded down. */
static inline int32_t mct_shadd16(int32_t a, int32_t b)
{
    return mct_pair((mct_halfword(a, 0) + mct_halfword(b, 0)) >> 1, (mct_halfword(a, 1) + mct_halfword(b, 1)) >> 1);
}

/* Each unsigned byte of a plus that of b, at most 255. */
static inline int32_t mct_uqadd8(int32_t a, int32_t b)
{
    uint32_t result = 0;
    for (int32_t i = 0; i < 4; i++) {
        const uint32_t sum = mct_byte(a, i) + mct_byte(b, i);
        result |= (sum < UINT8_MAX ? sum : UINT8_MAX) << (8 * i);
    }
    return (int32_t)result;
}

/* Each byte of a minus that of b, modulo 2^8. */
static inline int32_t mct_usub8(int32_t a, int32_t b)
{
    uint32_t result = 0;
    for (int32_t i = 0; i < 4; i++) {
        result |= ((mct_byte(a, i) - mct_byte(b, i)) & 0xFFu) << (8 * i);
    }
    return (int32_t)result;
}

/* floor(a * b.low / 2^16), floor(a * b.high / 2^16) */
static inline int32_t mct_smulwb(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * mct_halfword(b, 0)) >> 16);
}
static inline int32_t mct_smulwt(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * mct_halfword(b, 1)) >> 16);
}

/* These plus sum, modulo 2^32. */
static inline int32_t mct_smlawb(int32_t a, int32_t b, int32_t sum)
{
    return (int32_t)((uint32_t)sum + (uint32_t)mct_smulwb(a, b));
}
static inline int32_t mct_smlawt(int32_t a, int32_t b, int32_t sum)
{
    return (int32_t)((uint32_t)sum + (uint32_t)mct_smulwt(a, b));
}

/* sum + a.low * b.high + a.high * b.low, modulo 2^32. */
static inline int32_t mct_smladx(int32_t a, int32_t b, int32_t sum)
{
    return mct_smlad(a, mct_pair(mct_halfword(b, 1), b), sum);
}

#endif
/* The same value in both halves. */
static inline int32_t mct_both(int32_t value)
{
    return mct_pkhbt(value, value);
}

/* The same byte four times. */
static inline int32_t mct_each_byte(int32_t value)
{
    return (int32_t)((uint32_t)(value & UINT8_MAX) * 0x01010101u);
}

#endif /* MCT_DSP */
#endif
