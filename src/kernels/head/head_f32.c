/* The float32 head: the last fully connected layer over dequantised features, its error and its update. */
#include "kernels/common/exact.h"

#include "mcutrain/loss.h"

#include <stdbool.h>

static bool has_sizes(const mct_head_f32_params *params)
{
    return params != NULL && params->features > 0 && params->classes > 0;
}

static bool valid(const mct_head_f32_params *params, const mct_quantization *features)
{
    return has_sizes(params) && features != NULL && features->zero_point >= INT8_MIN && features->zero_point <= INT8_MAX;
}

static inline float feature(const mct_quantization *features, int8_t code)
{
    return (float)(code - features->zero_point) * features->scale;
}

mct_status mct_head_f32(const mct_head_f32_params *params, const int8_t *restrict x, const mct_quantization *restrict x_quantization,
                        const float *restrict weights, const float *restrict bias, float *restrict logits, int32_t *restrict prediction)
{
    if (!valid(params, x_quantization) || x == NULL || weights == NULL || bias == NULL || logits == NULL || prediction == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_head_f32_params p = *params;
    const mct_quantization features = *x_quantization;
    int32_t best = 0;

    for (int32_t o = 0; o < p.classes; o++) {
        const float *const end = weights + p.features;
        float sum = bias[o];

        for (const int8_t *code = x; weights != end; weights++, code++) {
            sum = sum + *weights * feature(&features, *code);
        }
        logits[o] = sum;
        if (sum > logits[best]) {
            best = o;
        }
    }
    *prediction = best;
    return MCT_OK;
}

mct_status mct_head_error_f32(const mct_head_f32_params *params, const float *restrict weights, const float *restrict gradient,
                              const mct_quantization *restrict x_quantization, float *restrict error)
{
    if (!valid(params, x_quantization) || weights == NULL || gradient == NULL || error == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t features = params->features, classes = params->classes;
    const float scale = x_quantization->scale;

    for (int32_t i = 0; i < features; i++) {
        error[i] = 0.0f;
    }
    for (int32_t o = 0; o < classes; o++, weights += features) {
        for (int32_t i = 0; i < features; i++) {
            error[i] = error[i] + weights[i] * gradient[o];
        }
    }
    for (int32_t i = 0; i < features; i++) {
        error[i] = scale * error[i];
    }
    return MCT_OK;
}

mct_status mct_head_update_f32(const mct_head_f32_params *params, const int8_t *restrict x, const mct_quantization *restrict x_quantization,
                               const float *restrict gradient, const float *restrict learning_rate, float *restrict weights,
                               float *restrict bias)
{
    if (!valid(params, x_quantization) || x == NULL || gradient == NULL || learning_rate == NULL || weights == NULL || bias == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_head_f32_params p = *params;
    const mct_quantization features = *x_quantization;

    for (int32_t o = 0; o < p.classes; o++, weights += p.features) {
        const float step = *learning_rate * gradient[o];

        for (int32_t i = 0; i < p.features; i++) {
            weights[i] = weights[i] - step * feature(&features, x[i]);
        }
        bias[o] = bias[o] - step;
    }
    return MCT_OK;
}

mct_status mct_head_accumulate_f32(const mct_head_f32_params *params, const int8_t *restrict x,
                                   const mct_quantization *restrict x_quantization, const float *restrict gradient,
                                   float *restrict weight_gradient, float *restrict bias_gradient)
{
    if (!valid(params, x_quantization) || x == NULL || gradient == NULL || weight_gradient == NULL || bias_gradient == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_head_f32_params p = *params;
    const mct_quantization features = *x_quantization;

    for (int32_t o = 0; o < p.classes; o++, weight_gradient += p.features) {
        for (int32_t i = 0; i < p.features; i++) {
            weight_gradient[i] = weight_gradient[i] + gradient[o] * feature(&features, x[i]);
        }
        bias_gradient[o] = bias_gradient[o] + gradient[o];
    }
    return MCT_OK;
}

/* values -= rate * sums; the sums are empty again. */
static void step(int32_t elements, float rate, float *restrict sums, float *restrict values)
{
    for (int32_t i = 0; i < elements; i++) {
        values[i] = values[i] - rate * sums[i];
        sums[i] = 0.0f;
    }
}

mct_status mct_head_step_f32(const mct_head_f32_params *params, const float *restrict learning_rate, float *restrict weight_gradient,
                             float *restrict bias_gradient, float *restrict weights, float *restrict bias)
{
    if (!has_sizes(params) || learning_rate == NULL || weight_gradient == NULL || bias_gradient == NULL || weights == NULL ||
        bias == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    step(params->features * params->classes, *learning_rate, weight_gradient, weights);
    step(params->classes, *learning_rate, bias_gradient, bias);
    return MCT_OK;
}
