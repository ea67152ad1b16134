/* The float32 head and the loss (docs/arithmetic.md, "Head and loss"). Sums run in the stated order, without contraction. */
#ifndef MCUTRAIN_LOSS_H
#define MCUTRAIN_LOSS_H

#include "mcutrain/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t features, classes;
} mct_head_f32_params;

/* logits[o] = bias[o] + sum over i ascending of weights[o][i] * f[i], f[i] = (float)(x[i] - zero_point) * scale of x_quantization, which
 * may change from call to call. prediction: the largest logit's index, the lowest on a tie. */
MCT_MUST_CHECK mct_status mct_head_f32(const mct_head_f32_params *params, const int8_t *x, const mct_quantization *x_quantization,
                                       const float *weights, const float *bias, float *logits, int32_t *prediction);

typedef struct {
    int32_t classes;
} mct_softmax_cross_entropy_f32_params;

/* gradient[o] = softmax(logits)[o] - (o == label); loss = -log softmax(logits)[label]. May run in place (gradient == logits). */
MCT_MUST_CHECK mct_status mct_softmax_cross_entropy_f32(const mct_softmax_cross_entropy_f32_params *params, const float *logits,
                                                        const int32_t *label, float *gradient, float *loss);

typedef struct {
    int32_t outputs;
} mct_mean_squared_error_f32_params;

/* loss = (sum over o ascending of (outputs[o] - target[o])^2, from 0) / n; gradient[o] = (2 / n) * (outputs[o] - target[o]), n = params->outputs.
 * MCT_ERROR_NOT_FINITE where that sum is not finite. May run in place (gradient == outputs). */
MCT_MUST_CHECK mct_status mct_mean_squared_error_f32(const mct_mean_squared_error_f32_params *params, const float *outputs,
                                                     const float *target, float *gradient, float *loss);

/* error[i] = scale of x_quantization * sum over o ascending of weights[o][i] * gradient[o]: d loss / d code of feature i. */
MCT_MUST_CHECK mct_status mct_head_error_f32(const mct_head_f32_params *params, const float *weights, const float *gradient,
                                             const mct_quantization *x_quantization, float *error);

/* weights[o][i] -= (lr * gradient[o]) * f[i]; bias[o] -= lr * gradient[o]. */
MCT_MUST_CHECK mct_status mct_head_update_f32(const mct_head_f32_params *params, const int8_t *x, const mct_quantization *x_quantization,
                                              const float *gradient, const float *learning_rate, float *weights, float *bias);

/* The same for a minibatch (docs/arithmetic.md, "Minibatches"). Each sample: weight_gradient[o][i] += gradient[o] * f[i] and
 * bias_gradient[o] += gradient[o], product and sum rounded separately. */
MCT_MUST_CHECK mct_status mct_head_accumulate_f32(const mct_head_f32_params *params, const int8_t *x,
                                                  const mct_quantization *x_quantization, const float *gradient, float *weight_gradient,
                                                  float *bias_gradient);
/* Once a minibatch: weights[o][i] -= lr * weight_gradient[o][i]; bias[o] -= lr * bias_gradient[o]; then both sums are +0. */
MCT_MUST_CHECK mct_status mct_head_step_f32(const mct_head_f32_params *params, const float *learning_rate, float *weight_gradient,
                                            float *bias_gradient, float *weights, float *bias);

#ifdef __cplusplus
}
#endif
#endif
