/* dX of a convolution. Both forms walk tap by tap: at one tap, output pixel (oh, ow) adds g[oh][ow][:] * w[:][tap][:] to one input pixel,
 * and each input pixel is met at most once, so the sums live in the output buffer and borders and strides are only loop ranges. */
#include <string.h>

#include "backward_window.h"
#include "compiler.h"
#include "dsp.h"
#include "mcutrain/backward.h"
#include "outer_product.h"

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

enum { LANES = 4, OUTPUTS = 64 }; /* input and output channels of a block */

/* Per pair of output channels, four words: for each input channel its weights of both, the lower channel low. */
static void pack_weights(const weight_block *block, int32_t *restrict packed)
{
    const int8_t *row = block->weights;

    for (int32_t o = 0; o < block->outputs; o += 2, row += 2 * block->channel_step, packed += LANES) {
        const int8_t *next = row + block->channel_step;
        const int has_next = o + 1 < block->outputs;
        const int32_t low = block->lanes == LANES ? mct_load_word(row) : mct_load_tail_s8(row, block->lanes);
        const int32_t high = !has_next ? 0 : block->lanes == LANES ? mct_load_word(next) : mct_load_tail_s8(next, block->lanes);
        const int32_t low_even = mct_sxtb16(low), low_odd = mct_sxtb16_ror8(low);
        const int32_t high_even = mct_sxtb16(high), high_odd = mct_sxtb16_ror8(high);

        packed[0] = mct_pkhbt(low_even, high_even);
        packed[1] = mct_pkhbt(low_odd, high_odd);
        packed[2] = mct_pkhtb(high_even, low_even);
        packed[3] = mct_pkhtb(high_odd, low_odd);
    }
}

/* Pairs of neighbouring pixels share each loaded weight: eight sums in registers. */
static MCT_NOINLINE void add_pixel_pairs(int32_t pairs, const int16_t *restrict g, int32_t g_step, int32_t *restrict sum, int32_t sum_step,
                                         const int32_t *restrict packed, int32_t outputs)
{
    const int32_t *const end = packed + outputs / 2 * LANES;

    for (; pairs > 0; pairs--, g += 2 * g_step, sum += 2 * sum_step) {
        int32_t *const next = sum + sum_step;
        const int16_t *pixel = g;
        int32_t a0 = sum[0], a1 = sum[1], a2 = sum[2], a3 = sum[3];
        int32_t b0 = next[0], b1 = next[1], b2 = next[2], b3 = next[3];

        for (const int32_t *w = packed; w != end; w += LANES, pixel += 2) {
            const int32_t ga = mct_load_word(pixel), gb = mct_load_word(pixel + g_step);

            a0 = mct_smlad(ga, w[0], a0);
            b0 = mct_smlad(gb, w[0], b0);
            a1 = mct_smlad(ga, w[1], a1);
            b1 = mct_smlad(gb, w[1], b1);
            a2 = mct_smlad(ga, w[2], a2);
            b2 = mct_smlad(gb, w[2], b2);
            a3 = mct_smlad(ga, w[3], a3);
            b3 = mct_smlad(gb, w[3], b3);
        }
        if (outputs % 2 != 0) { /* the last pair's high weights are 0; what would lie beside its g may be past the buffer */
            const int32_t ga = pixel[0], gb = pixel[g_step];

            a0 = mct_smlad(ga, end[0], a0);
            b0 = mct_smlad(gb, end[0], b0);
            a1 = mct_smlad(ga, end[1], a1);
            b1 = mct_smlad(gb, end[1], b1);
            a2 = mct_smlad(ga, end[2], a2);
            b2 = mct_smlad(gb, end[2], b2);
            a3 = mct_smlad(ga, end[3], a3);
            b3 = mct_smlad(gb, end[3], b3);
        }
        sum[0] = a0;
        sum[1] = a1;
        sum[2] = a2;
        sum[3] = a3;
        next[0] = b0;
        next[1] = b1;
        next[2] = b2;
        next[3] = b3;
    }
}

/* One pixel, for what is left of a row and of the input channels. */
static void add_pixel(const int16_t *restrict g, int32_t *restrict sum, int32_t lanes, const int32_t *restrict packed, int32_t outputs)
{
    for (int32_t lane = 0; lane < lanes; lane++) {
        int32_t a = sum[lane];
        int32_t o = 0;

        for (; o + 1 < outputs; o += 2) {
            a = mct_smlad(mct_load_word(g + o), packed[o / 2 * LANES + lane], a);
        }
        if (o < outputs) {
            a = mct_smlad(g[o], packed[o / 2 * LANES + lane], a);
        }
        sum[lane] = a;
    }
}

static void add_block(const mct_window *window, const tap_pixels *p, const weight_block *block, const int16_t *g, int32_t *sums)
{
    int32_t packed[OUTPUTS / 2 * LANES];
    const int32_t columns = p->columns.end - p->columns.first;

    pack_weights(block, packed);
    for (int32_t row = p->rows.first; row < p->rows.end; row++) {
        const int16_t *pixel = g + g_offset(p, row);
        int32_t *sum = sums + sum_offset(p, window, row);
        int32_t column = 0;

        if (block->lanes == LANES) {
            add_pixel_pairs(columns / 2, pixel, p->g_step, sum, p->sum_step, packed, block->outputs);
            column = columns / 2 * 2;
            pixel += column * p->g_step;
            sum += column * p->sum_step;
        }
        for (; column < columns; column++, pixel += p->g_step, sum += p->sum_step) {
            add_pixel(pixel, sum, block->lanes, packed, block->outputs);
        }
    }
}

#else

enum { LANES = MCT_LANES, OUTPUTS = MCT_DEPTH };

static void add_block(const mct_window *window, const tap_pixels *p, const weight_block *block, const int16_t *g, int32_t *sums)
{
    int16_t rows[OUTPUTS][LANES] = {{0}};
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
            int32_t scalars[OUTPUTS] = {0};
            for (int32_t o = 0; o < block->outputs; o++) {
                scalars[o] = pixel[o];
            }
            mct_add_products_s32(sum, rows, scalars, block->lanes);
        }
    }
}

#endif

mct_status mct_conv2d_error_b16(const mct_conv2d_gradient_params *params, const mct_b16 *g, const int8_t *weights, mct_b32 *sums)
{
    if (!is_valid(params, g, weights, sums)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    const int32_t in_channels = window->in_channels, out_channels = window->out_channels;
    const int32_t taps = window->kernel_height * window->kernel_width;
    weight_block block = {weights, taps * in_channels, 0, 0};

    sums->exponent = g->exponent;
    memset(sums->mantissa, 0, mct_input_elements(window) * sizeof sums->mantissa[0]);
    for (int32_t tap = 0; tap < taps; tap++) {
        const tap_pixels pixels = pixels_of_tap(window, tap / window->kernel_width, tap % window->kernel_width);

        for (int32_t i = 0; i < in_channels; i += LANES) {
            for (int32_t o = 0; o < out_channels; o += OUTPUTS) {
                block.weights = weights + o * block.channel_step + tap * in_channels + i;
                block.lanes = mct_smaller_s32(LANES, in_channels - i);
                block.outputs = mct_smaller_s32(OUTPUTS, out_channels - o);
                add_block(window, &pixels, &block, g->mantissa + o, sums->mantissa + i);
            }
        }
    }
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
