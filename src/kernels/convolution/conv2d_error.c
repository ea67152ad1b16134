/* dX of a convolution. Both forms walk tap by tap: at one tap, output pixel (oh, ow) adds g[oh][ow][:] * w[:][tap][:] to one input pixel,
 * and each input pixel is met at most once, so the sums live in the output buffer and borders and strides are only loop ranges. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/backward_window.h"
#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/convolution/outer_2x4.h"
#include "kernels/convolution/outer_product.h"

static int is_valid(const mct_conv2d_gradient_params *params, const void *g, const void *weights, const void *out)
{
    return params != NULL && g != NULL && weights != NULL && out != NULL && mct_window_valid(&params->window);
}

/* One tap of a block of weights: `weights` at [o][tap][i] of the block's first output and input channel. */
typedef struct {
    const int8_t *weights;
    int32_t channel_step; /* from one output channel's weights to the next's */
    int32_t outputs;      /* output channels in the block */
    int32_t lanes;        /* input channels in the block */
} weight_block;

/* The pixels that a tap joins: `pixels` of g along a row, and of the sums, with their steps in elements. */
typedef struct {
    mct_tap_range rows, columns;
    int32_t g_row, g_step, sum_row, sum_step;
} tap_pixels;

static tap_pixels pixels_of_tap(const mct_window *window, int32_t kernel_row, int32_t kernel_column)
{
    tap_pixels pixels;

    pixels.rows = mct_tap_rows(window, kernel_row);
    pixels.columns = mct_tap_columns(window, kernel_column);
    pixels.g_step = window->out_channels;
    pixels.g_row = window->out_width * window->out_channels;
    pixels.sum_step = window->stride_width * window->in_channels;
    pixels.sum_row = window->in_width * window->in_channels;
    return pixels;
}

/* Sums take in this many pairs of output channels at once: more would leave room for fewer columns. */
enum { MOST_STEPS = 48 };

static mct_outer_shape shape_of(const mct_window *window)
{
    return mct_outer_shape_of(window->out_channels, window->in_channels, MOST_STEPS);
}

size_t mct_conv2d_error_b16_scratch_bytes(const mct_conv2d_gradient_params *params)
{
    return mct_outer_scratch_bytes(shape_of(&params->window));
}

static inline size_t g_offset(const tap_pixels *p, int32_t row)
{
    return (size_t)row * (size_t)p->g_row + (size_t)p->columns.first * (size_t)p->g_step;
}

static inline size_t sum_offset(const tap_pixels *p, const mct_window *window, int32_t row)
{
    const int32_t input_row = p->rows.input + (row - p->rows.first) * window->stride_height;

    return (size_t)input_row * (size_t)p->sum_row + (size_t)p->columns.input * (size_t)window->in_channels;
}

#if MCT_DSP

/* A group's weights of pairs of output channels, the lower channel low. */
static MCT_NOINLINE void pack_group(const int8_t *row, int32_t channel_step, int32_t pairs, int32_t *restrict columns)
{
    for (; pairs > 1; pairs -= 2, columns += 2 * MCT_OUTER_LANES) {
        const int32_t low = mct_load_word(row), high = mct_load_word(row + channel_step);
        int32_t next_low, next_high;

        row += 2 * channel_step;
        MCT_STEP_NOW(row);
        next_low = mct_load_word(row);
        next_high = mct_load_word(row + channel_step);
        row += 2 * channel_step;
        MCT_STEP_NOW(row);
        mct_pair_columns(low, high, columns);
        mct_pair_columns(next_low, next_high, columns + MCT_OUTER_LANES);
    }
    if (pairs > 0) {
        mct_pair_columns(mct_load_word(row), mct_load_word(row + channel_step), columns);
    }
}

