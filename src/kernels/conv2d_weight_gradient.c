/* dW of a convolution. Both forms walk tap by tap: at one tap, dW[:][tap][:] is the sum over output pixels of the outer product of
 * g[oh][ow][:] and the one input pixel that the tap reads, so borders and strides are only loop ranges. */
#include <string.h>

#include "backward_window.h"
#include "dsp.h"
#include "mcutrain/backward.h"
#include "outer_product.h"

static int is_valid(const mct_conv2d_gradient_params *params, const void *x, const void *g, const void *gradient)
{
    return params != NULL && x != NULL && g != NULL && gradient != NULL && mct_window_valid(&params->window) &&
           params->input_zero_point >= INT8_MIN && params->input_zero_point <= INT8_MAX;
}

static size_t weight_elements(const mct_window *window)
{
    return (size_t)window->out_channels * (size_t)(window->kernel_height * window->kernel_width) * (size_t)window->in_channels;
}

/* First input and output element that a tap joins in output row `row`. */
static inline size_t x_offset(const mct_window *window, mct_tap_range rows, mct_tap_range columns, int32_t row)
{
    const int32_t input_row = rows.input + (row - rows.first) * window->stride_height;

    return ((size_t)input_row * (size_t)window->in_width + (size_t)columns.input) * (size_t)window->in_channels;
}

static inline size_t g_offset(const mct_window *window, mct_tap_range columns, int32_t row)
{
    return ((size_t)row * (size_t)window->out_width + (size_t)columns.first) * (size_t)window->out_channels;
}

#if MCT_DSP

enum { LANES = 4, PAIRS = 32 }; /* input channels and pixel pairs of a block */

/* A block of pixels: `rows` rows of `columns`, and for each row's pixel pairs four words, each the two values x - zero_point of an input
 * channel, the left pixel low; an odd row's last right value is 0. */
typedef struct {
    int32_t packed[PAIRS * LANES];
    int32_t rows, columns, lanes;
} pixel_block;

static inline int32_t load_lanes(const int8_t *x, int32_t lanes) { return lanes == LANES ? mct_load_word(x) : mct_load_tail_s8(x, lanes); }

static void pack_row(const int8_t *x, int32_t x_step, int32_t zero_points, const pixel_block *block, int32_t *restrict packed)
{
    for (int32_t column = 0; column < block->columns; column += 2, x += 2 * x_step, packed += LANES) {
        const int32_t left = load_lanes(x, block->lanes);
        const int32_t left_even = mct_ssub16(mct_sxtb16(left), zero_points), left_odd = mct_ssub16(mct_sxtb16_ror8(left), zero_points);
        int32_t right_even = 0, right_odd = 0;

        if (column + 1 < block->columns) {
            const int32_t right = load_lanes(x + x_step, block->lanes);
            right_even = mct_ssub16(mct_sxtb16(right), zero_points);
            right_odd = mct_ssub16(mct_sxtb16_ror8(right), zero_points);
        }
        packed[0] = mct_pkhbt(left_even, right_even);
        packed[1] = mct_pkhbt(left_odd, right_odd);
        packed[2] = mct_pkhtb(right_even, left_even);
        packed[3] = mct_pkhtb(right_odd, left_odd);
    }
}

/* Gradients of two output channels, low and high, by four input channels. The sums are scalars so that they stay in registers. */
static void add_two_outputs(const pixel_block *block, const int16_t *restrict g, int32_t g_row, int32_t g_step, int32_t *restrict low,
                            int32_t *restrict high)
{
    const int32_t *restrict x = block->packed;
    int32_t a0 = low[0], a1 = low[1], a2 = low[2], a3 = low[3];
    int32_t b0 = high[0], b1 = high[1], b2 = high[2], b3 = high[3];

    for (int32_t row = 0; row < block->rows; row++, g += g_row) {
        const int16_t *pixel = g;

        for (const int32_t *end = x + block->columns / 2 * LANES; x != end; x += LANES, pixel += 2 * g_step) {
            const int32_t left = mct_load_word(pixel), right = mct_load_word(pixel + g_step);
            const int32_t g_low = mct_pkhbt(left, right), g_high = mct_pkhtb(right, left);

            a0 = mct_smlad(g_low, x[0], a0);
            b0 = mct_smlad(g_high, x[0], b0);
            a1 = mct_smlad(g_low, x[1], a1);
            b1 = mct_smlad(g_high, x[1], b1);
            a2 = mct_smlad(g_low, x[2], a2);
            b2 = mct_smlad(g_high, x[2], b2);
            a3 = mct_smlad(g_low, x[3], a3);
            b3 = mct_smlad(g_high, x[3], b3);
        }
        if (block->columns % 2 != 0) { /* x is 0 on the right */
            const int32_t g_low = pixel[0], g_high = pixel[1];

            a0 = mct_smlad(g_low, x[0], a0);
            b0 = mct_smlad(g_high, x[0], b0);
            a1 = mct_smlad(g_low, x[1], a1);
            b1 = mct_smlad(g_high, x[1], b1);
            a2 = mct_smlad(g_low, x[2], a2);
            b2 = mct_smlad(g_high, x[2], b2);
            a3 = mct_smlad(g_low, x[3], a3);
            b3 = mct_smlad(g_high, x[3], b3);
            x += LANES;
        }
    }
    low[0] = a0;
    low[1] = a1;
    low[2] = a2;
    low[3] = a3;
    high[0] = b0;
    high[1] = b1;
    high[2] = b2;
    high[3] = b3;
}

