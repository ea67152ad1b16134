/* int8 forward kernels, bit-exact to LiteRT's reference kernels (docs/arithmetic.md, "Forward").
 *
 * Every kernel: parameters first, then inputs, then outputs. `inside` is the clip mask, or NULL where no backward pass needs it. */
#ifndef MCUTRAIN_FORWARD_H
#define MCUTRAIN_FORWARD_H

#include "mcutrain/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    mct_window window;
    int32_t input_zero_point, output_zero_point;
    int32_t clamp_min, clamp_max; /* output codes */
    int32_t single_rounding;      /* 0: requantise (conv2d); 1: requantise_once (fully connected, as LiteRT) */
} mct_conv2d_s8_params;

/* x: in_height*in_width*in_channels. weights: out_channels*kernel_height*kernel_width*in_channels. bias, multiplier, shift: out_channels.
 * y = clamp(requantise(sum (x - input_zero_point) w + bias) + output_zero_point). Fully connected layers are 1x1 images.
 * scratch: mct_conv2d_s8_scratch_bytes(params), 4-byte aligned: at most 6 KB, or three gathered windows where these are longer. */
MCT_MUST_CHECK mct_status mct_conv2d_s8(const mct_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                                        const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside);
size_t mct_conv2d_s8_scratch_bytes(const mct_conv2d_s8_params *params);

typedef struct {
    mct_window window; /* out_channels is a multiple of in_channels */
    int32_t input_zero_point, output_zero_point;
    int32_t clamp_min, clamp_max; /* output codes */
} mct_depthwise_conv2d_s8_params;

/* Output channel o reads input channel o / (out_channels / in_channels) alone. weights: out_channels*kernel_height*kernel_width. The rest
 * is as in conv2d. With as many output as input channels y may be x. scratch: mct_depthwise_conv2d_s8_scratch_bytes, 4-byte aligned. */
MCT_MUST_CHECK mct_status mct_depthwise_conv2d_s8(const mct_depthwise_conv2d_s8_params *params, const int8_t *x, const int8_t *weights,
                                                  const int32_t *bias, const int32_t *multiplier, const int32_t *shift, void *scratch,
                                                  int8_t *y, uint32_t *inside);
size_t mct_depthwise_conv2d_s8_scratch_bytes(const mct_depthwise_conv2d_s8_params *params);

typedef struct {
    mct_window window;
    int32_t dilation_height, dilation_width; /* pixels from one tap to the next */
    int32_t groups;                          /* in_channels and out_channels are multiples of it; in_channels: a depthwise convolution */
    int32_t input_zero_point, output_zero_point;
    int32_t clamp_min, clamp_max; /* output codes */
    int32_t half_even;            /* 0: requantise; 1: requantise_once_even (onnxruntime) */
} mct_grouped_conv2d_s8_params;

/* conv2d whose taps are dilated, whose channels are in groups, or both: an output channel reads the in_channels / groups input channels of
 * its own group. weights: out_channels*kernel_height*kernel_width*(in_channels/groups). Padding and output size may be any: taps outside
 * the image contribute nothing. scratch: mct_grouped_conv2d_s8_scratch_bytes, 4-byte aligned. */
MCT_MUST_CHECK mct_status mct_grouped_conv2d_s8(const mct_grouped_conv2d_s8_params *params, const int8_t *x, const int8_t *weights,
                                                const int32_t *bias, const int32_t *multiplier, const int32_t *shift, void *scratch,
                                                int8_t *y, uint32_t *inside);
size_t mct_grouped_conv2d_s8_scratch_bytes(const mct_grouped_conv2d_s8_params *params);

typedef struct {
    int32_t elements;
    int32_t a_zero_point, b_zero_point, output_zero_point;
    int32_t a_multiplier, a_shift, b_multiplier, b_shift, output_multiplier, output_shift;
    int32_t left_shift; /* 20 */
    int32_t clamp_min, clamp_max;
    /* The same sum for every pair of codes as (offset + floor(a_factor a / 2^8) + floor(b_factor b / 2^8)) / 2^16 rounded down, minus
     * clamp_min, before the clamp. Whoever makes the parameters has tried all pairs; both factors 0: no such form. */
    int32_t a_factor, b_factor, offset;
} mct_add_s8_params;

