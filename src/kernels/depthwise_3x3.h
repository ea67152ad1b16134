/* A channel of a depthwise 3x3 convolution of stride 1 or 2 (depthwise_conv2d_s8), in assembly: four neighbouring sums and what they need
 * next take every register, and become codes without leaving theirs. Compilers spill half of them. */
#ifndef MCT_KERNELS_DEPTHWISE_3X3_H
#define MCT_KERNELS_DEPTHWISE_3X3_H

#include <stdbool.h>
#include <stddef.h>

#include "dsp.h"
#include "mcutrain/forward.h"

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

/* r0: the window in the plane, r1: task, r2: y, r3: mask. r4 to r7: sums. r8 to r10: words of the plane's row, r11 and r12: the filter's.
 * Loads stand in groups, which the M4 likes, behind the last use of their registers, so that the M7 issues them beside multiplications. */
/* clang-format off */
#define MCT_3X3_BEGIN                                                                                                                      \
    "ldr lr, [r1, #28]\n\t"                                                                                                                \
    "ldr r7, [r1, #24]\n\t"                                                                                                                \
    "ldr r8, [r0]\n\t"                                                                                                                     \
    "ldr r11, [r1]\n\t"                                                                                                                    \
    "ldr r9, [r0, #4]\n\t"                                                                                                                 \
    "ldr r12, [r1, #4]\n\t"                                                                                                                \
    "ldr r10, [r0, #8]\n\t"

/* The row's sums are the addends plus its products; next: what is loaded for the next row once r8, r9 and r11, then r10 and r12 are free. */
#define MCT_3X3_ROW_STRIDE_1(add4, add5, add6, next_row, next_8_9_11, next_10_12)                                                          \
    "smlad r4, r8, r11, " add4 "\n\t"                                                                                                      \
    next_row                                                                                                                               \
    "smlatb r5, r8, r11, " add5 "\n\t"                                                                                                     \
    "smlabt r4, r9, r12, r4\n\t"                                                                                                           \
    "smlad r6, r9, r11, " add6 "\n\t"                                                                                                      \
    "smlad r5, r9, r12, r5\n\t"                                                                                                            \
    "smlatb r7, r9, r11, r7\n\t"                                                                                                           \
    next_8_9_11                                                                                                                            \
    "smlabt r6, r10, r12, r6\n\t"                                                                                                          \
    "smlad r7, r10, r12, r7\n\t"                                                                                                           \
    next_10_12

#define MCT_3X3_ROW_STRIDE_2(add4, add5, add6, next_row, next_8_9_11, next_10_12)                                                          \
    "smlad r4, r8, r11, " add4 "\n\t"                                                                                                      \
    "smlad r5, r9, r11, " add5 "\n\t"                                                                                                      \
    "smlabt r4, r9, r12, r4\n\t"                                                                                                           \
    "ldr r8, [r0, #12]\n\t"                                                                                                                \
    "ldr r9, [r0, #16]\n\t"                                                                                                                \
    next_row                                                                                                                               \
    "smlad r6, r10, r11, " add6 "\n\t"                                                                                                     \
    "smlabt r5, r10, r12, r5\n\t"                                                                                                          \
    "smlad r7, r8, r11, r7\n\t"                                                                                                            \
    "smlabt r6, r8, r12, r6\n\t"                                                                                                           \
    "smlabt r7, r9, r12, r7\n\t"                                                                                                           \
    next_8_9_11                                                                                                                            \
    next_10_12

#define MCT_3X3_SUMS(ROW)                                                                                                                  \
    MCT_3X3_BEGIN                                                                                                                          \
    ROW("r7", "r7", "r7", "add r0, lr\n\t", "ldr r8, [r0]\n\tldr r11, [r1, #8]\n\tldr r9, [r0, #4]\n\t",                                   \
        "ldr r10, [r0, #8]\n\tldr r12, [r1, #12]\n\t")                                                                                     \
    ROW("r4", "r5", "r6", "add r0, lr\n\t", "ldr r8, [r0]\n\tldr r11, [r1, #16]\n\tldr r9, [r0, #4]\n\t",                                  \
        "ldr r10, [r0, #8]\n\tldr r12, [r1, #20]\n\t")                                                                                     \
    ROW("r4", "r5", "r6", "sub r0, r0, lr, lsl #1\n\t", "ldr r8, [r1, #32]\n\tldr r9, [r1, #36]\n\tldr r11, [r1, #44]\n\t",                \
        "ldr r10, [r1, #40]\n\t")

