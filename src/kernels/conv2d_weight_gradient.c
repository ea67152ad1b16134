/* dW of a convolution. Both forms walk tap by tap: at one tap, dW[:][tap][:] is the sum over output pixels of the outer product of
 * g[oh][ow][:] and the one input pixel that the tap reads, so borders and strides are only loop ranges. */
#include <string.h>

#include "backward_window.h"
#include "compiler.h"
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

enum { LANES = 4, PIXELS = 64 }; /* input channels and output pixels of a block */

/* Consecutive output pixels, and for each pair of them four words: of each input channel the two values x - zero_point that a tap reads,
 * the first pixel low. Where the tap lies outside the image the value is 0; so is the last high one of an odd number of pixels. */
typedef struct {
    _Alignas(4) int16_t values[PIXELS / 2][LANES][2];
    int32_t pixels, lanes;
} pixel_block;

static inline void store_pixel(pixel_block *block, int32_t pixel, int32_t even, int32_t odd)
{
    int16_t(*const values)[2] = block->values[pixel / 2];

    values[0][pixel % 2] = (int16_t)even;
    values[1][pixel % 2] = (int16_t)odd;
    values[2][pixel % 2] = (int16_t)(even >> 16);
    values[3][pixel % 2] = (int16_t)(odd >> 16);
}

/* Gather the tap's inputs for block->pixels output pixels from column `column` of row `row` on. x begins at the block's first channel. */
static void gather(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, int32_t row, int32_t column,
                   const int8_t *x, pixel_block *block)
{
    const mct_window *const window = &params->window;
    const int32_t zero_points = mct_pkhbt(params->input_zero_point, params->input_zero_point);
    const int32_t x_step = window->stride_width * window->in_channels;
    int32_t pixel = 0;

    for (; pixel < block->pixels; row++, column = 0) {
        const int32_t end = mct_smaller_s32(window->out_width, column + block->pixels - pixel);
        const int8_t *x_pixel = x + x_offset(window, rows, columns, row) + (column - columns.first) * x_step;

        for (; column < end; column++, pixel++, x_pixel += x_step) {
            if (column < columns.first || column >= columns.end) {
                store_pixel(block, pixel, 0, 0);
            } else {
                const int32_t word = block->lanes == LANES ? mct_load_word(x_pixel) : mct_load_tail_s8(x_pixel, block->lanes);
                store_pixel(block, pixel, mct_ssub16(mct_sxtb16(word), zero_points), mct_ssub16(mct_sxtb16_ror8(word), zero_points));
            }
        }
    }
    if (pixel % 2 != 0) {
        store_pixel(block, pixel, 0, 0);
    }
}

/* Gradients of pairs of output channels by four input channels: eight sums in registers. */
static MCT_NOINLINE void add_output_pairs(int32_t pairs, const pixel_block *block, const int16_t *restrict g, int32_t g_step,
                                          int32_t *restrict gradient, int32_t output_step)
{
    const int32_t pixels = block->pixels;

    for (; pairs > 0; pairs--, g += 2, gradient += 2 * output_step) {
        int32_t *const next = gradient + output_step;
        const int16_t *pixel = g;
        const int16_t(*x)[LANES][2] = block->values;
        int32_t a0 = gradient[0], a1 = gradient[1], a2 = gradient[2], a3 = gradient[3];
        int32_t b0 = next[0], b1 = next[1], b2 = next[2], b3 = next[3];

        for (const int16_t(*const end)[LANES][2] = x + pixels / 2; x != end; x++, pixel += 2 * g_step) {
            const int32_t left = mct_load_word(pixel), right = mct_load_word(pixel + g_step);
            const int32_t ga = mct_pkhbt(left, right), gb = mct_pkhtb(right, left);
            int32_t both = mct_load_word((*x)[0]);

            a0 = mct_smlad(ga, both, a0);
            b0 = mct_smlad(gb, both, b0);
            MCT_LOAD_FENCE();
            both = mct_load_word((*x)[1]);
            a1 = mct_smlad(ga, both, a1);
            b1 = mct_smlad(gb, both, b1);
            MCT_LOAD_FENCE();
            both = mct_load_word((*x)[2]);
            a2 = mct_smlad(ga, both, a2);
            b2 = mct_smlad(gb, both, b2);
            MCT_LOAD_FENCE();
            both = mct_load_word((*x)[3]);
            a3 = mct_smlad(ga, both, a3);
            b3 = mct_smlad(gb, both, b3);
        }
        if (pixels % 2 != 0) {
            a0 += pixel[0] * (*x)[0][0];
            b0 += pixel[1] * (*x)[0][0];
            a1 += pixel[0] * (*x)[1][0];
            b1 += pixel[1] * (*x)[1][0];
            a2 += pixel[0] * (*x)[2][0];
            b2 += pixel[1] * (*x)[2][0];
            a3 += pixel[0] * (*x)[3][0];
            b3 += pixel[1] * (*x)[3][0];
        }
        gradient[0] = a0;
        gradient[1] = a1;
        gradient[2] = a2;
        gradient[3] = a3;
        next[0] = b0;
        next[1] = b1;
        next[2] = b2;
        next[3] = b3;
    }
}

/* Gradients of one output channel, for the last of an odd number. */
static void add_output(const pixel_block *block, const int16_t *g, int32_t g_step, int32_t *gradient)
{
    for (int32_t lane = 0; lane < block->lanes; lane++) {
        const int16_t *pixel = g;
        int32_t sum = gradient[lane];

        for (int32_t p = 0; p < block->pixels; p++, pixel += g_step) {
            sum += *pixel * block->values[p / 2][lane][p % 2];
        }
        gradient[lane] = sum;
    }
}

static void add_block(const pixel_block *block, const int16_t *g, int32_t channels, int32_t *gradient, int32_t output_step)
{
    const int32_t pairs = channels / 2;

    if (block->lanes == LANES) {
        add_output_pairs(pairs, block, g, channels, gradient, output_step);
    } else {
        for (int32_t o = 0; o < 2 * pairs; o += 2) { /* four sums each all the same, of which `lanes` count */
            int32_t sums[2][LANES] = {{0}};

            add_output_pairs(1, block, g + o, channels, sums[0], LANES);
            for (int32_t lane = 0; lane < block->lanes; lane++) {
                gradient[o * output_step + lane] += sums[0][lane];
                gradient[(o + 1) * output_step + lane] += sums[1][lane];
            }
        }
    }
    if (channels % 2 != 0) {
        add_output(block, g + channels - 1, channels, gradient + (channels - 1) * output_step);
    }
}

static void add_tap(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, const int8_t *x, const int16_t *g,
                    int32_t *gradient, int32_t output_step)
{
    const mct_window *const window = &params->window;
    const int32_t width = window->out_width, channels = window->out_channels, end = rows.end * width;
    pixel_block block;

    for (int32_t pixel = rows.first * width; pixel < end; pixel += block.pixels) {
        block.pixels = mct_smaller_s32(PIXELS, end - pixel);
        for (int32_t i = 0; i < window->in_channels; i += LANES) {
            block.lanes = mct_smaller_s32(LANES, window->in_channels - i);
            gather(params, rows, columns, pixel / width, pixel % width, x + i, &block);
            add_block(&block, g + (size_t)pixel * (size_t)channels, channels, gradient + i, output_step);
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
static void add_tap_f32(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, const int8_t *x,
                        const float *g, float *gradient, int32_t output_step)
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
