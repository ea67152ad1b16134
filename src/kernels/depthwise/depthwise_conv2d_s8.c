/* depthwise_conv2d: each channel's plane is gathered once, and every output of it is a dot product of a few words. Codes stay as they are:
 * the zero point lies on the border of the plane, and its product with the filter is taken from the bias. Rows of sums become codes in a
 * loop of their own, whose many constants then fit the registers; only 3x3 does both in one. A channel of x is read whole before the same
 * channel of y is written, so with one output per input channel y may be x. */
#include "kernels/common/exact.h"

#include <stddef.h>
#include <string.h>

#include "mcutrain/forward.h"
#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/common/requantize.h"
#include "kernels/depthwise/depthwise_3x3.h"
#include "kernels/depthwise/depthwise_plane.h"

/* A channel of an image of interleaved channels into a plane (depthwise_plane.h), its codes as they are. Offsets of members are
 * known to assembly. rows and columns are above 0. */
typedef struct {
    size_t pixel_bytes; /* from one element of the channel to the next */
    int32_t columns, rows;
    size_t image_skip_bytes, plane_skip_bytes; /* from behind a row to the next */
} mct_gather_s8_task;

#if MCT_DSP && defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* In assembly: compilers join two of the halfwords in twice the time of storing them, and reload more than they use around each row.
 * r0: image, r1: plane, r3 and r12: bytes of one and three pixels. Four loads in a row, then four stores. */
/* clang-format off */
#define MCT_GATHER_FOUR                                                                                                                    \
    "ldrsb r8, [r0]\n\t"                                                                                                                   \
    "ldrsb r9, [r0, r3]\n\t"                                                                                                               \
    "ldrsb r10, [r0, r3, lsl #1]\n\t"                                                                                                      \
    "ldrsb r11, [r0, r12]\n\t"                                                                                                             \
    "add r0, r0, r3, lsl #2\n\t"                                                                                                           \
    "strh r9, [r1, #2]\n\t"                                                                                                                \
    "strh r10, [r1, #4]\n\t"                                                                                                               \
    "strh r11, [r1, #6]\n\t"                                                                                                               \
    "strh r8, [r1], #8\n\t"
/* clang-format on */

__attribute__((naked, noinline)) static void mct_gather_plane_s8(const int8_t *image __attribute__((unused)),
                                                                 int16_t *plane __attribute__((unused)),
                                                                 const mct_gather_s8_task *task __attribute__((unused)))
{
    /* clang-format off */
    __asm__ volatile(
            "push {r4-r11, lr}\n\t"
            "ldr r3, [r2]\n\t"
            "ldr r4, [r2, #4]\n\t"
            "ldr r5, [r2, #8]\n\t"
            "ldr r6, [r2, #12]\n\t"
            "ldr r7, [r2, #16]\n\t"
            "add r12, r3, r3, lsl #1\n"
        "0:\n\t"
            "subs lr, r4, #8\n\t"
            "blt 2f\n"
        "1:\n\t"
            MCT_GATHER_FOUR
            MCT_GATHER_FOUR
            "subs lr, #8\n\t"
            "bge 1b\n"
        "2:\n\t"
            "adds lr, #4\n\t"
            "blt 3f\n\t"
            MCT_GATHER_FOUR
            "subs lr, #4\n"
        "3:\n\t"
            "adds lr, #4\n\t"
            "beq 5f\n"
        "4:\n\t"
            "ldrsb r8, [r0]\n\t"
            "add r0, r3\n\t"
            "strh r8, [r1], #2\n\t"
            "subs lr, #1\n\t"
            "bne 4b\n"
        "5:\n\t"
            "add r0, r6\n\t"
            "add r1, r7\n\t"
            "subs r5, #1\n\t"
            "bne 0b\n\t"
            "pop {r4-r11, pc}\n");
    /* clang-format on */
}

#else