/* Gradients of one output channel, for the last of an odd number, and where fewer than four input channels are left. */
static void add_output(const pixel_block *block, const int16_t *g, int32_t g_row, int32_t g_step, int32_t *restrict gradient)
{
    const int32_t *restrict x = block->packed;

    for (int32_t row = 0; row < block->rows; row++, g += g_row) {
        const int16_t *pixel = g;

        for (int32_t column = block->columns; column > 0; column -= 2, pixel += 2 * g_step, x += LANES) {
            const int32_t pair = column > 1 ? mct_pkhbt(pixel[0], pixel[g_step]) : pixel[0];

            for (int32_t lane = 0; lane < block->lanes; lane++) {
                gradient[lane] = mct_smlad(pair, x[lane], gradient[lane]);
            }
        }
    }
}

static void add_tap(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, const int8_t *x, const int16_t *g,
                    int32_t *gradient, int32_t output_step)
{
    const mct_window *const window = &params->window;
    const int32_t g_row = window->out_width * window->out_channels, g_step = window->out_channels;
    const int32_t x_step = window->stride_width * window->in_channels;
    const int32_t zero_points = mct_pkhbt(params->input_zero_point, params->input_zero_point);
    pixel_block block;

    /* As many whole rows as the block holds, or a part of one. */
    const int32_t width = mct_smaller_s32(columns.end - columns.first, 2 * PAIRS);
    const int32_t row_words = (width + 1) / 2 * LANES, height = PAIRS * LANES / row_words;

    for (int32_t row = rows.first; row < rows.end; row += block.rows) {
        block.rows = columns.end - columns.first > width ? 1 : mct_smaller_s32(height, rows.end - row);
        for (int32_t column = 0; column < columns.end - columns.first; column += block.columns) {
            block.columns = mct_smaller_s32(width, columns.end - columns.first - column);
            for (int32_t i = 0; i < window->in_channels; i += LANES) {
                block.lanes = mct_smaller_s32(LANES, window->in_channels - i);
                for (int32_t r = 0; r < block.rows; r++) {
                    const int8_t *start = x + x_offset(window, rows, columns, row + r) + column * x_step + i;
                    pack_row(start, x_step, zero_points, &block, block.packed + r * row_words);
                }
                const int16_t *pixel = g + g_offset(window, columns, row) + column * g_step;
                int32_t *out = gradient + i;
                int32_t o = 0;
                if (block.lanes == LANES) {
                    for (; o + 1 < window->out_channels; o += 2, out += 2 * output_step) {
                        add_two_outputs(&block, pixel + o, g_row, g_step, out, out + output_step);
                    }
                }
                for (; o < window->out_channels; o++, out += output_step) {
                    add_output(&block, pixel + o, g_row, g_step, out);
                }
            }
        }
    }
}

#else

