/* Four steps of an update the short way (update_weights.h), each rounded half to even in units of its rounding. */
#ifndef MCT_KERNELS_UPDATE_STEPS_H
#define MCT_KERNELS_UPDATE_STEPS_H

#include "kernels/common/pairs.h"
#include "kernels/update/update_weights.h"

#if MCT_DSP

/* The last bits of a float32 from 2^23 to 2^24 are the number that it is: those of x + MCT_ROUNDER are x rounded, for |x| < 2^22.
 * check: MCT_ROUNDER_BITS == bits(1.5 * 2^23); bits(1.5 * 2^23 + i) == MCT_ROUNDER_BITS + i for i in -3..3 */
#define MCT_ROUNDER_BITS 0x4B400000

/* Each step is s + MCT_ROUNDER_BITS. */
typedef struct {
    int32_t s0, s1, s2, s3;
} mct_four_steps;

#if defined(__ARM_FP) && defined(__GNUC__) && !MCT_DUAL_ISSUE

/* Side by side: a floating point result can be used two or three cycles later. Compilers load one by one, at two cycles each. */
#define MCT_FOUR_STEPS(load, from)                                                                                                         \
    __asm__(load "vmul.f32 s0, s0, %[factor]\n\tvmul.f32 s1, s1, %[factor]\n\t"                                                            \
                 "vmul.f32 s2, s2, %[factor]\n\tvmul.f32 s3, s3, %[factor]\n\t"                                                            \
                 "vmul.f32 s0, s0, %[ratio]\n\tvmul.f32 s1, s1, %[ratio]\n\t"                                                              \
                 "vmul.f32 s2, s2, %[ratio]\n\tvmul.f32 s3, s3, %[ratio]\n\t"                                                              \
                 "vadd.f32 s0, s0, %[rounder]\n\tvadd.f32 s1, s1, %[rounder]\n\t"                                                          \
                 "vadd.f32 s2, s2, %[rounder]\n\tvadd.f32 s3, s3, %[rounder]\n\t"                                                          \
                 "vmov %[a], s0\n\tvmov %[b], s1\n\tvmov %[c], s2\n\tvmov %[d], s3"                                                        \
            : [a] "=r"(four.s0), [b] "=r"(four.s1), [c] "=r"(four.s2), [d] "=r"(four.s3)                                                   \
            : [at] "r"(from), [factor] "t"(steps->factor), [ratio] "t"(steps->ratio), [rounder] "t"(MCT_ROUNDER), "m"(*(from))             \
            : "s0", "s1", "s2", "s3")

static MCT_SPECIALISED mct_four_steps mct_next_four_steps(const mct_steps *steps, bool is_b16, int32_t i)
{
    typedef const int32_t four_sums[4];
    typedef const float four_values[4];
    mct_four_steps four;

    if (is_b16) {
        four_sums *const from = (four_sums *)(steps->gradient.sums + i);

        MCT_FOUR_STEPS("vldmia %[at], {s0-s3}\n\tvcvt.f32.s32 s0, s0\n\tvcvt.f32.s32 s1, s1\n\t"
                       "vcvt.f32.s32 s2, s2\n\tvcvt.f32.s32 s3, s3\n\t",
                       from);
    } else {
        four_values *const from = (four_values *)(steps->gradient.values + i);

        MCT_FOUR_STEPS("vldmia %[at], {s0-s3}\n\t", from);
    }
    return four;
}

#else

static MCT_SPECIALISED int32_t mct_short_step(const mct_steps *steps, bool is_b16, int32_t i)
{
    const float value = is_b16 ? (float)steps->gradient.sums[i] : steps->gradient.values[i];

    return (int32_t)mct_float_bits(value * steps->factor * steps->ratio + MCT_ROUNDER);
}

static MCT_SPECIALISED mct_four_steps mct_next_four_steps(const mct_steps *steps, bool is_b16, int32_t i)
{
    return (mct_four_steps){
        .s0 = mct_short_step(steps, is_b16, i),
        .s1 = mct_short_step(steps, is_b16, i + 1),
        .s2 = mct_short_step(steps, is_b16, i + 2),
        .s3 = mct_short_step(steps, is_b16, i + 3),
    };
}

#endif
#endif
#endif