/* y may be a or b. */
MCT_MUST_CHECK mct_status mct_add_s8(const mct_add_s8_params *params, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *inside);

typedef struct {
    mct_broadcast broadcast;
    int32_t subtracts; /* 1: a - b */
    int32_t a_zero_point, b_zero_point, output_zero_point;
    int32_t a_multiplier, a_shift, b_multiplier, b_shift, output_multiplier, output_shift;
    int32_t left_shift; /* 20 */
    int32_t clamp_min, clamp_max;
} mct_add_broadcast_s8_params;

/* add_s8 of operands that are repeated, or their difference. */
MCT_MUST_CHECK mct_status mct_add_broadcast_s8(const mct_add_broadcast_s8_params *params, const int8_t *a, const int8_t *b, int8_t *y,
                                               uint32_t *inside);

typedef struct {
    mct_broadcast broadcast;
    int32_t a_zero_point, b_zero_point, output_zero_point;
    int32_t multiplier, shift; /* of s_a s_b / s_y */
    int32_t clamp_min, clamp_max;
    int32_t half_even; /* 0: requantise; 1: requantise_once_even (onnxruntime) */
} mct_multiply_s8_params;

/* y = clamp(requantise((a - a_zero_point) * (b - b_zero_point)) + output_zero_point). */
MCT_MUST_CHECK mct_status mct_multiply_s8(const mct_multiply_s8_params *params, const int8_t *a, const int8_t *b, int8_t *y,
                                          uint32_t *inside);

typedef struct {
    mct_window window; /* out_channels == in_channels */
} mct_pool_s8_params;

/* Mean over the part of the window inside the image, rounded half away from zero. */
MCT_MUST_CHECK mct_status mct_average_pool_s8(const mct_pool_s8_params *params, const int8_t *x, int8_t *y);

typedef struct {
    mct_window window; /* out_channels == in_channels */
    int32_t input_zero_point, output_zero_point;
    int32_t clamp_min, clamp_max;
    int32_t counts; /* how many different numbers of pixels the windows have inside the image */
} mct_average_pool_rescale_s8_params;

/* The mean at a scale of its own, rounded once: y = clamp(requantise_once(sum of x - input_zero_point) + output_zero_point).
 * count, multiplier, shift: of each number of pixels inside, that number and s_x / (s_y * number). */
MCT_MUST_CHECK mct_status mct_average_pool_rescale_s8(const mct_average_pool_rescale_s8_params *params, const int8_t *x,
                                                      const int32_t *count, const int32_t *multiplier, const int32_t *shift, int8_t *y,
                                                      uint32_t *inside);

typedef struct {
    int32_t pixels, channels; /* pixels * run < 2^23 */
    int32_t input_zero_point, output_zero_point;
    int32_t multiplier, shift; /* of s_x / (s_y * pixels * run) */
    int32_t clamp_min, clamp_max;
    int32_t outer, run; /* 1: the mean of an image over its pixels */
} mct_mean_s8_params;

/* x is (outer, pixels, channels, run), y (outer, channels):
 * y[o][c] = clamp(requantise(sum over pixels and run of x - input_zero_point) + output_zero_point). */
MCT_MUST_CHECK mct_status mct_mean_s8(const mct_mean_s8_params *params, const int8_t *x, int8_t *y, uint32_t *inside);

/* argmax: one byte an output element, the first maximum's index kernel_row * kernel_width + kernel_column in the window; or NULL.
 * With argmax, kernel_height * kernel_width <= 256. */
MCT_MUST_CHECK mct_status mct_max_pool_s8(const mct_pool_s8_params *params, const int8_t *x, int8_t *y, uint8_t *argmax);

/* The same with a word an output element, for windows of any size. */
MCT_MUST_CHECK mct_status mct_max_pool_wide_s8(const mct_pool_s8_params *params, const int8_t *x, int8_t *y, int32_t *argmax);

typedef struct {
    int32_t in_height, in_width, channels;
    int32_t top, bottom, left, right;
    int32_t value; /* code of the border */
} mct_pad_s8_params;

