/* Error and gradient kernels, in two error modes: _b16 (block floating point, exact integer sums) and _f32 (float32, sums in the stated
 * order). Errors are d loss / d code; docs/arithmetic.md, "Backward". */
#ifndef MCUTRAIN_BACKWARD_H
#define MCUTRAIN_BACKWARD_H

#include "mcutrain/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t elements;
} mct_elements_params;

/* float32 -> block floating point, 15-bit magnitude, round half to even. NaN or infinity: MCT_ERROR_NOT_FINITE, nothing written. */
MCT_MUST_CHECK mct_status mct_error_quantize_b16(const mct_elements_params *params, const float *error, mct_b16 *out);

/* int32 sums -> int16 mantissas, round half away from zero. In place `out` begins where `sums` begins, or at least 2 * (elements - 1) bytes
 * behind (so that the two may end together); with any other overlap the result is undefined. */
MCT_MUST_CHECK mct_status mct_error_normalize_b16(const mct_elements_params *params, const mct_b32 *sums, mct_b16 *out);

typedef struct {
    int32_t elements, channels; /* channel of element i: i % channels; channels 1 for one scale */
    int32_t scale_exponent;     /* real factor of channel c = scale[c] * 2^scale_exponent (b16: scale int32; f32: 0) */
    int32_t mantissa_bits;      /* b16: |out| <= 2^mantissa_bits - 1, proven at planning time */
} mct_error_scale_params;

/* out = inside ? error * factor[c] : 0. inside may be NULL (all pass); out may be error. */
MCT_MUST_CHECK mct_status mct_error_scale_b16(const mct_error_scale_params *params, const mct_b16 *error, const uint32_t *inside,
                                              const int32_t *scale, mct_b16 *out);
MCT_MUST_CHECK mct_status mct_error_scale_f32(const mct_error_scale_params *params, const float *error, const uint32_t *inside,
                                              const float *scale, float *out);

typedef struct {
    int32_t elements, alphas; /* as in mct_prelu_s8_params */
    int32_t input_zero_point;
    int32_t slope_exponent; /* real slope = slope * 2^slope_exponent (b16: slope int32; f32: 0) */
} mct_prelu_error_params;

/* dX of prelu: out = inside ? error * (x > input_zero_point ? slope[0] : slope[1 + i % alphas]) : 0. slope: 1 + alphas. b16: 15-bit
 * magnitude. inside may be NULL; out may be error. */
MCT_MUST_CHECK mct_status mct_prelu_error_b16(const mct_prelu_error_params *params, const mct_b16 *error, const uint32_t *inside,
                                              const int8_t *x, const int32_t *slope, mct_b16 *out);
MCT_MUST_CHECK mct_status mct_prelu_error_f32(const mct_prelu_error_params *params, const float *error, const uint32_t *inside,
                                              const int8_t *x, const float *slope, float *out);

typedef struct {
    int32_t elements;
    int32_t slope_exponent; /* real slope of an input code = slope[code + 128] * 2^slope_exponent (b16: slope int32; f32: 0) */
} mct_table_error_params;

/* dX of table: out = error * slope[x + 128]. slope: 256 values. b16: 15-bit magnitude. out may be error. */
MCT_MUST_CHECK mct_status mct_table_error_b16(const mct_table_error_params *params, const mct_b16 *error, const int8_t *x,
                                              const int32_t *slope, mct_b16 *out);
MCT_MUST_CHECK mct_status mct_table_error_f32(const mct_table_error_params *params, const float *error, const int8_t *x, const float *slope,
                                              float *out);

/* out = a + b where two branches meet; out may be a or b. */
MCT_MUST_CHECK mct_status mct_error_sum_b16(const mct_elements_params *params, const mct_b16 *a, const mct_b16 *b, mct_b16 *out);
MCT_MUST_CHECK mct_status mct_error_sum_f32(const mct_elements_params *params, const float *a, const float *b, float *out);

typedef struct {
    mct_window window;
    int32_t input_zero_point; /* weight gradient only */
} mct_conv2d_gradient_params;

/* dX: the error of a convolution's input; g is the output's scaled error (out_height*out_width*out_channels).
 * scratch, of both gradients: mct_..._scratch_bytes(params), 4-byte aligned. */