static void add_tap(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, const int8_t *x, const int16_t *g,
                    int32_t *gradient, int32_t output_step)
{
    const mct_window *const window = &params->window;
    const int32_t in_channels = window->in_channels, out_channels = window->out_channels;
    const int32_t x_step = window->stride_width * in_channels, width = columns.end - columns.first;

    for (int32_t i = 0; i < in_channels; i += MCT_LANES) {
        const int32_t lanes = mct_smaller_s32(MCT_LANES, in_channels - i);

        for (int32_t row = rows.first; row < rows.end; row++) {
            const int8_t *x_pixel = x + x_offset(window, rows, columns, row) + i;
            const int16_t *g_pixel = g + g_offset(window, columns, row);

            for (int32_t column = 0; column < width; column += MCT_DEPTH, g_pixel += MCT_DEPTH * out_channels) {
                const int32_t depth = mct_smaller_s32(MCT_DEPTH, width - column);
                int16_t values[MCT_DEPTH][MCT_LANES] = {{0}};

                for (int32_t p = 0; p < depth; p++, x_pixel += x_step) {
                    for (int32_t lane = 0; lane < lanes; lane++) {
                        values[p][lane] = (int16_t)(x_pixel[lane] - params->input_zero_point);
                    }
                }
                for (int32_t o = 0; o < out_channels; o++) {
                    int32_t scalars[MCT_DEPTH] = {0};
                    for (int32_t p = 0; p < depth; p++) {
                        scalars[p] = g_pixel[p * out_channels + o];
                    }
                    mct_add_products_s32(gradient + o * output_step + i, values, scalars, lanes);
                }
            }
        }
    }
}

#endif

mct_status mct_conv2d_weight_gradient_b16(const mct_conv2d_gradient_params *params, const int8_t *x, const mct_b16 *g, mct_b32 *gradient)
{
    if (!is_valid(params, x, g, gradient)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    const int32_t taps = window->kernel_height * window->kernel_width;

    gradient->exponent = g->exponent;
    memset(gradient->mantissa, 0, weight_elements(window) * sizeof gradient->mantissa[0]);
    for (int32_t tap = 0; tap < taps; tap++) {
        const mct_tap_range rows = mct_tap_rows(window, tap / window->kernel_width);
        const mct_tap_range columns = mct_tap_columns(window, tap % window->kernel_width);

        if (columns.end > columns.first) {
            add_tap(params, rows, columns, x, g->mantissa, gradient->mantissa + tap * window->in_channels, taps * window->in_channels);
        }
    }
    return MCT_OK;
}

/* Rows, then columns ascending: the stated order of each sum. */
static void add_tap_f32(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, const int8_t *x, const float *g,
                        float *gradient, int32_t output_step)
{
    const mct_window *const window = &params->window;
    const int32_t in_channels = window->in_channels, out_channels = window->out_channels;
    const int32_t x_step = window->stride_width * in_channels, width = columns.end - columns.first;

    for (int32_t i = 0; i < in_channels; i += MCT_LANES) {
        const int32_t lanes = mct_smaller_s32(MCT_LANES, in_channels - i);

        for (int32_t row = rows.first; row < rows.end; row++) {
            const int8_t *x_pixel = x + x_offset(window, rows, columns, row) + i;
            const float *g_pixel = g + g_offset(window, columns, row);

            for (int32_t column = 0; column < width; column += MCT_DEPTH, g_pixel += MCT_DEPTH * out_channels) {
                const int32_t depth = mct_smaller_s32(MCT_DEPTH, width - column);
                float values[MCT_DEPTH][MCT_LANES] = {{0.0f}};

                for (int32_t p = 0; p < depth; p++, x_pixel += x_step) {
                    for (int32_t lane = 0; lane < lanes; lane++) {
                        values[p][lane] = (float)(x_pixel[lane] - params->input_zero_point);
                    }
                }
                for (int32_t o = 0; o < out_channels; o++) {
                    float scalars[MCT_DEPTH] = {0.0f};
                    for (int32_t p = 0; p < depth; p++) {
                        scalars[p] = g_pixel[p * out_channels + o];
                    }
                    mct_add_products_f32(gradient + o * output_step + i, values, scalars, lanes);
                }
            }
        }
    }
}

mct_status mct_conv2d_weight_gradient_f32(const mct_conv2d_gradient_params *params, const int8_t *x, const float *g, float *gradient)
{
    if (!is_valid(params, x, g, gradient)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    const int32_t taps = window->kernel_height * window->kernel_width;

    for (size_t i = 0; i < weight_elements(window); i++) {
        gradient[i] = 0.0f;
    }
    for (int32_t tap = 0; tap < taps; tap++) {
        const mct_tap_range rows = mct_tap_rows(window, tap / window->kernel_width);
        const mct_tap_range columns = mct_tap_columns(window, tap % window->kernel_width);

        add_tap_f32(params, rows, columns, x, g, gradient + tap * window->in_channels, taps * window->in_channels);
    }
    return MCT_OK;
}
