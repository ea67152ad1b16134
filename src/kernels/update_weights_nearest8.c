#include "update.h"

#define LARGEST_STEP 2097152.0f /* check: 2^21, within half-even's 2^22 */

static MCT_SPECIALISED mct_status update(const mct_update_weights_params *params, const mct_gradient *gradient, const float *factor,
                                         const int32_t *index, const float *learning_rate, int8_t *weights)
{
    const int32_t selected = params->selected;
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
                const int32_t difference = (int32_t)mct_half_even_f32(mct_clamp_f32(step, LARGEST_STEP));

                *weight = (int8_t)mct_clamp_s32(*weight - difference, params->weight_min, INT8_MAX);
            }
        }
    }
    return MCT_OK;
}

mct_status mct_update_weights_nearest8_b16(const mct_update_weights_params *params, const mct_b32 *gradient, const float *factor,
                                           const int32_t *index, const float *learning_rate, int8_t *weights)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, learning_rate, weights)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_b16(gradient);
    return update(params, &values, factor, index, learning_rate, weights);
}

mct_status mct_update_weights_nearest8_f32(const mct_update_weights_params *params, const float *gradient, const float *factor,
                                           const int32_t *index, const float *learning_rate, int8_t *weights)
{
    if (!mct_update_weights_valid(params, gradient, factor, index, learning_rate, weights)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_f32(gradient);
    return update(params, &values, factor, index, learning_rate, weights);
}