static void pack_weights(const weight_block *block, const mct_outer_chunk *chunk)
{
    const int32_t pairs = block->outputs / 2;
    int32_t *columns = chunk->columns;

    for (int32_t i = 0; i < block->lanes; i += MCT_OUTER_LANES, columns += chunk->steps * MCT_OUTER_LANES) {
        const int8_t *row = block->weights + i;
        const int32_t lanes = block->lanes - i;
        int32_t o = 0;

        if (lanes >= MCT_OUTER_LANES) {
            pack_group(row, block->channel_step, pairs, columns);
            o = 2 * pairs;
        }
        for (; o < block->outputs; o += 2) {
            const int8_t *const low = row + o * block->channel_step;
            const int32_t high = o + 1 < block->outputs ? mct_load_lanes_s8(low + block->channel_step, lanes) : 0;

            mct_pair_columns(mct_load_lanes_s8(low, lanes), high, columns + o / 2 * MCT_OUTER_LANES);
        }
    }
}

/* The rows of two pixels. What stands beside the last of an odd number of channels is multiplied by 0. */
static MCT_NOINLINE void pack_g(const int16_t *restrict pixel_0, const int16_t *restrict pixel_1, int32_t outputs, int32_t *restrict rows)
{
    for (; outputs >= 8; outputs -= 8, pixel_0 += 8, pixel_1 += 8, rows += 4 * MCT_DOT_ROWS) {
        const int32_t a = mct_load_word(pixel_0), b = mct_load_word(pixel_0 + 2);
        const int32_t c = mct_load_word(pixel_0 + 4), d = mct_load_word(pixel_0 + 6);
        const int32_t e = mct_load_word(pixel_1), f = mct_load_word(pixel_1 + 2);
        const int32_t h = mct_load_word(pixel_1 + 4), i = mct_load_word(pixel_1 + 6);

        MCT_LOAD_FENCE();
        rows[0] = a;
        rows[1] = e;
        rows[2] = b;
        rows[3] = f;
        rows[4] = c;
        rows[5] = h;
        rows[6] = d;
        rows[7] = i;
    }
    for (; outputs > 1; outputs -= 2, pixel_0 += 2, pixel_1 += 2, rows += MCT_DOT_ROWS) {
        rows[0] = mct_load_word(pixel_0);
        rows[1] = mct_load_word(pixel_1);
    }
    if (outputs > 0) {
        rows[0] = *pixel_0;
        rows[1] = *pixel_1;
    }
}

static void add_pixel_pair(const mct_outer_chunk *chunk, int32_t outputs, const int16_t *g_0, const int16_t *g_1, int32_t *sum_0,
                           int32_t *sum_1)
{
    pack_g(g_0, g_1, outputs, chunk->rows);
    mct_add_outer_2x4(chunk, sum_0, sum_1);
}

/* g and sums begin at the block's first channel. A last single pixel is computed twice, into the same sums. */
static void add_block(const mct_window *window, const tap_pixels *p, const weight_block *block, const mct_outer_chunk *chunk,
                      const int16_t *g, int32_t *sums)
{
    const int16_t *waiting_g = NULL;
    int32_t *waiting_sum = NULL;

    for (int32_t row = p->rows.first; row < p->rows.end; row++) {
        const int16_t *pixel = g + g_offset(p, row);
        int32_t *sum = sums + sum_offset(p, window, row);

        for (int32_t column = p->columns.first; column < p->columns.end; column++, pixel += p->g_step, sum += p->sum_step) {
            if (waiting_g == NULL) {
                waiting_g = pixel;
                waiting_sum = sum;
            } else {
                add_pixel_pair(chunk, block->outputs, waiting_g, pixel, waiting_sum, sum);
                waiting_g = NULL;
            }
        }
    }
    if (waiting_g != NULL) {
        add_pixel_pair(chunk, block->outputs, waiting_g, waiting_g, waiting_sum, waiting_sum);
    }
}