static inline void mct_gather_plane_s8(const int8_t *image, int16_t *plane, const mct_gather_s8_task *task)
{
    for (int32_t row = 0; row < task->rows; row++) {
        for (int32_t column = 0; column < task->columns; column++, image += task->pixel_bytes) {
            *plane++ = *image;
        }
        image += task->image_skip_bytes;
        plane += task->plane_skip_bytes / sizeof *plane;
    }
}

#endif

/* A filter row is a whole number of words; the columns it gains are zeros. */
static int32_t filter_columns(const mct_window *w)
{
    return mct_even(w->kernel_width);
}

static mct_plane input_plane(const mct_window *w)
{
    const mct_plane plane = {
        .height = (w->out_height - 1) * w->stride_height + w->kernel_height,
        .width = mct_even((w->out_width - 1) * w->stride_width + filter_columns(w)),
        .top = w->pad_top,
        .left = w->pad_left,
    };
    return plane;
}

static size_t filter_elements(const mct_window *w)
{
    return (size_t)w->kernel_height * (size_t)filter_columns(w);
}

size_t mct_depthwise_conv2d_s8_scratch_bytes(const mct_depthwise_conv2d_s8_params *params)
{
    const mct_plane plane = input_plane(&params->window);

    return (size_t)params->window.out_width * sizeof(int32_t) +
           (filter_elements(&params->window) + mct_plane_elements(&plane)) * sizeof(int16_t);
}

static mct_gather_s8_task gather_task(const mct_window *w, const mct_plane *plane)
{
    const int32_t rows = mct_plane_rows(plane, w->in_height), columns = mct_plane_columns(plane, w->in_width);
    const mct_gather_s8_task task = {
        .pixel_bytes = (size_t)w->in_channels,
        .columns = columns,
        .rows = rows,
        .image_skip_bytes = (size_t)(w->in_width - columns) * (size_t)w->in_channels,
        .plane_skip_bytes = (size_t)(plane->width - columns) * sizeof(int16_t),
    };

    return task;
}

/* The border stays: every channel has the same interior. */
static void fill_plane(int16_t *values, size_t elements, int32_t zero_point)
{
    for (size_t i = 0; i < elements; i++) {
        values[i] = (int16_t)zero_point;
    }
}

/* The filter times a factor; returns the sum of its weights. */
static int32_t widen_filter(const mct_window *w, const int8_t *weights, int32_t factor, int16_t *filter)
{
    const int32_t columns = filter_columns(w);
    int32_t sum = 0;

    for (int32_t row = 0; row < w->kernel_height; row++, filter += columns) {
        filter[columns - 1] = 0;
        for (int32_t column = 0; column < w->kernel_width; column++) {
            const int32_t weight = *weights++;

            sum += weight;
            filter[column] = (int16_t)(weight * factor);
        }
    }
    return sum;
}

/* What turns the sums of one output channel into codes, and where they go. */
typedef struct {
    int32_t multiplier, shift;
    int32_t zero_point, clamp_min, clamp_max;
    size_t step; /* elements from one pixel to the next */
    int8_t *y;
    uint32_t *inside; /* or NULL; all bits 1 */
    bool is_small;    /* every sum (mct_is_small); sums are then twice what they stand for */
} channel_output;

/* Any clamp, with or without a mask. What the channel has is read first: stores through pointers make compilers read it again. */
static MCT_SPECIALISED void store_row_any(const int32_t *restrict sums, int32_t count, size_t element, const channel_output *out,
                                          bool is_small)
{
    const int32_t multiplier = out->multiplier, shift = out->shift, zero_point = out->zero_point;
    const int32_t low = out->clamp_min, high = out->clamp_max;
    const size_t step = out->step;
    int8_t *y = out->y + element;
    uint32_t *const inside = out->inside;

    for (const int32_t *const end = sums + count; sums != end; sums++, element += step, y += step) {
        int32_t value, code;

        if (is_small) {
            value = mct_requantise_twice(*sums, multiplier, shift, zero_point);
        } else {
            /* Clamped once before, so that adding the zero point cannot overflow. */
            value = mct_clamp_s32(mct_requantise(*sums, multiplier, shift), -1024, 1024) + zero_point;
        }
        code = mct_clamp_s32(value, low, high);
        *y = (int8_t)code;
        if (code != value && inside != NULL) {
            inside[element / 32] &= ~((uint32_t)1 << (element % 32));
        }
    }
}

