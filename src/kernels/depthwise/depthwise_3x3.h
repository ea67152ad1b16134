/* A channel of a depthwise 3x3 convolution of stride 1 or 2 with small sums (depthwise_3x3.c): which layers have it, and its task. */
#ifndef MCT_KERNELS_DEPTHWISE_3X3_H
#define MCT_KERNELS_DEPTHWISE_3X3_H

#include <stdbool.h>
#include <stddef.h>

#include "mcutrain/forward.h"
#include "kernels/common/dsp.h"

#if MCT_DSP && defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
#define MCT_HAS_DEPTHWISE_3X3 1

/* Offsets of members are known to assembly. Sums are twice what they stand for, and small (requantize.h). */
typedef struct {
    int32_t filter[3][2];    /* of each row: taps 0 and 1, taps 1 and 2 */
    int32_t bias;            /* 24 */
    int32_t plane_row_bytes; /* 28 */
    int32_t multiplier;      /* 32 */
    int32_t power;           /* 36: 2^(32 + shift) */
    int32_t zero_point;      /* 40: less `lowest` where codes are clamped */
    int32_t step_bytes;      /* 44: of y, from pixel to pixel */
    uintptr_t last;          /* 48: where the last four sums of the first row begin in the plane */
    int32_t next_row_bytes;  /* 52: from behind a row's last four to the first of the next row */
    int32_t row_bytes;       /* 56: from a row's window to the next row's */
    int32_t rows;            /* 60: that are left, above 0 */
    int32_t widest;          /* 64: clamp_max - clamp_min, as an unsigned limit of codes less clamp_min */
    int32_t mask_step_bytes; /* 68: from pixel to pixel; the channel has the same bit in each of these bytes. 0: no mask */
    int32_t mask_bit;        /* 72 */
    int32_t up, down;        /* 76, 80: added with saturation at 255, then subtracted, they clamp what lies in [0, 255] already */
} mct_depthwise_3x3_task;

/* Any stride between rows. y and the mask's byte are those of the first pixel. */
typedef void mct_depthwise_3x3_channel(const int16_t *x, mct_depthwise_3x3_task *task, int8_t *y, uint8_t *mask);

mct_depthwise_3x3_channel mct_depthwise_3x3_full_1, mct_depthwise_3x3_full_2, mct_depthwise_3x3_clamped_1, mct_depthwise_3x3_clamped_2;

/* A layer: the task as far as its channels share it, and what runs it; run is NULL where it has no channels of this kind. */
typedef struct {
    mct_depthwise_3x3_task task;
    mct_depthwise_3x3_channel *run;
    const int16_t *plane;
    uintptr_t last;
    int32_t rows;
    int8_t *y;
    uint8_t *mask;
} mct_depthwise_3x3;

/* Rows of at least four sums; where there is a mask, a channel has the same bit in every pixel's bytes. */
static inline bool mct_depthwise_3x3_fits(const mct_window *w, bool has_mask)
{
    return w->kernel_height == 3 && w->kernel_width == 3 && w->stride_width <= 2 && w->out_width >= 4 &&
           (!has_mask || w->out_channels % 8 == 0);
}

static inline mct_depthwise_3x3 mct_depthwise_3x3_make(const mct_depthwise_conv2d_s8_params *params, const int16_t *plane,
                                                       int32_t plane_width, int8_t *y, uint32_t *inside)
{
    const mct_window *const w = &params->window;
    const int32_t row_bytes = w->stride_height * plane_width * 2, pixel_bytes = w->stride_width * 2;
    const int32_t last_bytes = (w->out_width - 4) * pixel_bytes, widest = params->clamp_max - params->clamp_min;
    const bool is_full = widest == UINT8_MAX && inside == NULL;
    mct_depthwise_3x3 layer = {
        .task =
            {
                .plane_row_bytes = plane_width * 2,
                .zero_point = params->output_zero_point - (is_full ? 0 : params->clamp_min),
                .step_bytes = w->out_channels,
                .next_row_bytes = row_bytes - last_bytes - 4 * pixel_bytes,
                .row_bytes = row_bytes,
                .widest = widest,
                .mask_step_bytes = inside == NULL ? 0 : w->out_channels / 8,
                .up = UINT8_MAX - widest,
                .down = UINT8_MAX - widest - params->clamp_min,
            },
        .plane = plane,
        .last = (uintptr_t)plane + (uintptr_t)last_bytes,
        .rows = w->out_height,
        .y = y,
        .mask = (uint8_t *)inside,
    };

    if (mct_depthwise_3x3_fits(w, inside != NULL)) {
        if (w->stride_width == 1) {
            layer.run = is_full ? mct_depthwise_3x3_full_1 : mct_depthwise_3x3_clamped_1;
        } else {
            layer.run = is_full ? mct_depthwise_3x3_full_2 : mct_depthwise_3x3_clamped_2;
        }
    }
    return layer;
}

/* One output channel, whose sums are small: its nine weights and what turns its sums into codes. */
static inline void mct_depthwise_3x3_run(mct_depthwise_3x3 *layer, int32_t channel, const int8_t *weights, int32_t zero_point, int32_t bias,
                                         int32_t multiplier, int32_t shift)
{
    mct_depthwise_3x3_task *const task = &layer->task;
    int32_t sum = 0;

    for (int32_t row = 0; row < 3; row++, weights += 3) {
        const int32_t w0 = weights[0], w1 = weights[1], w2 = weights[2];

        sum += w0 + w1 + w2;
        task->filter[row][0] = mct_pkhbt(2 * w0, 2 * w1);
        task->filter[row][1] = mct_pkhbt(2 * w1, 2 * w2);
    }
    task->bias = 2 * (bias - zero_point * sum);
    task->multiplier = multiplier;
    task->power = (int32_t)((uint32_t)1 << (32 + shift));
    task->last = layer->last;
    task->rows = layer->rows;
    task->mask_bit = 1 << (channel % 8);
    layer->run(layer->plane, task, layer->y + channel, layer->mask == NULL ? NULL : layer->mask + channel / 8);
}

#else
#define MCT_HAS_DEPTHWISE_3X3 0
#endif
#endif