/* r4 to r7 become what is clamped next. */
#define MCT_3X3_RESCALE                                                                                                                    \
    "smmulr r4, r4, r8\n\t"                                                                                                                \
    "smmulr r5, r5, r8\n\t"                                                                                                                \
    "smmulr r6, r6, r8\n\t"                                                                                                                \
    "smmulr r7, r7, r8\n\t"                                                                                                                \
    "add r4, r4, r4, asr #31\n\t"                                                                                                          \
    "add r5, r5, r5, asr #31\n\t"                                                                                                          \
    "smmlar r4, r4, r9, r10\n\t"                                                                                                           \
    "add r6, r6, r6, asr #31\n\t"                                                                                                          \
    "smmlar r5, r5, r9, r10\n\t"                                                                                                           \
    "add r7, r7, r7, asr #31\n\t"                                                                                                          \
    "smmlar r6, r6, r9, r10\n\t"                                                                                                           \
    "add r8, r2, r11, lsl #1\n\t"                                                                                                          \
    "smmlar r7, r7, r9, r10\n\t"

#define MCT_3X3_STORE                                                                                                                      \
    "strb r4, [r2]\n\t"                                                                                                                    \
    "strb r5, [r2, r11]\n\t"                                                                                                               \
    "add r2, r2, r11, lsl #2\n\t"                                                                                                          \
    "strb r6, [r8]\n\t"                                                                                                                    \
    "strb r7, [r8, r11]\n\t"

#define MCT_3X3_FINISH_FULL                                                                                                                \
    MCT_3X3_RESCALE                                                                                                                        \
    "ssat r4, #8, r4\n\t"                                                                                                                  \
    "ssat r5, #8, r5\n\t"                                                                                                                  \
    "ssat r6, #8, r6\n\t"                                                                                                                  \
    "ssat r7, #8, r7\n\t"                                                                                                                  \
    MCT_3X3_STORE

/* Two pixels of the mask: bits of codes outside of the clamp are cleared. */
#define MCT_3X3_MASK(first, second)                                                                                                        \
    "ldrb r12, [r3]\n\t"                                                                                                                   \
    "ldrb lr, [r3, r9]\n\t"                                                                                                                \
    "cmp " first ", r11\n\t"                                                                                                               \
    "it hi\n\t"                                                                                                                            \
    "bichi r12, r12, r10\n\t"                                                                                                              \
    "cmp " second ", r11\n\t"                                                                                                              \
    "it hi\n\t"                                                                                                                            \
    "bichi lr, lr, r10\n\t"                                                                                                                \
    "strb r12, [r3]\n\t"                                                                                                                   \
    "strb lr, [r3, r9]\n\t"                                                                                                                \
    "add r3, r3, r9, lsl #1\n\t"

#define MCT_3X3_CLAMP(sum)                                                                                                                 \
    "usat " sum ", #8, " sum "\n\t"                                                                                                        \
    "uqadd8 " sum ", " sum ", r9\n\t"                                                                                                      \
    "sub " sum ", " sum ", r10\n\t"

#define MCT_3X3_FINISH_CLAMPED                                                                                                             \
        MCT_3X3_RESCALE                                                                                                                    \
        "ldr r9, [r1, #68]\n\t"                                                                                                            \
        "ldr r10, [r1, #72]\n\t"                                                                                                           \
        "ldr r11, [r1, #64]\n\t"                                                                                                           \
        "cmp r9, #0\n\t"                                                                                                                   \
        "beq 2f\n\t"                                                                                                                       \
        MCT_3X3_MASK("r4", "r5")                                                                                                           \
        MCT_3X3_MASK("r6", "r7")                                                                                                           \
    "2:\n\t"                                                                                                                               \
        "ldr r9, [r1, #76]\n\t"                                                                                                            \
        "ldr r10, [r1, #80]\n\t"                                                                                                           \
        "ldr r11, [r1, #44]\n\t"                                                                                                           \
        MCT_3X3_CLAMP("r4")                                                                                                                \
        MCT_3X3_CLAMP("r5")                                                                                                                \
        MCT_3X3_CLAMP("r6")                                                                                                                \
        MCT_3X3_CLAMP("r7")                                                                                                                \
        MCT_3X3_STORE