/* The tap's part of all sums; from_zero: it is the only one, and meets each input pixel. */
static void add_tap(const mct_window *window, int32_t tap, bool from_zero, const int16_t *g, const int8_t *weights, int32_t *scratch,
                    int32_t *sums)
{
    const mct_outer_shape most = shape_of(window);
    const tap_pixels pixels = pixels_of_tap(window, tap / window->kernel_width, tap % window->kernel_width);
    const int32_t inputs = most.groups * MCT_OUTER_LANES, outputs = 2 * most.steps;
    weight_block block = {.channel_step = window->kernel_height * window->kernel_width * window->in_channels};
    mct_outer_chunk chunk = mct_outer_chunk_in(scratch, most);

    for (int32_t i = 0; i < window->in_channels; i += inputs) {
        block.lanes = mct_smaller_s32(inputs, window->in_channels - i);
        chunk.groups = block.lanes / MCT_OUTER_LANES;
        chunk.lanes = block.lanes % MCT_OUTER_LANES;
        for (int32_t o = 0; o < window->out_channels; o += outputs) {
            block.weights = weights + o * block.channel_step + tap * window->in_channels + i;
            block.outputs = mct_smaller_s32(outputs, window->out_channels - o);
            chunk.steps = mct_outer_parts(block.outputs, 2);
            chunk.from_zero = from_zero && o == 0;
            pack_weights(&block, &chunk);
            add_block(window, &pixels, &block, &chunk, g + o, sums + i);
        }
    }
}