static MCT_NOINLINE void store_row_large(const int32_t *sums, int32_t count, size_t element, const channel_output *out)
{
    store_row_any(sums, count, element, out, false);
}

static MCT_NOINLINE void store_row_masked(const int32_t *sums, int32_t count, size_t element, const channel_output *out)
{
    store_row_any(sums, count, element, out, true);
}

static MCT_SPECIALISED int8_t finish(int32_t value, const channel_output *out, bool is_whole_range)
{
    return (int8_t)(is_whole_range ? mct_saturate_s8(value) : mct_clamp_s32(value, out->clamp_min, out->clamp_max));
}

/* Small sums without a mask. */
static MCT_SPECIALISED void store_row_small(const int32_t *restrict sums, int32_t count, int8_t *y, const channel_output *out,
                                            bool is_whole_range)
{
    const int32_t multiplier = out->multiplier, shift = out->shift, zero_point = out->zero_point;
    const size_t step = out->step;

    for (; count >= 4; count -= 4, sums += 4, y += 4 * step) {
        const int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];

        MCT_LOAD_FENCE();
        y[0] = finish(mct_requantise_twice(s0, multiplier, shift, zero_point), out, is_whole_range);
        y[step] = finish(mct_requantise_twice(s1, multiplier, shift, zero_point), out, is_whole_range);
        y[2 * step] = finish(mct_requantise_twice(s2, multiplier, shift, zero_point), out, is_whole_range);
        y[3 * step] = finish(mct_requantise_twice(s3, multiplier, shift, zero_point), out, is_whole_range);
    }
    for (; count > 0; count--, sums++, y += step) {
        *y = finish(mct_requantise_twice(*sums, multiplier, shift, zero_point), out, is_whole_range);
    }
}

static MCT_NOINLINE void store_row(const int32_t *sums, int32_t count, size_t element, const channel_output *out)
{
    if (!out->is_small) {
        store_row_large(sums, count, element, out);
    } else if (out->inside != NULL) {
        store_row_masked(sums, count, element, out);
    } else if (out->clamp_min > INT8_MIN || out->clamp_max < INT8_MAX) {
        store_row_small(sums, count, out->y + element, out, false);
    } else {
        store_row_small(sums, count, out->y + element, out, true);
    }
}

/* Four sums of stride 2: neighbours read words one apart, and every word is loaded once for all of them. */
static MCT_SPECIALISED void stride_2_block(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t width,
                                           mct_plane_sums *sums)
{
#if MCT_DSP
    const int16_t *w = filter->values;
    int32_t s0 = sums->first, s1 = s0, s2 = s0, s3 = s0;

    for (int32_t r = 0; r < filter->rows; r++, x += x_step) {
        int32_t x0 = mct_load_word(x), x1 = mct_load_word(x + 2), x2 = mct_load_word(x + 4);

        MCT_UNROLL(4)
        for (int32_t i = 0; i < width; i += 2, w += 2) {
            const int32_t here = mct_load_word(w), x3 = mct_load_word(x + 6 + i);

            s0 = mct_smlad(x0, here, s0);
            s1 = mct_smlad(x1, here, s1);
            s2 = mct_smlad(x2, here, s2);
            s3 = mct_smlad(x3, here, s3);
            x0 = x1;
            x1 = x2;
            x2 = x3;
        }
    }
    mct_plane_store(sums, s0);
    mct_plane_store(sums, s1);
    mct_plane_store(sums, s2);
    mct_plane_store(sums, s3);
#else
    (void)width;
    for (int32_t i = 0; i < 8; i += 2) {
        mct_plane_single(x + i, x_step, filter, sums);
    }
#endif
}