/* All rows, four sums at a time. A row that is no whole number of fours begins its last four among those before: they are made twice.
 * four_bytes: what four sums move the window by; shift: 2^shift bytes for one. */
#define MCT_3X3_CHANNEL(ROW, FINISH, four_bytes, shift)                                                                                    \
        "push {r4-r11, lr}\n"                                                                                                              \
    "0:\n\t"                                                                                                                               \
        MCT_3X3_SUMS(ROW)                                                                                                                  \
        FINISH                                                                                                                             \
        "ldr r8, [r1, #48]\n\t"                                                                                                            \
        "add r0, #" four_bytes "\n\t"                                                                                                      \
        "cmp r0, r8\n\t"                                                                                                                   \
        "bls 0b\n\t"                                                                                                                       \
        "sub r9, r0, r8\n\t"                                                                                                               \
        "cmp r9, #" four_bytes "\n\t"                                                                                                      \
        "beq 1f\n\t"                                                                                                                       \
        "lsr r9, r9, #" shift "\n\t"                                                                                                       \
        "ldr r10, [r1, #44]\n\t"                                                                                                           \
        "ldr r11, [r1, #68]\n\t"                                                                                                           \
        "mov r0, r8\n\t"                                                                                                                   \
        "mls r2, r9, r10, r2\n\t"                                                                                                          \
        "mls r3, r9, r11, r3\n\t"                                                                                                          \
        "b 0b\n"                                                                                                                           \
    "1:\n\t"                                                                                                                               \
        "ldr r9, [r1, #52]\n\t"                                                                                                            \
        "ldr r10, [r1, #56]\n\t"                                                                                                           \
        "ldr r11, [r1, #60]\n\t"                                                                                                           \
        "add r0, r9\n\t"                                                                                                                   \
        "add r8, r10\n\t"                                                                                                                  \
        "subs r11, #1\n\t"                                                                                                                 \
        "str r8, [r1, #48]\n\t"                                                                                                            \
        "str r11, [r1, #60]\n\t"                                                                                                           \
        "bne 0b\n\t"                                                                                                                       \
        "pop {r4-r11, pc}\n"
/* clang-format on */

/* Any stride between rows. y and the mask's byte are those of the first pixel. */
typedef void mct_depthwise_3x3_channel(const int16_t *x, mct_depthwise_3x3_task *task, int8_t *y, uint8_t *mask);

__attribute__((naked, noinline)) static void mct_depthwise_3x3_full_1(const int16_t *x __attribute__((unused)),
                                                                      mct_depthwise_3x3_task *task __attribute__((unused)),
                                                                      int8_t *y __attribute__((unused)),
                                                                      uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_1, MCT_3X3_FINISH_FULL, "8", "1"));
}

__attribute__((naked, noinline)) static void mct_depthwise_3x3_full_2(const int16_t *x __attribute__((unused)),
                                                                      mct_depthwise_3x3_task *task __attribute__((unused)),
                                                                      int8_t *y __attribute__((unused)),
                                                                      uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_2, MCT_3X3_FINISH_FULL, "16", "2"));
}

__attribute__((naked, noinline)) static void mct_depthwise_3x3_clamped_1(const int16_t *x __attribute__((unused)),
                                                                         mct_depthwise_3x3_task *task __attribute__((unused)),
                                                                         int8_t *y __attribute__((unused)),
                                                                         uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_1, MCT_3X3_FINISH_CLAMPED, "8", "1"));
}

__attribute__((naked, noinline)) static void mct_depthwise_3x3_clamped_2(const int16_t *x __attribute__((unused)),
                                                                         mct_depthwise_3x3_task *task __attribute__((unused)),
                                                                         int8_t *y __attribute__((unused)),
                                                                         uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_2, MCT_3X3_FINISH_CLAMPED, "16", "2"));
}

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
static bool mct_depthwise_3x3_fits(const mct_window *w, bool has_mask)
{
    return w->kernel_height == 3 && w->kernel_width == 3 && w->stride_width <= 2 && w->out_width >= 4 &&
           (!has_mask || w->out_channels % 8 == 0);
}

static mct_depthwise_3x3 mct_depthwise_3x3_make(const mct_depthwise_conv2d_s8_params *params, const int16_t *plane, int32_t plane_width,
                                                int8_t *y, uint32_t *inside)
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
