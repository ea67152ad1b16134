/* dW of a depthwise convolution. In b16 a channel of x and one of g become planes, and g slides over x as a filter would: neighbouring taps
 * are neighbouring sums. The columns of x lie apart by their residue modulo the stride, so that what a tap reads is neighbouring elements
 * whatever the stride. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/channels.h"
#include "kernels/common/compiler.h"
#include "kernels/depthwise/depthwise_plane.h"
#include "kernels/depthwise/plane_gather.h"

/* One plane slides over another: neighbouring sums of all products. */

/* The plane that slides: rows of whole words, a zero behind an odd width. x_step: elements between the rows of the other one that it meets. */
typedef struct {
    const int16_t *g;
    int32_t rows, columns;
    int32_t x_step;
} mct_sliding;

#if MCT_DSP

/* Sums 0 to count - 1: of g[c] * x[c + n] for sum n. The odd ones multiply the words of x with those of g moved by one element, whose first
 * word begins with a zero and whose last one is left over. */
static MCT_SPECIALISED void mct_slide_block(const mct_sliding *sliding, const int16_t *x, int32_t count, size_t step, int32_t *sums)
{
    const int16_t *g = sliding->g;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0;

    for (int32_t row = 0; row < sliding->rows; row++, x += sliding->x_step) {
        const int16_t *const end = g + sliding->columns, *next = x;
        int32_t before = 0, x0 = mct_load_word(next), x1 = count > 4 ? mct_load_word(next + 2) : 0, x2 = 0;

        MCT_UNROLL(2)
        do {
            const int32_t here = mct_load_word(g), moved = mct_low_and_high(here, before);

            if (count > 4) {
                x2 = mct_load_word(next + 4);
            } else if (count > 1) {
                x1 = mct_load_word(next + 2);
            }
            s0 = mct_smlad(x0, here, s0);
            if (count > 1) {
                s1 = mct_smladx(x0, moved, s1);
            }
            if (count > 2) {
                s2 = mct_smlad(x1, here, s2);
            }
            if (count > 3) {
                s3 = mct_smladx(x1, moved, s3);
            }
            if (count > 4) {
                s4 = mct_smlad(x2, here, s4);
            }
            before = here;
            g += 2;
            next += 2;
            x0 = count > 1 ? x1 : mct_load_word(next);
            x1 = x2;
        } while (g != end);
        const int32_t left = mct_low_and_high(0, before);

        if (count > 1) {
            s1 = mct_smladx(x0, left, s1);
        }
        if (count > 3) {
            s3 = mct_smladx(count > 4 ? x1 : mct_load_word(next + 2), left, s3);
        }
    }
    sums[0] = s0;
    if (count > 1) {
        sums[step] = s1;
    }
    if (count > 2) {
        sums[2 * step] = s2;
    }
    if (count > 3) {
        sums[3 * step] = s3;
    }
    if (count > 4) {
        sums[4 * step] = s4;
    }
}

/* Compiled apart, for the registers of each. */
static MCT_NOINLINE void mct_slide_one(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 1, step, sums);
}

static MCT_NOINLINE void mct_slide_two(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 2, step, sums);
}

static MCT_NOINLINE void mct_slide_three(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 3, step, sums);
}

static MCT_NOINLINE void mct_slide_four(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 4, step, sums);
}

static MCT_NOINLINE void mct_slide_five(const mct_sliding *sliding, const int16_t *x, size_t step, int32_t *sums)
{
    mct_slide_block(sliding, x, 5, step, sums);
}

/* `count` sums, `step` apart. Rows of x begin at even elements and have count - 1 elements more than g, rounded up to whole words. */
static inline void mct_slide(const mct_sliding *sliding, const int16_t *x, int32_t count, size_t step, int32_t *sums)
{
    for (; count > 5; count -= 4, x += 4, sums += 4 * step) {
        mct_slide_four(sliding, x, step, sums);
    }
    if (count == 5) {
        mct_slide_five(sliding, x, step, sums);
    } else if (count == 4) {
        mct_slide_four(sliding, x, step, sums);
    } else if (count == 3) {
        mct_slide_three(sliding, x, step, sums);
    } else if (count == 2) {
        mct_slide_two(sliding, x, step, sums);
    } else if (count == 1) {
        mct_slide_one(sliding, x, step, sums);
    }
}

#else