static MCT_SPECIALISED void convolve_row_strided(const mct_window *w, const int16_t *x, int32_t x_step, const mct_plane_filter *filter,
                                                 int32_t width, int32_t bias, int32_t *sums)
{
    mct_plane_sums row = {.at = sums, .step = 1, .first = bias, .add = false};
    int32_t count = w->out_width;

    if (w->stride_width == 2) {
        for (; count >= 4; count -= 4, x += 8) {
            stride_2_block(x, x_step, filter, width, &row);
        }
    }
    for (; count > 0; count--, x += w->stride_width) {
        mct_plane_single(x, x_step, filter, &row);
    }
}

/* Compiled apart for the usual filters. */
static MCT_NOINLINE void convolve_row_strided_5(const mct_window *w, const int16_t *x, int32_t x_step, const mct_plane_filter *filter,
                                                int32_t bias, int32_t *sums)
{
    convolve_row_strided(w, x, x_step, filter, 5, bias, sums);
}

static MCT_NOINLINE void convolve_row_strided_7(const mct_window *w, const int16_t *x, int32_t x_step, const mct_plane_filter *filter,
                                                int32_t bias, int32_t *sums)
{
    convolve_row_strided(w, x, x_step, filter, 7, bias, sums);
}

static MCT_NOINLINE void convolve_row_strided_any(const mct_window *w, const int16_t *x, int32_t x_step, const mct_plane_filter *filter,
                                                  int32_t bias, int32_t *sums)
{
    convolve_row_strided(w, x, x_step, filter, filter->width, bias, sums);
}

static MCT_NOINLINE void correlate_3x3(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, int32_t bias,
                                       int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = 1, .first = bias, .add = false};

    mct_plane_correlate(x, x_step, filter, 3, 3, true, count, row);
}

static MCT_NOINLINE void correlate_5(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, int32_t bias,
                                     int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = 1, .first = bias, .add = false};

    mct_plane_correlate(x, x_step, filter, filter->rows, 5, true, count, row);
}

static MCT_NOINLINE void correlate_7(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, int32_t bias,
                                     int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = 1, .first = bias, .add = false};

    mct_plane_correlate(x, x_step, filter, filter->rows, 7, true, count, row);
}

static MCT_NOINLINE void correlate_any(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, int32_t bias,
                                       int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = 1, .first = bias, .add = false};

    mct_plane_correlate(x, x_step, filter, filter->rows, filter->width, false, count, row);
}

/* A row of sums. */
static void convolve_row(const mct_window *w, const int16_t *x, int32_t width, const mct_plane_filter *filter, int32_t bias, int32_t *sums)
{
    if (w->stride_width != 1 && filter->width == 5) {
        convolve_row_strided_5(w, x, width, filter, bias, sums);
    } else if (w->stride_width != 1 && filter->width == 7) {
        convolve_row_strided_7(w, x, width, filter, bias, sums);
    } else if (w->stride_width != 1) {
        convolve_row_strided_any(w, x, width, filter, bias, sums);
    } else if (filter->rows == 3 && filter->width == 3) {
        correlate_3x3(x, width, filter, w->out_width, bias, sums);
    } else if (filter->width == 5) {
        correlate_5(x, width, filter, w->out_width, bias, sums);
    } else if (filter->width == 7) {
        correlate_7(x, width, filter, w->out_width, bias, sums);
    } else {
        correlate_any(x, width, filter, w->out_width, bias, sums);
    }
}

/* All rows of an output channel. */
static MCT_NOINLINE void convolve_channel(const mct_window *w, const int16_t *x, int32_t width, const mct_plane_filter *filter,
                                          int32_t bias, int32_t *sums, size_t element, const channel_output *out)
{
    const int32_t x_step = w->stride_height * width, columns = w->out_width;
    const size_t step = (size_t)columns * out->step;

    for (int32_t row = w->out_height; row > 0; row--, x += x_step, element += step) {
        convolve_row(w, x, width, filter, bias, sums);
        store_row(sums, columns, element, out);
    }
}

