/* Softmax and cross entropy of one sample, and their gradient with respect to the logits. */
#include "kernels/common/exact.h"

#include "mcutrain/loss.h"

#include "kernels/common/float_math.h"

static bool all_finite(const float *values, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (!mct_is_finite_f32(values[i])) {
            return false;
        }
    }
    return true;
}

mct_status mct_softmax_cross_entropy_f32(const mct_softmax_cross_entropy_f32_params *params, const float *logits, const int32_t *label,
                                         float *gradient, float *loss)
{
    if (params == NULL || logits == NULL || label == NULL || gradient == NULL || loss == NULL || params->classes <= 0 || *label < 0 ||
        *label >= params->classes) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t classes = params->classes;

    if (!all_finite(logits, classes)) {
        return MCT_ERROR_NOT_FINITE;
    }
    float largest = logits[0];

    for (int32_t o = 1; o < classes; o++) {
        largest = logits[o] > largest ? logits[o] : largest;
    }
    const float target = logits[*label] - largest; /* read before the gradient may overwrite it */
    float sum = 0.0f;

    for (int32_t o = 0; o < classes; o++) {
        gradient[o] = mct_exp_f32(logits[o] - largest);
        sum = sum + gradient[o];
    }
    for (int32_t o = 0; o < classes; o++) {
        gradient[o] = gradient[o] / sum;
    }
    gradient[*label] = gradient[*label] - 1.0f;
    *loss = mct_log_f32(sum) - target;
    return MCT_OK;
}