MCT_MUST_CHECK mct_status mct_conv2d_error_b16(const mct_conv2d_gradient_params *params, const mct_b16 *g, const int8_t *weights,
                                               void *scratch, mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_conv2d_error_f32(const mct_conv2d_gradient_params *params, const float *g, const int8_t *weights,
                                               float *error);

/* dW[o][kh][kw][i] = sum over pixels of g * (x - input_zero_point). x has window.in_channels channels, the ones that train; or, where
 * index is not NULL, as many as index lists of at most window.in_channels, and so has the gradient. */
MCT_MUST_CHECK mct_status mct_conv2d_weight_gradient_b16(const mct_conv2d_gradient_params *params, const int8_t *x, const mct_b16 *g,
                                                         const mct_index *index, void *scratch, mct_b32 *gradient);
MCT_MUST_CHECK mct_status mct_conv2d_weight_gradient_f32(const mct_conv2d_gradient_params *params, const int8_t *x, const float *g,
                                                         const mct_index *index, float *gradient);

size_t mct_conv2d_error_b16_scratch_bytes(const mct_conv2d_gradient_params *params);
size_t mct_conv2d_weight_gradient_b16_scratch_bytes(const mct_conv2d_gradient_params *params);

/* The same of a depthwise convolution, whose weights are out_channels*kernel_height*kernel_width. */
MCT_MUST_CHECK mct_status mct_depthwise_conv2d_error_b16(const mct_conv2d_gradient_params *params, const mct_b16 *g, const int8_t *weights,
                                                         void *scratch, mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_depthwise_conv2d_error_f32(const mct_conv2d_gradient_params *params, const float *g, const int8_t *weights,
                                                         float *error);
size_t mct_depthwise_conv2d_error_b16_scratch_bytes(const mct_conv2d_gradient_params *params);

typedef struct {
    mct_window window; /* of the whole layer, whichever channels train */
    int32_t input_zero_point;
    int32_t most_selected; /* output channels that train, at most; index NULL: window.out_channels, all of them */
} mct_depthwise_conv2d_weight_gradient_params;

/* index: the n selected output channels, or NULL. gradient: n*kernel_height*kernel_width. x has only the input channels that these read, in
 * order; g has all output channels. */
MCT_MUST_CHECK mct_status mct_depthwise_conv2d_weight_gradient_b16(const mct_depthwise_conv2d_weight_gradient_params *params,
                                                                   const int8_t *x, const mct_b16 *g, const mct_index *index, void *scratch,
                                                                   mct_b32 *gradient);
MCT_MUST_CHECK mct_status mct_depthwise_conv2d_weight_gradient_f32(const mct_depthwise_conv2d_weight_gradient_params *params,
                                                                   const int8_t *x, const float *g, const mct_index *index,
                                                                   float *gradient);
size_t mct_depthwise_conv2d_weight_gradient_b16_scratch_bytes(const mct_depthwise_conv2d_weight_gradient_params *params);

typedef struct {
    mct_window window; /* of the whole layer, whichever channels train */
    int32_t dilation_height, dilation_width;
    int32_t groups;
    int32_t input_zero_point; /* dW */
    int32_t most_selected;    /* dW: what index may list, at most; index NULL: all of it */
} mct_grouped_conv2d_gradient_params;

/* The same of a grouped convolution (mct_grouped_conv2d_s8). dX: weights are out_channels*kernel_height*kernel_width*(in_channels/groups). */
MCT_MUST_CHECK mct_status mct_grouped_conv2d_error_b16(const mct_grouped_conv2d_gradient_params *params, const mct_b16 *g,
                                                       const int8_t *weights, mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_grouped_conv2d_error_f32(const mct_grouped_conv2d_gradient_params *params, const float *g,
                                                       const int8_t *weights, float *error);

/* dW. index: the n input channels that train, the same of every group; x has these of each group, groups*n channels, and the gradient is
 * out_channels*kernel_height*kernel_width*n. With groups == in_channels index lists output channels, as of a depthwise convolution. */
MCT_MUST_CHECK mct_status mct_grouped_conv2d_weight_gradient_b16(const mct_grouped_conv2d_gradient_params *params, const int8_t *x,
                                                                 const mct_b16 *g, const mct_index *index, mct_b32 *gradient);
MCT_MUST_CHECK mct_status mct_grouped_conv2d_weight_gradient_f32(const mct_grouped_conv2d_gradient_params *params, const int8_t *x,
                                                                 const float *g, const mct_index *index, float *gradient);

typedef struct {
    int32_t pixels, channels;
} mct_bias_gradient_params;

/* db[c] = sum over pixels of g. */
MCT_MUST_CHECK mct_status mct_bias_gradient_b16(const mct_bias_gradient_params *params, const mct_b16 *g, mct_b32 *gradient);
MCT_MUST_CHECK mct_status mct_bias_gradient_f32(const mct_bias_gradient_params *params, const float *g, float *gradient);

typedef struct {
    mct_broadcast broadcast;  /* a: the operand whose error is computed; b: what it was multiplied by */
    int32_t other_zero_point; /* of b */
    int32_t negates;          /* 1: minus the sums */
} mct_broadcast_error_params;

/* Of each element of a, the sum of error * (other - other_zero_point) over the elements of the output that read it. other: b, or NULL
 * for a factor of 1. */
MCT_MUST_CHECK mct_status mct_broadcast_error_b16(const mct_broadcast_error_params *params, const mct_b16 *error, const int8_t *other,
                                                  mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_broadcast_error_f32(const mct_broadcast_error_params *params, const float *error, const int8_t *other,
                                                  float *out);

typedef struct {
    mct_window window;
    int32_t headroom_bits; /* b16: extra right shift that keeps overlapping windows within int32 */
} mct_average_pool_error_params;

MCT_MUST_CHECK mct_status mct_average_pool_error_b16(const mct_average_pool_error_params *params, const mct_b16 *error, mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_average_pool_error_f32(const mct_average_pool_error_params *params, const float *error, float *out);

typedef struct {
    mct_window window;
} mct_max_pool_error_params;

MCT_MUST_CHECK mct_status mct_max_pool_error_b16(const mct_max_pool_error_params *params, const mct_b16 *error, const uint8_t *argmax,
                                                 mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_max_pool_error_f32(const mct_max_pool_error_params *params, const float *error, const uint8_t *argmax,
                                                 float *out);
MCT_MUST_CHECK mct_status mct_max_pool_wide_error_b16(const mct_max_pool_error_params *params, const mct_b16 *error, const int32_t *argmax,
                                                      mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_max_pool_wide_error_f32(const mct_max_pool_error_params *params, const float *error, const int32_t *argmax,
                                                      float *out);

typedef struct {
    int32_t in_height, in_width, channels; /* of the unpadded image */
    int32_t top, bottom, left, right;
} mct_pad_error_params;

/* Crop: the border's error goes nowhere. */
MCT_MUST_CHECK mct_status mct_pad_error_b16(const mct_pad_error_params *params, const mct_b16 *error, mct_b16 *out);
MCT_MUST_CHECK mct_status mct_pad_error_f32(const mct_pad_error_params *params, const float *error, float *out);

/* A box of the errors, zeros elsewhere: of what copy_s8 and copy_into_s8 move. params->value is 0. */
MCT_MUST_CHECK mct_status mct_copy_error_b16(const mct_copy_params *params, const mct_b16 *error, mct_b16 *out);
MCT_MUST_CHECK mct_status mct_copy_error_f32(const mct_copy_params *params, const float *error, float *out);

/* The sum of the errors of each pixel's copies; none: 0. b16: planning proves that the sums stay below 2^31. */
MCT_MUST_CHECK mct_status mct_resize_nearest_error_b16(const mct_resize_nearest_params *params, const mct_b16 *error, const int32_t *rows,
                                                       const int32_t *columns, mct_b32 *sums);
MCT_MUST_CHECK mct_status mct_resize_nearest_error_f32(const mct_resize_nearest_params *params, const float *error, const int32_t *rows,
                                                       const int32_t *columns, float *out);

#ifdef __cplusplus
}
#endif
#endif
