#include "kernels/common/exact.h"

#include "kernels/update/update_steps.h"

/* Beyond any distance between two masters, and within half-even's. check: 2^16 < LARGEST_STEP == 2^21 < 2^22 */
#define LARGEST_STEP 2097152.0f

#define UNIT 256.0f
#define LONGEST_SHORT_STEP 127.0f /* in units, within int16 */

/* weight * 256 + fraction - step, back in the two bytes. */
static inline void step_master(int8_t *weight, int8_t *fraction, float step, int32_t master_min)
{
    const int32_t difference = (int32_t)mct_half_even_f32(mct_clamp_f32(step * 256.0f, LARGEST_STEP));
    const int32_t master = mct_clamp_s32(256 * *weight + *fraction - difference, master_min, 256 * INT8_MAX);
    const int32_t code = (master + 128) >> 8;

    *weight = (int8_t)code;
    *fraction = (int8_t)(master - 256 * code);
}

#if MCT_DSP

/* What the short way needs: master + 128 is (weight, fraction ^ 128) as the two bytes of an int16, and has the new weight in its upper one.
 * Saturating at both ends of int16 and adding the distance back clamps it. */
typedef struct {
    int32_t above, below, up; /* 2^15 - 1 - (256 * 127 + 128); the same and up; 256 * weight_min + 128 + 2^15 */
} bounds;

static inline bounds bounds_of(int32_t weight_min)
{
    const int32_t above = INT16_MAX - (256 * INT8_MAX + 128), up = 256 * weight_min + 128 - INT16_MIN;

    return (bounds){mct_both(above), mct_both(above + up), mct_both(up)};
}

static inline int32_t step_pair(int32_t masters, int32_t step0, int32_t step1, const bounds *b)
{
    const int32_t next = mct_qsub16(masters, mct_pkhbt(step0, step1));

    return mct_sadd16(mct_qsub16(mct_qadd16(next, b->above), b->below), b->up);
}

/* As many as there are fours of: the number of weights stepped. below fits an int16 where weight_min is negative. */
static MCT_SPECIALISED int32_t step_fours(const mct_steps *steps, bool is_b16, int8_t *weights, int8_t *fraction, int32_t count)
{
    const bounds b = bounds_of(steps->weight_min);
    const int32_t fours = steps->is_short && steps->weight_min < 0 ? count / 4 * 4 : 0;
    const mct_steps own = *steps; /* a copy: stores to the weights cannot change it */

    for (int32_t i = 0; i < fours; i += 4) {
        const mct_four_steps step = mct_next_four_steps(&own, is_b16, i);
        const int32_t w = mct_load_word(weights + i), f = mct_load_word(fraction + i) ^ (int32_t)0x80808080u;
        const int32_t even = step_pair(mct_join_bytes(f, w), step.s0, step.s2, &b);
        const int32_t odd = step_pair((int32_t)((uint32_t)mct_uxtb16_ror8(f) | ((uint32_t)w & 0xFF00FF00u)), step.s1, step.s3, &b);

        mct_store_word(weights + i, (int32_t)((uint32_t)mct_uxtb16_ror8(even) | ((uint32_t)odd & 0xFF00FF00u)));
        mct_store_word(fraction + i, mct_join_bytes(even, odd) ^ (int32_t)0x80808080u);
    }
    return fours;
}

#else

static inline int32_t step_fours(const mct_steps *steps, bool is_b16, int8_t *weights, int8_t *fraction, int32_t count)
{
    (void)steps;
    (void)is_b16;
    (void)weights;
    (void)fraction;
    (void)count;
    return 0;
}

#endif

static MCT_SPECIALISED void run(const mct_steps *steps, bool is_b16, int8_t *weights, int32_t count, void *state)
{
    int8_t **const fraction = state;
    const int32_t master_min = 256 * steps->weight_min;

    for (int32_t i = step_fours(steps, is_b16, weights, *fraction, count); i < count; i++) {
        step_master(&weights[i], &(*fraction)[i], mct_step_at(steps, i), master_min);
    }
    *fraction += count;
}

static MCT_NOINLINE void run_b16(const mct_steps *steps, int8_t *weights, int32_t count, void *state)
{
    run(steps, true, weights, count, state);
}

static MCT_NOINLINE void run_f32(const mct_steps *steps, int8_t *weights, int32_t count, void *state)
{
    run(steps, false, weights, count, state);
}

mct_status mct_update_weights_master16_b16(const mct_update_weights_params *params, const mct_b32 *gradient, const float *factor,
                                           const mct_index *index, const mct_index *rows, const float *learning_rate, int8_t *weights,
                                           int8_t *fraction)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, rows, learning_rate, weights) || fraction == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_rounding rounding = {UNIT, LONGEST_SHORT_STEP, run_b16};
    const mct_gradient values = mct_gradient_b16(gradient);
    return mct_update_weights(&rounding, params, &values, factor, index, rows, *learning_rate, weights, &fraction);
}

mct_status mct_update_weights_master16_f32(const mct_update_weights_params *params, const float *gradient, const float *factor,
                                           const mct_index *index, const mct_index *rows, const float *learning_rate, int8_t *weights,
                                           int8_t *fraction)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, rows, learning_rate, weights) || fraction == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_rounding rounding = {UNIT, LONGEST_SHORT_STEP, run_f32};
    const mct_gradient values = mct_gradient_f32(gradient);
    return mct_update_weights(&rounding, params, &values, factor, index, rows, *learning_rate, weights, &fraction);
}
