/* softmax of every row of an int8 matrix in fixed point. Qm.n below: a int32 with m integer and n fraction bits. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include "kernels/common/requantize.h"

/* Each element adds at most 1 to a sum in Q12.19. check: SUM_INTEGER_BITS + 19 == 31; MAX_DEPTH * 2^19 < 2^31 */
enum { DIFF_INTEGER_BITS = 5, SUM_INTEGER_BITS = 12, MAX_DEPTH = 4095 };

/* x in Qm.n to Q(m-bits).(n+bits). */
static int32_t drop_integer_bits(int32_t x, int32_t bits)
{
    return mct_shift_left_saturated(x, bits);
}

/* e^x - for x in [-1/4, 0), in Q0.31: the Taylor series of fourth order round -1/8. */
static int32_t exp_of_last_quarter(int32_t x)
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
static int32_t exp_of_negative(int32_t x)
{
    /* check: factors[i] == round(e^(-2^(i - 2)) * 2^31) for i in 0..len(factors) - 1; len(factors) == DIFF_INTEGER_BITS + 2 */
    const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t quarter = 1 << 24;
    const int32_t last = (x & (quarter - 1)) - quarter;
    const int32_t rest = last - x; /* a multiple of 1/4 */
    int32_t result = exp_of_last_quarter(drop_integer_bits(last, DIFF_INTEGER_BITS));

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
static int32_t reciprocal_of_one_plus(int32_t x)
{
    /* check: start == round(48/17 * 2^29); slope == round(-32/17 * 2^29) */
    const int32_t start = 1515870810, slope = -1010580540;
    const int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t estimate = start + mct_high_s32(half_denominator, slope); /* Q2.29 */

    for (int32_t i = 0; i < 3; i++) {
        const int32_t miss = (1 << 29) - mct_high_s32(half_denominator, estimate);

        estimate += drop_integer_bits(mct_high_s32(estimate, miss), 2);
    }
    return drop_integer_bits(estimate, 1); /* half of it: Q2.29 read as Q1.30 */
}

static int32_t leading_zeros(uint32_t x)
{
    int32_t zeros = 0;

    for (; (x & 0x80000000u) == 0; x <<= 1) {
        zeros++;
    }
    return zeros;
}

/* e^(beta * scale * difference) in Q0.31. */
static int32_t exp_of_difference(const mct_softmax_s8_params *p, int32_t difference)
{
    return exp_of_negative(mct_high_s32(difference * (1 << p->input_left_shift), p->input_multiplier));
}

static bool valid(const mct_softmax_s8_params *p)
{
    return p->rows > 0 && p->depth > 0 && p->depth <= MAX_DEPTH && p->input_multiplier >= 0 && p->input_left_shift >= 0 &&
           p->input_left_shift <= 30 && p->diff_min <= 0 &&
           /* a difference not below diff_min, nor below -255, stays in Q5.26 */
           (int64_t)(p->diff_min < -255 ? -255 : p->diff_min) * ((int64_t)1 << p->input_left_shift) >= INT32_MIN &&
           mct_multiplier_valid(p->output_multiplier, p->output_shift) && mct_code_valid(p->output_zero_point);
}

static void softmax_of_row(const mct_softmax_s8_params *p, const int8_t *x, int8_t *y)
{
    int32_t largest = x[0], sum = 0; /* sum: Q12.19, at least 1 */

    for (int32_t i = 1; i < p->depth; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t difference = x[i] - largest;

        if (difference >= p->diff_min) {
            sum += mct_divide_by_power_of_two(exp_of_difference(p, difference), SUM_INTEGER_BITS);
        }
    }
    /* sum = 2^(12 - zeros) * (1 + rest), rest in [0, 1) */
    const int32_t zeros = leading_zeros((uint32_t)sum);
    const int32_t scale = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
    const int32_t right = 31 - p->output_shift + 31 + SUM_INTEGER_BITS - zeros;

    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t difference = x[i] - largest;
        int64_t code = p->output_zero_point;

        if (difference >= p->diff_min) {
            const int64_t product = (int64_t)mct_high_s32(scale, exp_of_difference(p, difference)) * p->output_multiplier;

            /* The product is below 2^62, so that 2^63 and more leave under a half. */
            code += right > 62 ? 0 : (product + ((int64_t)1 << (right - 1))) >> right;
        }
        y[i] = (int8_t)(code > INT8_MAX ? INT8_MAX : code);
    }
}

mct_status mct_softmax_s8(const mct_softmax_s8_params *params, const int8_t *restrict x, int8_t *restrict y)
{
    if (params == NULL || x == NULL || y == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_softmax_s8_params p = *params;

    for (int32_t row = 0; row < p.rows; row++, x += p.depth, y += p.depth) {
        softmax_of_row(&p, x, y);
    }
    return MCT_OK;
}
