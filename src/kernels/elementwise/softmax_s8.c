/* softmax of every row of an int8 matrix in fixed point. Qm.n below: a int32 with m integer and n fraction bits. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include "kernels/common/requantize.h"
#include "kernels/elementwise/exponential.h"

/* e^(beta * scale * difference) in Q0.31. */
static int32_t exp_of_difference(const mct_softmax_s8_params *p, int32_t difference)
{
    return mct_exp_of_negative(mct_high_s32(difference * (1 << p->input_left_shift), p->input_multiplier));
}

static bool valid(const mct_softmax_s8_params *p)
{
    return p->rows > 0 && p->depth > 0 && p->depth <= MCT_MAX_SOFTMAX_DEPTH && p->input_multiplier >= 0 && p->input_left_shift >= 0 &&
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
            sum += mct_divide_by_power_of_two(exp_of_difference(p, difference), MCT_SUM_INTEGER_BITS);
        }
    }
    /* sum = 2^(12 - zeros) * (1 + rest), rest in [0, 1) */
    const int32_t zeros = mct_leading_zeros((uint32_t)sum);
    const int32_t scale = mct_reciprocal_of_one_plus((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
    const int32_t right = 31 - p->output_shift + 31 + MCT_SUM_INTEGER_BITS - zeros;

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
