#include "kernels/common/exact.h"

#include "kernels/update/update_steps.h"

#define LARGEST_STEP 2097152.0f /* within half-even's. check: LARGEST_STEP == 2^21 < 2^22 */
#define UNIT 1.0f
#define LONGEST_SHORT_STEP 30000.0f /* within int16, a weight away from its ends. check: LONGEST_SHORT_STEP + 128 < 2^15 */

#if MCT_DSP

static inline int32_t step_pair(int32_t weights, int32_t step0, int32_t step1, int32_t least)
{
    return mct_pair_max(mct_saturate16_s8(mct_ssub16(weights, mct_pkhbt(step0, step1))), least);
}

/* As many as there are fours of: the number of weights stepped. */
static MCT_SPECIALISED int32_t step_fours(const mct_steps *steps, bool is_b16, int8_t *weights, int32_t count)
{
    const int32_t least = mct_both(steps->weight_min), fours = steps->is_short ? count / 4 * 4 : 0;
    const mct_steps own = *steps; /* a copy: stores to the weights cannot change it */

    for (int32_t i = 0; i < fours; i += 4) {
        const mct_four_steps step = mct_next_four_steps(&own, is_b16, i);
        const int32_t w = mct_load_word(weights + i);
        const int32_t even = step_pair(mct_sxtb16(w), step.s0, step.s2, least);
        const int32_t odd = step_pair(mct_sxtb16_ror8(w), step.s1, step.s3, least);

        mct_store_word(weights + i, mct_join_bytes(even, odd));
    }
    return fours;
}

#else

static inline int32_t step_fours(const mct_steps *steps, bool is_b16, int8_t *weights, int32_t count)
{
    (void)steps;
    (void)is_b16;
    (void)weights;
    (void)count;
    return 0;
}

#endif

static MCT_SPECIALISED void run(const mct_steps *steps, bool is_b16, int8_t *weights, int32_t count, void *state)
{
    (void)state;
    for (int32_t i = step_fours(steps, is_b16, weights, count); i < count; i++) {
        const int32_t difference = (int32_t)mct_half_even_f32(mct_clamp_f32(mct_step_at(steps, i), LARGEST_STEP));

        weights[i] = (int8_t)mct_clamp_s32(weights[i] - difference, steps->weight_min, INT8_MAX);
    }
}

static MCT_NOINLINE void run_b16(const mct_steps *steps, int8_t *weights, int32_t count, void *state)
{
    run(steps, true, weights, count, state);
}

static MCT_NOINLINE void run_f32(const mct_steps *steps, int8_t *weights, int32_t count, void *state)
{
    run(steps, false, weights, count, state);
}

mct_status mct_update_weights_nearest8_b16(const mct_update_weights_params *params, const mct_b32 *gradient, const float *factor,
                                           const mct_index *index, const mct_index *rows, const float *learning_rate, int8_t *weights)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, rows, learning_rate, weights)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_rounding rounding = {UNIT, LONGEST_SHORT_STEP, run_b16};
    const mct_gradient values = mct_gradient_b16(gradient);
    return mct_update_weights(&rounding, params, &values, factor, index, rows, *learning_rate, weights, NULL);
}

mct_status mct_update_weights_nearest8_f32(const mct_update_weights_params *params, const float *gradient, const float *factor,
                                           const mct_index *index, const mct_index *rows, const float *learning_rate, int8_t *weights)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, rows, learning_rate, weights)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_rounding rounding = {UNIT, LONGEST_SHORT_STEP, run_f32};
    const mct_gradient values = mct_gradient_f32(gradient);
    return mct_update_weights(&rounding, params, &values, factor, index, rows, *learning_rate, weights, NULL);
}
