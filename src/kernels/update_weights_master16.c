#include "update.h"

#define LARGEST_STEP 2097152.0f /* check: 2^21, beyond any distance between two masters (2^16) and within half-even's 2^22 */

/* weight * 256 + fraction - step, back in the two bytes. */
static inline void step_master(int8_t *weight, int8_t *fraction, float step, int32_t master_min)
{
    const int32_t difference = (int32_t)mct_half_even_f32(mct_clamp_f32(step * 256.0f, LARGEST_STEP));
    const int32_t master = mct_clamp_s32(256 * *weight + *fraction - difference, master_min, 256 * INT8_MAX);
    const int32_t code = (master + 128) >> 8;

    *weight = (int8_t)code;
    *fraction = (int8_t)(master - 256 * code);
}

static MCT_SPECIALISED mct_status update(const mct_update_weights_params *params, const mct_gradient *gradient, const float *factor,
                                         const int32_t *index, const float *learning_rate, int8_t *weights, int8_t *fraction)
{
    const int32_t selected = params->selected, master_min = 256 * params->weight_min;
    float ratio;
    const mct_status status = mct_weights_ratio(params, gradient, factor, *learning_rate, &ratio);

    if (status != MCT_OK) {
        return status;
    }
    for (int32_t c = 0, n = 0; c < params->out_channels; c++) {
        const float k = *learning_rate * factor[c];

        for (int32_t tap = 0; tap < params->taps; tap++, weights += params->in_channels) {
            for (int32_t j = 0; j < selected; j++, n++) {
                const float step = mct_gradient_at(gradient, (size_t)n) * k * ratio;
                step_master(&weights[index == NULL ? j : index[j]], &fraction[n], step, master_min);
            }
        }
    }
    return MCT_OK;
}

mct_status mct_update_weights_master16_b16(const mct_update_weights_params *params, const mct_b32 *gradient, const float *factor,
                                           const int32_t *index, const float *learning_rate, int8_t *weights, int8_t *fraction)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, learning_rate, weights) || fraction == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_b16(gradient);
    return update(params, &values, factor, index, learning_rate, weights, fraction);
}

mct_status mct_update_weights_master16_f32(const mct_update_weights_params *params, const float *gradient, const float *factor,
                                           const int32_t *index, const float *learning_rate, int8_t *weights, int8_t *fraction)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, learning_rate, weights) || fraction == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_f32(gradient);
    return update(params, &values, factor, index, learning_rate, weights, fraction);
}