/* All elements inside; the bits behind the last are 0. */
static void fill_mask(uint32_t *inside, size_t elements)
{
    memset(inside, 0xFF, elements / 32 * sizeof *inside);
    if (elements % 32 != 0) {
        inside[elements / 32] = ((uint32_t)1 << (elements % 32)) - 1;
    }
}

static bool valid(const mct_depthwise_conv2d_s8_params *params, const int32_t *multiplier, const int32_t *shift)
{
    if (!mct_depthwise_window_valid(&params->window) || !mct_code_valid(params->input_zero_point) ||
        !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max)) {
        return false;
    }
    for (int32_t c = 0; c < params->window.out_channels; c++) {
        if (!mct_multiplier_valid(multiplier[c], shift[c])) {
            return false;
        }
    }
    return true;
}

mct_status mct_depthwise_conv2d_s8(const mct_depthwise_conv2d_s8_params *params, const int8_t *x, const int8_t *weights,
                                   const int32_t *bias, const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y,
                                   uint32_t *inside)
{
    if (params == NULL || x == NULL || weights == NULL || bias == NULL || multiplier == NULL || shift == NULL || scratch == NULL ||
        (uintptr_t)scratch % 4 != 0 || y == NULL || !valid(params, multiplier, shift)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const mct_plane plane = input_plane(w);
    const int32_t taps = w->kernel_height * w->kernel_width, outputs = w->out_channels / w->in_channels;
    const size_t channels = (size_t)w->out_channels;
    int32_t *const sums = scratch;
    int16_t *const filter = (int16_t *)(sums + w->out_width), *const values = filter + filter_elements(w);
    int16_t *const interior = values + plane.top * plane.width + plane.left;
    const mct_gather_s8_task gather = gather_task(w, &plane);
    const mct_plane_filter taps_of_channel = {filter, w->kernel_height, w->kernel_width};
    /* Neither a channel's sum nor a part of its products is further from its bias, whatever the input. */
    const int64_t products = (int64_t)taps * 128 * 256;
    channel_output out = {
        .zero_point = params->output_zero_point,
        .clamp_min = params->clamp_min,
        .clamp_max = params->clamp_max,
        .step = channels,
        .y = y,
        .inside = inside,
    };
#if MCT_HAS_DEPTHWISE_3X3
    mct_depthwise_3x3 layer_3x3 = mct_depthwise_3x3_make(params, values, plane.width, y, inside);
#endif

    if (inside != NULL) {
        fill_mask(inside, (size_t)w->out_height * (size_t)w->out_width * channels);
    }
    fill_plane(values, mct_plane_elements(&plane), params->input_zero_point);
    for (int32_t c = 0, o = 0; c < w->in_channels; c++) {
        mct_gather_plane_s8(x + c, interior, &gather);
        for (const int32_t end = o + outputs; o < end; o++, weights += taps) {
            const bool is_small = mct_is_small(products + (bias[o] < 0 ? -(int64_t)bias[o] : bias[o]), shift[o]);

#if MCT_HAS_DEPTHWISE_3X3
            if (is_small && layer_3x3.run != NULL) {
                mct_depthwise_3x3_run(&layer_3x3, o, weights, params->input_zero_point, bias[o], multiplier[o], shift[o]);
                continue;
            }
#endif
            out.multiplier = multiplier[o];
            out.shift = shift[o];
            out.is_small = is_small;
            /* What the products of codes hold more than those of codes minus the zero point is the same for every output. */
            const int32_t factor = is_small ? 2 : 1, weight_sum = widen_filter(w, weights, factor, filter);
            const int32_t first = mct_add_product(bias[o], -params->input_zero_point, weight_sum) * factor;

            convolve_channel(w, values, plane.width, &taps_of_channel, first, sums, (size_t)o, &out);
        }
    }
    return MCT_OK;
}