/* Four sums of one pixel, over pairs of output channels. */
static MCT_NOINLINE void multiply_group(const int16_t *g, int32_t pairs, const int8_t *row, int32_t channel_step, int32_t *sums)
{
    int32_t a = 0, b = 0, c = 0, d = 0;

    for (; pairs > 0; pairs--, g += 2, row += 2 * channel_step) {
        const int32_t both = mct_load_word(g);
        int32_t columns[MCT_OUTER_LANES];

        mct_pair_columns(mct_load_word(row), mct_load_word(row + channel_step), columns);
        a = mct_smlad(both, columns[0], a);
        b = mct_smlad(both, columns[1], b);
        c = mct_smlad(both, columns[2], c);
        d = mct_smlad(both, columns[3], d);
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

/* A pixel of its own, as of a fully connected layer: no weight is used twice, so none is packed. */
static void multiply_pixel(const int16_t *g, int32_t outputs, const int8_t *weights, int32_t inputs, int32_t *sums)
{
    const int32_t even_outputs = outputs / 2 * 2, whole = inputs / MCT_OUTER_LANES * MCT_OUTER_LANES;

    for (int32_t i = 0; i < whole; i += MCT_OUTER_LANES) {
        multiply_group(g, outputs / 2, weights + i, inputs, sums + i);
    }
    for (int32_t i = whole; i < inputs; i++) {
        sums[i] = 0;
        for (int32_t o = 0; o < even_outputs; o++) {
            sums[i] += g[o] * weights[o * inputs + i];
        }
    }
    for (int32_t i = 0; i < inputs && even_outputs < outputs; i++) {
        sums[i] += g[even_outputs] * weights[even_outputs * inputs + i];
    }
}

static void add_taps(const mct_window *window, const int16_t *g, const int8_t *weights, void *scratch, int32_t *sums)
{
    const int32_t taps = window->kernel_height * window->kernel_width;
    const int32_t pixels = window->in_height * window->in_width;
    const bool is_pointwise = taps == 1 && pixels == window->out_height * window->out_width;

    if (is_pointwise && pixels == 1) {
        multiply_pixel(g, window->out_channels, weights, window->in_channels, sums);
        return;
    }
    if (!is_pointwise) {
        memset(sums, 0, mct_input_elements(window) * sizeof *sums);
    }
    for (int32_t tap = 0; tap < taps; tap++) {
        add_tap(window, tap, is_pointwise, g, weights, scratch, sums);
    }
}

#else

static void add_block(const mct_window *window, const tap_pixels *p, const weight_block *block, const int16_t *g, int32_t *sums)
{
    int16_t rows[MCT_DEPTH][MCT_LANES] = {{0}};
    const int32_t columns = p->columns.end - p->columns.first;

    for (int32_t o = 0; o < block->outputs; o++) {
        for (int32_t i = 0; i < block->lanes; i++) {
            rows[o][i] = block->weights[o * block->channel_step + i];
        }
    }
    for (int32_t row = p->rows.first; row < p->rows.end; row++) {
        const int16_t *pixel = g + g_offset(p, row);
        int32_t *sum = sums + sum_offset(p, window, row);

        for (int32_t column = 0; column < columns; column++, pixel += p->g_step, sum += p->sum_step) {
            int32_t scalars[MCT_DEPTH] = {0};
            for (int32_t o = 0; o < block->outputs; o++) {
                scalars[o] = pixel[o];
            }
            mct_add_products_s32(sum, rows, scalars, block->lanes);
        }
    }
}

static void add_taps(const mct_window *window, const int16_t *g, const int8_t *weights, void *scratch, int32_t *sums)
{
    const int32_t in_channels = window->in_channels, out_channels = window->out_channels;
    const int32_t taps = window->kernel_height * window->kernel_width;
    weight_block block = {weights, taps * in_channels, 0, 0};

    (void)scratch;
    memset(sums, 0, mct_input_elements(window) * sizeof *sums);
    for (int32_t tap = 0; tap < taps; tap++) {
        const tap_pixels pixels = pixels_of_tap(window, tap / window->kernel_width, tap % window->kernel_width);

        for (int32_t i = 0; i < in_channels; i += MCT_LANES) {
            for (int32_t o = 0; o < out_channels; o += MCT_DEPTH) {
                block.weights = weights + o * block.channel_step + tap * in_channels + i;
                block.lanes = mct_smaller_s32(MCT_LANES, in_channels - i);
                block.outputs = mct_smaller_s32(MCT_DEPTH, out_channels - o);
                add_block(window, &pixels, &block, g + o, sums + i);
            }
        }
    }
}

#endif

mct_status mct_conv2d_error_b16(const mct_conv2d_gradient_params *params, const mct_b16 *g, const int8_t *weights, void *scratch,
                                mct_b32 *sums)
{
    if (!is_valid(params, g, weights, sums) || scratch == NULL || (uintptr_t)scratch % 4 != 0) {
        return MCT_ERROR_ARGUMENT;
    }
    sums->exponent = g->exponent;
    add_taps(&params->window, g->mantissa, weights, scratch, sums->mantissa);
    return MCT_OK;
}

static void add_block_f32(const mct_window *window, const tap_pixels *p, const weight_block *block, const float *g, float *error)
{
    float rows[MCT_DEPTH][MCT_LANES] = {{0.0f}};
    const int32_t columns = p->columns.end - p->columns.first;

    for (int32_t o = 0; o < block->outputs; o++) {
        for (int32_t i = 0; i < block->lanes; i++) {
            rows[o][i] = (float)block->weights[o * block->channel_step + i];
        }
    }
    for (int32_t row = p->rows.first; row < p->rows.end; row++) {
        const float *pixel = g + g_offset(p, row);
        float *sum = error + sum_offset(p, window, row);

        for (int32_t column = 0; column < columns; column++, pixel += p->g_step, sum += p->sum_step) {
            float scalars[MCT_DEPTH] = {0.0f};
            for (int32_t o = 0; o < block->outputs; o++) {
                scalars[o] = pixel[o];
            }
            mct_add_products_f32(sum, rows, scalars, block->lanes);
        }
    }
}

/* Taps ascending, and within a tap the output channels ascending: the stated order of each sum. */
mct_status mct_conv2d_error_f32(const mct_conv2d_gradient_params *params, const float *g, const int8_t *weights, float *error)
{
    if (!is_valid(params, g, weights, error)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    const int32_t in_channels = window->in_channels, out_channels = window->out_channels;
    const int32_t taps = window->kernel_height * window->kernel_width;
    weight_block block = {weights, taps * in_channels, 0, 0};

    for (size_t i = 0; i < mct_input_elements(window); i++) {
        error[i] = 0.0f;
    }
    for (int32_t tap = 0; tap < taps; tap++) {
        const tap_pixels pixels = pixels_of_tap(window, tap / window->kernel_width, tap % window->kernel_width);

        for (int32_t i = 0; i < in_channels; i += MCT_LANES) {
            for (int32_t o = 0; o < out_channels; o += MCT_DEPTH) {
                block.weights = weights + o * block.channel_step + tap * in_channels + i;
                block.lanes = mct_smaller_s32(MCT_LANES, in_channels - i);
                block.outputs = mct_smaller_s32(MCT_DEPTH, out_channels - o);
                add_block_f32(window, &pixels, &block, g + o, error + i);
            }
        }
    }
    return MCT_OK;
}