MCT_MUST_CHECK mct_status mct_pad_s8(const mct_pad_s8_params *params, const int8_t *x, int8_t *y);

/* A box of x in y, params->value in the rest of y; x and y do not overlap. copy_into leaves the rest of y as it is. */
MCT_MUST_CHECK mct_status mct_copy_s8(const mct_copy_params *params, const int8_t *x, int8_t *y);
MCT_MUST_CHECK mct_status mct_copy_into_s8(const mct_copy_params *params, const int8_t *x, int8_t *y);

/* y[i][j] = x[rows[i]][columns[j]], all channels of a pixel. */
MCT_MUST_CHECK mct_status mct_resize_nearest_s8(const mct_resize_nearest_params *params, const int8_t *x, const int32_t *rows,
                                                const int32_t *columns, int8_t *y);

typedef struct {
    int32_t elements, alphas; /* alpha of element i: i % alphas; alphas divides elements */
    int32_t input_zero_point, output_zero_point;
    int32_t multiplier, shift;             /* of s_x / s_y */
    int32_t alpha_multiplier, alpha_shift; /* of s_x s_alpha / s_y */
} mct_prelu_s8_params;

/* y = clamp(requantise(x - input_zero_point) + output_zero_point), below 0 requantise((x - input_zero_point) alpha). |alpha| < 2^15.
 * y may be x. */
MCT_MUST_CHECK mct_status mct_prelu_s8(const mct_prelu_s8_params *params, const int8_t *x, const int32_t *alpha, int8_t *y,
                                       uint32_t *inside);

typedef struct {
    int32_t elements;
    int32_t input_zero_point, output_zero_point;
    int32_t multiplier, shift;
    int32_t clamp_min, clamp_max;
} mct_requantize_s8_params;

/* y = clamp(requantise(x - input_zero_point) + output_zero_point): a change of scale, and stand-alone relu, relu6, clip. May run in place. */
MCT_MUST_CHECK mct_status mct_requantize_s8(const mct_requantize_s8_params *params, const int8_t *x, int8_t *y, uint32_t *inside);

typedef struct {
    int32_t rows, depth;                                  /* depth <= 4095 */
    int32_t input_multiplier, input_left_shift, diff_min; /* of beta * input_scale in Q5.26 */
    int32_t output_multiplier, output_shift;              /* of 1 / output_scale */
    int32_t output_zero_point;
} mct_softmax_s8_params;

/* Softmax of every row. A code is rounded once, half up. */
MCT_MUST_CHECK mct_status mct_softmax_s8(const mct_softmax_s8_params *params, const int8_t *x, int8_t *y);

typedef struct {
    int32_t rows, depth;                                  /* depth <= 4095 */
    int32_t input_multiplier, input_left_shift, diff_min; /* of input_scale in Q5.26 */
    int32_t reverse_multiplier, reverse_shift;            /* of 1 / (input_scale * 2^26) */
    int32_t output_multiplier, output_shift;              /* of 1 / (output_scale * 2^26) */
    int32_t output_zero_point;
} mct_log_softmax_s8_params;

/* The logarithm of softmax of every row, rounded half away; -128 below diff_min, which may mean -15.5: for output scales of at most 1/16. */
MCT_MUST_CHECK mct_status mct_log_softmax_s8(const mct_log_softmax_s8_params *params, const int8_t *x, int8_t *y);

typedef struct {
    int32_t elements;
} mct_table_s8_params;

/* y = table[x + 128]: any function of one number. table: 256 codes. May run in place. */
MCT_MUST_CHECK mct_status mct_table_s8(const mct_table_s8_params *params, const int8_t *x, const int8_t *table, int8_t *y);

typedef struct {
    int32_t pixels, in_channels;
    int32_t most_selected; /* elements that index may have */
} mct_gather_channels_s8_params;

/* y[p][j] = x[p][index[j]]: what the weight gradient of a sub-tensor update must keep of its input. y: pixels*n for n listed channels. */
MCT_MUST_CHECK mct_status mct_gather_channels_s8(const mct_gather_channels_s8_params *params, const int8_t *x, const mct_index *index,
                                                 int8_t *y);

#ifdef __cplusplus
}
#endif
#endif
