/* The logarithm of softmax, of every row of an int8 matrix in fixed point. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include "kernels/common/requantize.h"
#include "kernels/elementwise/exponential.h"

/* Logarithms are summed in Q6.25, one bit short of the Q5.26 that they become: room for the sum. */
enum { LOG_FRACTION_BITS = 25 };

/* ln(x) in Q5.26 for x >= 1 in Q12.19: the power of two, and a quotient of polynomials of what is left about 2^(-1/4). */
static int32_t log_of_sum(int32_t x)
{
    /* check: ln2 == round(ln(2) * 2^31); sqrt_half == round(sqrt(1/2) * 2^31); middle == round(2^(-1/4) * 2^31) */
    const int32_t ln2 = 1488522236, sqrt_half = 1518500250, middle = 1805811301;
    /* check: a == round(11/240 * 2^(1/4) * 2^31); b == round(1/20 * 2^(1/4) * 2^31); c == round((2^(3/4) - 2^(1/4)) * 2^31) */
    const int32_t a = 117049297, b = 127690142, c = 1057819769;
    /* check: d == round(1/4 * 2^(1/4) * 2^31) */
    const int32_t d = 638450708;
    const int32_t quarter = 1 << (LOG_FRACTION_BITS - 2);
    const int32_t zeros = mct_leading_zeros((uint32_t)x);
    const int32_t zeros_b = mct_leading_zeros((uint32_t)mct_high_s32(x, sqrt_half)) - 1;
    const int32_t ra = mct_shift_left_saturated(mct_high_s32(x * (1 << (zeros - 1)), sqrt_half), 1);
    const int32_t rb = mct_shift_left_saturated(x, zeros_b);
    const int32_t r = ra < rb ? ra : rb;
    const int32_t power_a = (MCT_SUM_INTEGER_BITS - zeros) * (1 << LOG_FRACTION_BITS) + quarter;
    const int32_t power_b = (MCT_SUM_INTEGER_BITS - zeros_b) * (1 << LOG_FRACTION_BITS) - quarter;
    const int32_t power = power_a > power_b ? power_a : power_b;
    const int64_t sum = (int64_t)r + middle;
    const int32_t p = (int32_t)((sum + 1) / 2); /* both are positive */
    const int32_t q = 2 * (r - middle);
    const int32_t q2 = mct_high_s32(q, q);
    const int32_t numerator = mct_high_s32(q, r) + mct_high_s32(mct_high_s32(q, q2), a);
    const int32_t denominator = mct_high_s32(p, c + q + mct_high_s32(b, q2)) + mct_high_s32(d, q);
    const int32_t scaled = mct_divide_by_power_of_two(numerator, MCT_DIFF_INTEGER_BITS + 1);
    const int32_t log = mct_high_s32(power, ln2) + mct_high_s32(scaled, mct_reciprocal_of_one_plus(denominator));

    return mct_shift_left_saturated(log, 1);
}

/* beta * scale * difference in Q5.26. */
static int32_t scaled_difference(const mct_log_softmax_s8_params *p, int32_t difference)
{
    return mct_high_s32(difference * (1 << p->input_left_shift), p->input_multiplier);
}

static bool valid(const mct_log_softmax_s8_params *p)
{
    return p->rows > 0 && p->depth > 0 && p->depth <= MCT_MAX_SOFTMAX_DEPTH && p->input_multiplier >= 0 && p->input_left_shift >= 0 &&
           p->input_left_shift <= 30 && p->diff_min <= 0 &&
           /* a difference not below diff_min, nor below -255, stays in Q5.26 */
           (int64_t)(p->diff_min < -255 ? -255 : p->diff_min) * ((int64_t)1 << p->input_left_shift) >= INT32_MIN &&
           mct_multiplier_valid(p->reverse_multiplier, p->reverse_shift) && mct_multiplier_valid(p->output_multiplier, p->output_shift) &&
           mct_code_valid(p->output_zero_point);
}

static void log_softmax_of_row(const mct_log_softmax_s8_params *p, const int8_t *x, int8_t *y)
{
    int32_t largest = x[0], sum = 0; /* sum: Q12.19, at least 1 */

    for (int32_t i = 1; i < p->depth; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t difference = x[i] - largest;

        if (difference >= p->diff_min) {
            sum += mct_divide_by_power_of_two(mct_exp_of_negative(scaled_difference(p, difference)), MCT_SUM_INTEGER_BITS);
        }
    }
    const int32_t log_sum = log_of_sum(sum);
    /* Below this difference the logarithm leaves Q5.26. */
    const int32_t lowest = mct_requantise(log_sum + INT32_MIN, p->reverse_multiplier, p->reverse_shift);
    const int32_t limit = lowest > p->diff_min - 1 ? lowest : p->diff_min - 1;

    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t difference = x[i] - largest;
        int64_t code = INT8_MIN;

        if (difference > limit) {
            const int32_t magnitude = log_sum - scaled_difference(p, difference); /* of a logarithm, which is not above 0 */

            code = (int64_t)p->output_zero_point - mct_requantise_once(magnitude, p->output_multiplier, p->output_shift);
        }
        y[i] = (int8_t)(code > INT8_MAX ? INT8_MAX : code < INT8_MIN ? INT8_MIN : code);
    }
}

mct_status mct_log_softmax_s8(const mct_log_softmax_s8_params *params, const int8_t *restrict x, int8_t *restrict y)
{
    if (params == NULL || x == NULL || y == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_log_softmax_s8_params p = *params;

    for (int32_t row = 0; row < p.rows; row++, x += p.depth, y += p.depth) {
        log_softmax_of_row(&p, x, y);
    }
    return MCT_OK;
}
