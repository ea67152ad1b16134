/* Updates of the trainable state (docs/arithmetic.md, "Update"). All of them: step = gradient * (learning_rate * factor[c]), rescaled as a
 * whole so that the largest step is at most step_cap, rounded as the name says, saturated, never wrapped.
 * A step that is not finite returns MCT_ERROR_NOT_FINITE and changes nothing. */
#ifndef MCUTRAIN_UPDATE_H
#define MCUTRAIN_UPDATE_H

#include "mcutrain/backward.h" /* mct_elements_params */
#include "mcutrain/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t out_channels, taps, in_channels; /* of the weights; taps: kernel_height * kernel_width. factor: out_channels */
    int32_t most_rows;                       /* output channels that train, at most; rows NULL: out_channels, all of them */
    int32_t most_selected;                   /* input channels that train, at most; index NULL: in_channels, all of them */
    int32_t weight_min;                      /* lowest code a weight may take: -127, or -128 where the model has it */
    float step_cap;                          /* in weight LSB; 0: no cap */
} mct_update_weights_params;

/* What trains are the n input channels that index lists, of the m output channels that rows lists; NULL lists all. gradient: m*taps*n.
 * factor[o] is of output channel o, whether it trains or not.
 * master16: fraction holds 8 more bits of each trained weight, value = weight + fraction/256, in the gradient's order (m*taps*n). So it
 * belongs to the lists: who changes one sets the fractions to 0, which rounds the weights that have trained. */
MCT_MUST_CHECK mct_status mct_update_weights_master16_b16(const mct_update_weights_params *params, const mct_b32 *gradient,
                                                          const float *factor, const mct_index *index, const mct_index *rows,
                                                          const float *learning_rate, int8_t *weights, int8_t *fraction);
MCT_MUST_CHECK mct_status mct_update_weights_master16_f32(const mct_update_weights_params *params, const float *gradient,
                                                          const float *factor, const mct_index *index, const mct_index *rows,
                                                          const float *learning_rate, int8_t *weights, int8_t *fraction);
/* stochastic8: one xorshift32 draw a trained weight, in storage order of the gradient. */
MCT_MUST_CHECK mct_status mct_update_weights_stochastic8_b16(const mct_update_weights_params *params, const mct_b32 *gradient,
                                                             const float *factor, const mct_index *index, const mct_index *rows,
                                                             const float *learning_rate, int8_t *weights, uint32_t *random);
MCT_MUST_CHECK mct_status mct_update_weights_stochastic8_f32(const mct_update_weights_params *params, const float *gradient,
                                                             const float *factor, const mct_index *index, const mct_index *rows,
                                                             const float *learning_rate, int8_t *weights, uint32_t *random);
/* nearest8: for comparison only; steps under half a code vanish and training stalls. */
MCT_MUST_CHECK mct_status mct_update_weights_nearest8_b16(const mct_update_weights_params *params, const mct_b32 *gradient,
                                                          const float *factor, const mct_index *index, const mct_index *rows,
                                                          const float *learning_rate, int8_t *weights);
MCT_MUST_CHECK mct_status mct_update_weights_nearest8_f32(const mct_update_weights_params *params, const float *gradient,
                                                          const float *factor, const mct_index *index, const mct_index *rows,
                                                          const float *learning_rate, int8_t *weights);

typedef struct {
    int32_t channels;
    int32_t bias_limit; /* |bias| stays within it, so that the forward sum stays within int32: 2^31 - 1 - 255 * 128 * terms */
    float step_cap;     /* in output LSB; 0: no cap */
} mct_update_bias_params;

/* output_scale[c]: output LSB a bias LSB, s_x s_w[c] / s_y. */
MCT_MUST_CHECK mct_status mct_update_bias_b16(const mct_update_bias_params *params, const mct_b32 *gradient, const float *factor,
                                              const float *output_scale, const float *learning_rate, int32_t *bias);
MCT_MUST_CHECK mct_status mct_update_bias_f32(const mct_update_bias_params *params, const float *gradient, const float *factor,
                                              const float *output_scale, const float *learning_rate, int32_t *bias);

/* Minibatches (docs/arithmetic.md, "Minibatches"): every sample adds its gradient of a tensor to an accumulator of that tensor; once a
 * minibatch the sums are drained into a gradient for the updates above, at the learning rate divided by the number of samples.
 * An accumulator is empty where all its bytes are zero, as after a reset and behind a drain. */

/* accumulator += gradient: exact while the exponents of a minibatch's samples are within the window that planning proves, rounded half away
 * from zero at 62 bits beyond it. A gradient of zeros changes nothing, whatever its exponent. |exponent| < 2^30 of all others. */
MCT_MUST_CHECK mct_status mct_gradient_accumulate_b16(const mct_elements_params *params, const mct_b32 *gradient, mct_b64 *accumulator);
/* One float32 addition an element. NaN and infinity stay in the sum: the update refuses them (MCT_ERROR_NOT_FINITE). */
MCT_MUST_CHECK mct_status mct_gradient_accumulate_f32(const mct_elements_params *params, const float *gradient, float *accumulator);

/* gradient = accumulator, shifted right just so far that all mantissas fit 31 bits and a sign, rounded half away from zero; then the
 * accumulator is empty. */
MCT_MUST_CHECK mct_status mct_gradient_drain_b16(const mct_elements_params *params, mct_b32 *gradient, mct_b64 *accumulator);
/* gradient = accumulator, then the accumulator is +0. */
MCT_MUST_CHECK mct_status mct_gradient_drain_f32(const mct_elements_params *params, float *gradient, float *accumulator);

typedef struct {
    int32_t batch; /* the most samples of an update */
} mct_mean_rate_params;

/* rate = learning_rate / (float)samples, in [1, batch]: a step of the mean gradient is this times the sum. */
MCT_MUST_CHECK mct_status mct_mean_rate_f32(const mct_mean_rate_params *params, const float *learning_rate, const int32_t *samples,
                                            float *rate);

#ifdef __cplusplus
}
#endif
#endif
