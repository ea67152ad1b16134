/* mean_rate: the learning rate of a sum of gradients, where the step is to be of their mean. */
#include "kernels/common/exact.h"

#include "mcutrain/update.h"

mct_status mct_mean_rate_f32(const mct_mean_rate_params *params, const float *learning_rate, const int32_t *samples, float *rate)
{
    if (params == NULL || learning_rate == NULL || samples == NULL || rate == NULL || *samples < 1 || *samples > params->batch) {
        return MCT_ERROR_ARGUMENT;
    }
    *rate = *learning_rate / (float)*samples;
    return MCT_OK;
}
