/* update_bias: int32 biases, a step for each channel. */
#include "kernels/common/exact.h"

#include "kernels/update/update.h"

#define LARGEST_STEP 1073741824.0f /* mct_round_s32's limit. check: LARGEST_STEP == 2^30 */

static int is_valid(const mct_update_bias_params *params, const void *gradient, const float *factor, const float *output_scale,
                    const float *learning_rate, const int32_t *bias)
{
    return params != NULL && gradient != NULL && factor != NULL && output_scale != NULL && learning_rate != NULL && bias != NULL &&
           params->channels > 0 && params->bias_limit >= 0;
}

static inline int32_t step_bias(int32_t bias, float step, int32_t limit)
{
    const int64_t next = (int64_t)bias - mct_round_s32(mct_clamp_f32(step, LARGEST_STEP));

    return next > limit ? limit : next < -(int64_t)limit ? -limit : (int32_t)next;
}

static MCT_SPECIALISED mct_status update(const mct_update_bias_params *params, const mct_gradient *gradient, const float *factor,
                                         const float *output_scale, const float *learning_rate, int32_t *bias)
{
    uint32_t largest = 0;
    float ratio;

    for (int32_t c = 0; c < params->channels; c++) {
        const float step = mct_gradient_at(gradient, (size_t)c) * (*learning_rate * factor[c]);
        const uint32_t magnitude = mct_magnitude_bits_f32(step * output_scale[c]);
        largest = magnitude > largest ? magnitude : largest;
    }
    const mct_status status = mct_step_ratio(largest, params->step_cap, &ratio);

    if (status != MCT_OK) {
        return status;
    }
    MCT_OBSERVE_UPDATE(bias, mct_float_from_bits(largest), ratio);
    for (int32_t c = 0; c < params->channels; c++) {
        const float step = mct_gradient_at(gradient, (size_t)c) * (*learning_rate * factor[c]);
        bias[c] = step_bias(bias[c], step * ratio, params->bias_limit);
    }
    return MCT_OK;
}

mct_status mct_update_bias_b16(const mct_update_bias_params *params, const mct_b32 *gradient, const float *factor,
                               const float *output_scale, const float *learning_rate, int32_t *bias)
{
    if (!is_valid(params, gradient, factor, output_scale, learning_rate, bias)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_b16(gradient);
    return update(params, &values, factor, output_scale, learning_rate, bias);
}

mct_status mct_update_bias_f32(const mct_update_bias_params *params, const float *gradient, const float *factor, const float *output_scale,
                               const float *learning_rate, int32_t *bias)
{
    if (!is_valid(params, gradient, factor, output_scale, learning_rate, bias)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_gradient values = mct_gradient_f32(gradient);
    return update(params, &values, factor, output_scale, learning_rate, bias);
}
