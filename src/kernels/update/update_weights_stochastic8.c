#include "kernels/common/exact.h"

#include "kernels/update/update_steps.h"
#include "kernels/common/random.h"

/* More than between any two codes; in units within mct_round_s32's 2^30, and a weight of 2^7 with it within int32.
 * check: LARGEST_STEP > 255; LARGEST_STEP * UNIT == 2^25; (128 + LARGEST_STEP) * UNIT < 2^31 */
#define LARGEST_STEP 512.0f
#define UNIT 65536.0f
#define LONGEST_SHORT_STEP 63.0f /* within MCT_ROUNDER's. check: LONGEST_SHORT_STEP * UNIT < 2^22 */

/* weight - step in 1/65536ths, plus a random part of one: the floor of it is right on average. */
static inline int32_t step_code(int32_t weight, float step, uint32_t random, int32_t weight_min)
{
    const int32_t difference = mct_round_s32(mct_clamp_f32(step, LARGEST_STEP) * UNIT);

    return mct_clamp_s32((65536 * weight - difference + (int32_t)(random >> 16)) >> 16, weight_min, INT8_MAX);
}

#if MCT_DSP

/* The random part less the step, in 1/65536ths: its upper half is what the weight changes by, and MCT_ROUNDER_BITS'. */
static inline int32_t draw(uint32_t *random, int32_t step)
{
    return (int32_t)((mct_random_next(random) >> 16) - (uint32_t)step);
}

static inline int32_t step_pair(int32_t weights, int32_t change0, int32_t change1, int32_t rounder, int32_t least)
{
    const int32_t change = mct_sadd16(mct_pkhtb(change1, change0), rounder);

    return mct_pair_max(mct_saturate16_s8(mct_sadd16(weights, change)), least);
}

/* As many as there are fours of: the number of weights stepped. */
static MCT_SPECIALISED int32_t step_fours(const mct_steps *steps, bool is_b16, int8_t *weights, int32_t count, uint32_t *random)
{
    const int32_t least = mct_both(steps->weight_min), rounder = mct_both(MCT_ROUNDER_BITS >> 16);
    const int32_t fours = steps->is_short ? count / 4 * 4 : 0;
    uint32_t state = *random;
    const mct_steps own = *steps; /* a copy: stores to the weights cannot change it */

    for (int32_t i = 0; i < fours; i += 4) {
        const mct_four_steps step = mct_next_four_steps(&own, is_b16, i);
        const int32_t w = mct_load_word(weights + i);
        const int32_t c0 = draw(&state, step.s0), c1 = draw(&state, step.s1), c2 = draw(&state, step.s2), c3 = draw(&state, step.s3);
        const int32_t even = step_pair(mct_sxtb16(w), c0, c2, rounder, least);
        const int32_t odd = step_pair(mct_sxtb16_ror8(w), c1, c3, rounder, least);

        mct_store_word(weights + i, mct_join_bytes(even, odd));
    }
    *random = state;
    return fours;
}

#else

static inline int32_t step_fours(const mct_steps *steps, bool is_b16, int8_t *weights, int32_t count, uint32_t *random)
{
    (void)steps;
    (void)is_b16;
    (void)weights;
    (void)count;
    (void)random;
    return 0;
}

#endif

static MCT_SPECIALISED void run(const mct_steps *steps, bool is_b16, int8_t *weights, int32_t count, void *state)
{
    uint32_t *const random = state;

    for (int32_t i = step_fours(steps, is_b16, weights, count, random); i < count; i++) {
        weights[i] = (int8_t)step_code(weights[i], mct_step_at(steps, i), mct_random_next(random), steps->weight_min);
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

mct_status mct_update_weights_stochastic8_b16(const mct_update_weights_params *params, const mct_b32 *gradient, const float *factor,
                                              const mct_index *index, const mct_index *rows, const float *learning_rate, int8_t *weights,
                                              uint32_t *random)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, rows, learning_rate, weights) || random == NULL || *random == 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_rounding rounding = {UNIT, LONGEST_SHORT_STEP, run_b16};
    const mct_gradient values = mct_gradient_b16(gradient);
    return mct_update_weights(&rounding, params, &values, factor, index, rows, *learning_rate, weights, random);
}

mct_status mct_update_weights_stochastic8_f32(const mct_update_weights_params *params, const float *gradient, const float *factor,
                                              const mct_index *index, const mct_index *rows, const float *learning_rate, int8_t *weights,
                                              uint32_t *random)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, rows, learning_rate, weights) || random == NULL || *random == 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_rounding rounding = {UNIT, LONGEST_SHORT_STEP, run_f32};
    const mct_gradient values = mct_gradient_f32(gradient);
    return mct_update_weights(&rounding, params, &values, factor, index, rows, *learning_rate, weights, random);
}