/* `count` sums, `step` apart, of all products of g and x from their place on. */
static inline void mct_slide(const mct_sliding *sliding, const int16_t *x, int32_t count, size_t step, int32_t *sums)
{
    for (int32_t n = 0; n < count; n++, x++, sums += step) {
        const int16_t *g = sliding->g, *row = x;
        int32_t sum = 0;

        for (int32_t r = 0; r < sliding->rows; r++, row += sliding->x_step, g += sliding->columns) {
            for (int32_t c = 0; c < sliding->columns; c++) {
                sum += row[c] * g[c];
            }
        }
        *sums = sum;
    }
}

#endif

typedef mct_depthwise_conv2d_weight_gradient_params gradient_params;

static bool is_valid(const gradient_params *params, const void *x, const void *g, const mct_index *index, const void *gradient)
{
    return params != NULL && x != NULL && g != NULL && gradient != NULL && mct_depthwise_window_valid(&params->window) &&
           params->input_zero_point >= INT8_MIN && params->input_zero_point <= INT8_MAX && params->most_selected > 0 &&
           params->most_selected <= params->window.out_channels &&
           (index != NULL ? mct_index_valid(index, params->most_selected, params->window.out_channels)
                          : params->most_selected == params->window.out_channels);
}

/* The output channels that train now. */
static inline int32_t selected_of(const gradient_params *params, const mct_index *index)
{
    return index != NULL ? index->count : params->window.out_channels;
}

/* An output channel that trains. */
typedef struct {
    int32_t output, input; /* of the layer */
    int32_t x;             /* the place of its input among the channels of x */
} channel;

#define BEFORE_THE_FIRST ((channel){-1, -1, -1})

static inline channel next_channel(int32_t outputs, const mct_index *index, int32_t j, channel last)
{
    const int32_t output = index != NULL ? index->index[j] : j, input = output / outputs;

    return (channel){output, input, last.x + (input != last.input)};
}

static int32_t outputs_of_input(const mct_window *w)
{
    return w->out_channels / w->in_channels;
}

static int32_t x_channels(const gradient_params *params, const mct_index *index)
{
    const int32_t outputs = outputs_of_input(&params->window);
    channel c = BEFORE_THE_FIRST;

    if (index == NULL) {
        return params->window.in_channels;
    }
    for (int32_t j = 0; j < index->count; j++) {
        c = next_channel(outputs, index, j, c);
    }
    return c.x + 1;
}

/* Columns of g, a whole number of words. */
static int32_t g_columns(const mct_window *w)
{
    return mct_even(w->out_width);
}

/* Columns of one residue: column q of residue r is the padded image's column q * stride + r. */
static int32_t residue_columns(const mct_window *w)
{
    return mct_even(g_columns(w) + (w->kernel_width - 1) / w->stride_width);
}

static int32_t residues(const mct_window *w)
{
    return mct_smaller_s32(w->stride_width, w->kernel_width);
}

static size_t x_elements(const mct_window *w)
{
    const int32_t height = (w->out_height - 1) * w->stride_height + w->kernel_height;

    return (size_t)height * (size_t)residues(w) * (size_t)residue_columns(w);
}

static size_t g_elements(const mct_window *w)
{
    return (size_t)w->out_height * (size_t)g_columns(w);
}

size_t mct_depthwise_conv2d_weight_gradient_b16_scratch_bytes(const gradient_params *params)
{
    return (x_elements(&params->window) + g_elements(&params->window)) * sizeof(int16_t);
}

static MCT_NOINLINE void gather_x(const gradient_params *params, const int8_t *restrict x, int32_t channels, int16_t *restrict values)
{
    const mct_window *const w = &params->window;
    const int32_t height = (w->out_height - 1) * w->stride_height + w->kernel_height;
    const int32_t rows = mct_smaller_s32(w->in_height, height - w->pad_top), step = w->stride_width;
    const int32_t columns = residue_columns(w), row_step = residues(w) * columns;

    for (int32_t residue = 0; residue < residues(w); residue++) {
        const int32_t behind = w->pad_left - residue; /* columns of padding still ahead of this residue's first */
        const int32_t first = behind > 0 ? mct_ceil_divide(behind, step) : 0;
        const int32_t last = mct_smaller_s32(columns, mct_ceil_divide(w->in_width + behind, step));
        const int8_t *source = x + (size_t)(first * step - behind) * (size_t)channels;
        int16_t *target = values + w->pad_top * row_step + residue * columns + first;

        for (int32_t row = 0; row < rows; row++) {
            mct_gather_row_s8(source, step * channels, params->input_zero_point, last - first, target);
            source += (size_t)w->in_width * (size_t)channels;
            target += row_step;
        }
    }
}

