/* Mean squared error of one sample's outputs, and its gradient with respect to them. */
#include "kernels/common/exact.h"

#include "mcutrain/loss.h"

#include "kernels/common/float_math.h"

mct_status mct_mean_squared_error_f32(const mct_mean_squared_error_f32_params *params, const float *outputs, const float *restrict target,
                                      float *gradient, float *restrict loss)
{
    if (params == NULL || outputs == NULL || target == NULL || gradient == NULL || loss == NULL || params->outputs <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t count = params->outputs;
    float sum = 0.0f;

    for (int32_t o = 0; o < count; o++) {
        const float difference = outputs[o] - target[o];

        sum = sum + difference * difference;
    }
    /* Squares only add up: a sum that is finite had no output, target or square that was not. */
    if (!mct_is_finite_f32(sum)) {
        return MCT_ERROR_NOT_FINITE;
    }
    const float slope = 2.0f / (float)count;

    for (int32_t o = 0; o < count; o++) {
        gradient[o] = slope * (outputs[o] - target[o]);
    }
    *loss = sum / (float)count;
    return MCT_OK;
}
