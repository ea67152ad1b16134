#include "../runtime/random.h"
#include "update.h"

#define LARGEST_STEP 512.0f /* check: more than the 255 between any two codes; times 65536 it is 2^25 */

/* weight - step in 1/65536ths, plus a random part of one: the floor of it is right on average. */
static inline int32_t step_code(int32_t weight, float step, uint32_t random, int32_t weight_min)
{
    const int32_t difference = mct_round_s32(mct_clamp_f32(step, LARGEST_STEP) * 65536.0f);

    return mct_clamp_s32((65536 * weight - difference + (int32_t)(random >> 16)) >> 16, weight_min, INT8_MAX);
}

static MCT_SPECIALISED mct_status update(const mct_update_weights_params *params, const mct_gradient *gradient, const float *factor,
                                         const int32_t *index, const float *learning_rate, int8_t *weights, uint32_t *random)
{
    const int32_t selected = params->selected;
    uint32_t state = *random;
    float ratio;
    const mct_status status = mct_weights_ratio(params, gradient, factor, *learning_rate, &ratio);

    if (status != MCT_OK) {
        return status;
    }
    for (int32_t c = 0, n = 0; c < params->out_channels; c++) {
        const float k = *learning_rate * factor[c];

        for (int32_t tap = 0; tap < params->taps; tap++, weights += params->in_channels) {
            for (int32_t j = 0; j < selected; j++, n++) {
                int8_t *weight = &weights[index == NULL ? j : index[j]];
                const float step = mct_gradient_at(gradient, (size_t)n) * k * ratio;

                *weight = (int8_t)step_code(*weight, step, mct_random_next(&state), params->weight_min);
            }
        }
    }
    *random = state;
    return MCT_OK;
}

mct_status mct_update_weights_stochastic8_b16(const mct_update_weights_params *params, const mct_b32 *gradient, const float *factor,
                                              const int32_t *index, const float *learning_rate, int8_t *weights, uint32_t *random)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, learning_rate, weights) || random == NULL || *random == 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_b16(gradient);
    return update(params, &values, factor, index, learning_rate, weights, random);
}

mct_status mct_update_weights_stochastic8_f32(const mct_update_weights_params *params, const float *gradient, const float *factor,
                                              const int32_t *index, const float *learning_rate, int8_t *weights, uint32_t *random)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, learning_rate, weights) || random == NULL || *random == 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_f32(gradient);
    return update(params, &values, factor, index, learning_rate, weights, random);
}