static void gather_g(const mct_window *w, const int16_t *g, int16_t *values)
{
    const mct_gathering whole = {.rows = w->out_height,
                                 .columns = w->out_width,
                                 .step = w->out_channels,
                                 .row_step = w->out_width * w->out_channels,
                                 .target_row_step = g_columns(w)};

    mct_gather_plane_s16(g, whole, values);
}

static void channel_gradient(const mct_window *w, const int16_t *x, const int16_t *g, int32_t *gradient)
{
    const int32_t columns = residue_columns(w), row_step = residues(w) * columns;
    const mct_sliding sliding = {.g = g, .rows = w->out_height, .columns = g_columns(w), .x_step = w->stride_height * row_step};

    for (int32_t residue = 0; residue < residues(w); residue++) {
        const int32_t taps = mct_ceil_divide(w->kernel_width - residue, w->stride_width);

        for (int32_t kh = 0; kh < w->kernel_height; kh++) {
            mct_slide(&sliding, x + kh * row_step + residue * columns, taps, (size_t)w->stride_width,
                      gradient + kh * w->kernel_width + residue);
        }
    }
}

mct_status mct_depthwise_conv2d_weight_gradient_b16(const gradient_params *params, const int8_t *x, const mct_b16 *g,
                                                    const mct_index *index, void *scratch, mct_b32 *gradient)
{
    if (!is_valid(params, x, g, index, gradient) || scratch == NULL || (uintptr_t)scratch % 4 != 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const int32_t taps = w->kernel_height * w->kernel_width, outputs = outputs_of_input(w), channels = x_channels(params, index);
    const int32_t selected = selected_of(params, index);
    int16_t *const x_values = scratch, *const g_values = x_values + x_elements(w);
    channel c = BEFORE_THE_FIRST;

    gradient->exponent = g->exponent;
    /* The border and the zeros behind odd rows of g stay; every channel has the same interior. */
    memset(x_values, 0, (x_elements(w) + g_elements(w)) * sizeof *x_values);
    for (int32_t j = 0; j < selected; j++) {
        const channel last = c;

        c = next_channel(outputs, index, j, last);
        if (c.x != last.x) {
            gather_x(params, x + c.x, channels, x_values);
        }
        gather_g(w, g->mantissa + c.output, g_values);
        channel_gradient(w, x_values, g_values, gradient->mantissa + j * taps);
    }
    return MCT_OK;
}

/* Rows, then columns ascending: the stated order of each sum. */
static float tap_gradient_f32(const gradient_params *params, int32_t kernel_row, int32_t kernel_column, const int8_t *x, int32_t channels,
                              const float *g)
{
    const mct_window *const w = &params->window;
    const mct_tap_range rows = mct_tap_rows(w, kernel_row), columns = mct_tap_columns(w, kernel_column);
    float sum = 0.0f;

    for (int32_t row = rows.first; row < rows.end; row++) {
        const int32_t input_row = rows.input + (row - rows.first) * w->stride_height;

        for (int32_t column = columns.first; column < columns.end; column++) {
            const int32_t input_column = columns.input + (column - columns.first) * w->stride_width;
            const int8_t code = x[(size_t)(input_row * w->in_width + input_column) * (size_t)channels];

            sum += g[(size_t)(row * w->out_width + column) * (size_t)w->out_channels] * (float)(code - params->input_zero_point);
        }
    }
    return sum;
}

mct_status mct_depthwise_conv2d_weight_gradient_f32(const gradient_params *params, const int8_t *x, const float *g, const mct_index *index,
                                                    float *gradient)
{
    if (!is_valid(params, x, g, index, gradient)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const int32_t outputs = outputs_of_input(w), channels = x_channels(params, index), selected = selected_of(params, index);
    channel c = BEFORE_THE_FIRST;

    for (int32_t j = 0; j < selected; j++) {
        c = next_channel(outputs, index, j, c);
        for (int32_t tap = 0; tap < w->kernel_height * w->kernel_width; tap++) {
            *gradient++ = tap_gradient_f32(params, tap / w->kernel_width, tap % w->kernel_width, x + c.x, channels, g + c.output);
        }
    }
    return MCT_OK;
}
