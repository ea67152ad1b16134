/* Exponentials and reciprocals in fixed point, of softmax and log_softmax. Qm.n below: a int32 with m integer and n fraction bits. */
#ifndef MCT_KERNELS_EXPONENTIAL_H
#define MCT_KERNELS_EXPONENTIAL_H

#include <stdint.h>

#include "kernels/common/requantize.h"

/* Each element adds at most 1 to a sum in Q12.19. check: MCT_SUM_INTEGER_BITS + 19 == 31; MCT_MAX_SOFTMAX_DEPTH * 2^19 < 2^31 */
enum { MCT_DIFF_INTEGER_BITS = 5, MCT_SUM_INTEGER_BITS = 12, MCT_MAX_SOFTMAX_DEPTH = 4095 };

/* x in Qm.n to Q(m-bits).(n+bits). */
static inline int32_t mct_drop_integer_bits(int32_t x, int32_t bits)
{
    return mct_shift_left_saturated(x, bits);
}

/* e^x - for x in [-1/4, 0), in Q0.31: the Taylor series of fourth order round -1/8. */
static inline int32_t mct_exp_of_last_quarter(int32_t x)
{
    /* check: exp_minus_eighth == round(e^(-1/8) * 2^31); third == round(2^31 / 3) */
    const int32_t exp_minus_eighth = 1895147668, third = 715827883;
    const int32_t t = x + (1 << 28);
    const int32_t t2 = mct_high_s32(t, t);
    const int32_t t3 = mct_high_s32(t2, t);
    const int32_t t4 = mct_high_s32(t2, t2);
    const int32_t third_and_fourth = mct_high_s32(mct_divide_by_power_of_two(t4, 2) + t3, third);
    const int32_t series = t + mct_divide_by_power_of_two(third_and_fourth + t2, 1);

    return exp_minus_eighth + mct_high_s32(series, exp_minus_eighth);
}

/* e^x in Q0.31 for x <= 0 in Q5.26: the last quarter by its series, the rest by one factor a bit. */
static inline int32_t mct_exp_of_negative(int32_t x)
{
    /* check: factors[i] == round(e^(-2^(i - 2)) * 2^31) for i in 0..len(factors) - 1; len(factors) == MCT_DIFF_INTEGER_BITS + 2 */
    const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t quarter = 1 << 24;
    const int32_t last = (x & (quarter - 1)) - quarter;
    const int32_t rest = last - x; /* a multiple of 1/4 */
    int32_t result = mct_exp_of_last_quarter(mct_drop_integer_bits(last, MCT_DIFF_INTEGER_BITS));

    if (x == 0) {
        return INT32_MAX;
    }
    for (int32_t i = 0; i < (int32_t)(sizeof factors / sizeof factors[0]); i++) {
        if ((rest & (quarter << i)) != 0) {
            result = mct_high_s32(result, factors[i]);
        }
    }
    return result;
}

/* 1 / (1 + x) in Q0.31 for x in [0, 1) in Q0.31: three Newton steps on half the denominator. */
static inline int32_t mct_reciprocal_of_one_plus(int32_t x)
{
    /* check: start == round(48/17 * 2^29); slope == round(-32/17 * 2^29) */
    const int32_t start = 1515870810, slope = -1010580540;
    const int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t estimate = start + mct_high_s32(half_denominator, slope); /* Q2.29 */

    for (int32_t i = 0; i < 3; i++) {
        const int32_t miss = (1 << 29) - mct_high_s32(half_denominator, estimate);

        estimate += mct_drop_integer_bits(mct_high_s32(estimate, miss), 2);
    }
    return mct_drop_integer_bits(estimate, 1); /* half of it: Q2.29 read as Q1.30 */
}

static inline int32_t mct_leading_zeros(uint32_t x)
{
    int32_t zeros = 0;

    for (; (x & 0x80000000u) == 0; x <<= 1) {
        zeros++;
    }
    return zeros;
}

#endif
