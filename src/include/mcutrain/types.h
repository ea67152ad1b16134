/* Types that the kernels share. Shapes have no batch dimension; images are height x width x channels, channels innermost.
 *
 * Storage of the training types (docs/arithmetic.md):
 *   clip mask   one bit an element, bit (i % 32) of word (i / 32), 1 where the error passes. mct_mask_words(n) words.
 *   mct_b16     block floating point: value = mantissa * 2^exponent, |mantissa| <= 32767.
 *   mct_b32     the same with int32 mantissas: sums before they are normalised.
 *   mct_b64     the same with int64 mantissas: the gradients of a minibatch, summed up.
 * A mct_b16 and a mct_b32 begin or end together in memory when one is normalised into the other. */
#ifndef MCUTRAIN_TYPES_H
#define MCUTRAIN_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "mcutrain/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* members without a size are C's */
#endif

typedef struct {
    int32_t exponent;
    int16_t mantissa[];
} mct_b16;

typedef struct {
    int32_t exponent;
    int32_t mantissa[];
} mct_b32;

typedef struct {
    int32_t exponent;
    int64_t mantissa[]; /* 8 bytes behind the start, on every machine */
} mct_b64;

/* A quantisation that is known at run time only: real = scale * (code - zero_point). */
typedef struct {
    float scale;
    int32_t zero_point;
} mct_quantization;

/* A list of channels that is known at run time only: the first `count` elements of index, ascending. A kernel that takes one computes what the
 * list holds, and costs no more than that; its parameters say how much a list may hold, which is what memory is planned for. What it reads
 * and writes of listed channels is packed, as if there were no others: what lies behind is neither read nor written. A list may be empty.
 * One that holds more, or does not ascend within the layer's channels: MCT_ERROR_ARGUMENT, nothing written. */
typedef struct {
    int32_t count;
    int32_t index[];
} mct_index;

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* A window that slides over an image: convolutions and pools. Pads are rows and columns before the image; what lies behind it follows
 * from the output size. */
typedef struct {
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t pad_top, pad_left;
} mct_window;

/* Elements of one tensor that go to places of another: element (i_0, ..., i_4) of a box of these sizes lies at start + sum of i_d * stride_d,
 * in elements, in the source and in the target. A stride may be negative, one of the source may be 0; unused sizes are 1. The places of the
 * target are all different. value: of every other element of the target, where a kernel writes those. */
typedef struct {
    int32_t size_0, size_1, size_2, size_3, size_4;
    int32_t source_start, source_stride_0, source_stride_1, source_stride_2, source_stride_3, source_stride_4;
    int32_t target_start, target_stride_0, target_stride_1, target_stride_2, target_stride_3, target_stride_4;
    int32_t source_elements, target_elements;
    int32_t value;
} mct_copy_params;

/* An image whose rows and columns are some of another's. The tables rows (out_height) and columns (out_width) say which; they need not
 * ascend. One that names what is not there: MCT_ERROR_ARGUMENT, nothing written. */
typedef struct {
    int32_t in_height, in_width, channels;
    int32_t out_height, out_width;
} mct_resize_nearest_params;

/* Two operands that are repeated along axes of their output, the last axis innermost: its sizes, and how many elements apart its neighbours
 * along each axis lie in a and in b (0: repeated). */
typedef struct {
    int32_t size_0, size_1, size_2, size_3;
    int32_t a_step_0, a_step_1, a_step_2, a_step_3;
    int32_t b_step_0, b_step_1, b_step_2, b_step_3;
} mct_broadcast;

static inline size_t mct_mask_words(size_t elements)
{
    return (elements + 31u) / 32u;
}

#ifdef __cplusplus
}
#endif
#endif
