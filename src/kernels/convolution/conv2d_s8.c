/* conv2d and fully connected. The DSP form takes most layers by quads of pixels (conv2d_quads.h) and fully connected ones pixel by pixel
 * (conv2d_pixel.h). The portable form, and in the DSP form what is left - filters too long for quads, sums too large for the short
 * roundings - gathers a few windows as int16 and goes by blocks of these by two channels, each finished in place. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include <string.h>

#include "kernels/common/requantize.h"
#include "kernels/convolution/conv2d_pixel.h"
#include "kernels/convolution/conv2d_quads.h"
#include "kernels/convolution/dot_2x3.h"
#include "kernels/convolution/gather_window.h"

/* What either way takes: quads, or rows as int16 and, where pixels are not whole words, one as bytes. */
static size_t rows_scratch_bytes(const mct_conv2d_s8_params *params)
{
    const mct_window *w = &params->window;
    const size_t rows = w->out_height * w->out_width < MCT_BLOCK_PIXELS ? 1 : MCT_BLOCK_PIXELS;
    const size_t bytes = w->in_channels % 4 == 0 ? 0 : 1;

    return (rows * sizeof(int16_t) + bytes) * (size_t)mct_gathered_taps(w);
}

size_t mct_conv2d_s8_scratch_bytes(const mct_conv2d_s8_params *params)
{
    const size_t rows_bytes = rows_scratch_bytes(params), quads_bytes = mct_quads_scratch_bytes(&params->window);

    return rows_bytes > quads_bytes ? rows_bytes : quads_bytes;
}

#if MCT_DSP

/* Gathered windows are interleaved (dot_2x3.h), and one has another distance than three. */
static MCT_NOINLINE void gather_one(const mct_conv2d_s8_params *params, const int8_t *x, int32_t row, int32_t column, int8_t *bytes,
                                    int32_t *words)
{
    mct_gather_window(params, x, row, column, bytes, 1, words);
}

static MCT_NOINLINE void gather_one_of_three(const mct_conv2d_s8_params *params, const int8_t *x, int32_t row, int32_t column,
                                             int8_t *bytes, int32_t *words)
{
    mct_gather_window(params, x, row, column, bytes, MCT_BLOCK_PIXELS, words);
}

/* Gather `pixels` windows, 1 or MCT_BLOCK_PIXELS, from output pixel `first` on. */
static void gather_block(const mct_conv2d_s8_params *params, const int8_t *x, int32_t first, int32_t pixels, void *scratch)
{
    const int32_t width = params->window.out_width;
    int32_t *const words = scratch;
    int8_t *const bytes = (int8_t *)scratch + (rows_scratch_bytes(params) - (size_t)mct_gathered_taps(&params->window));

    if (pixels == 1) {
        gather_one(params, x, first / width, first % width, bytes, words);
        return;
    }
    for (int32_t p = 0; p < MCT_BLOCK_PIXELS; p++) {
        gather_one_of_three(params, x, (first + p) / width, (first + p) % width, bytes, words + p);
    }
}

/* sums[channel][pixel] += four taps of one filter each, for all of `pixels`. */
static inline void multiply_word(int32_t w0, int32_t w1, const int32_t *words, int32_t pixels,
                                 int32_t sums[MCT_BLOCK_CHANNELS][MCT_BLOCK_PIXELS])
{
    const int32_t even_0 = mct_sxtb16(w0), odd_0 = mct_sxtb16_ror8(w0), even_1 = mct_sxtb16(w1), odd_1 = mct_sxtb16_ror8(w1);

    for (int32_t p = 0; p < pixels; p++) {
        const int32_t even = words[p], odd = words[pixels + p];

        sums[0][p] = mct_smlad(odd, odd_0, mct_smlad(even, even_0, sums[0][p]));
        sums[1][p] = mct_smlad(odd, odd_1, mct_smlad(even, even_1, sums[1][p]));
    }
}

/* A last pixel alone. */
static void dot_2x1(const int32_t *words, const int8_t *filter_0, const int8_t *filter_1, const int8_t *end,
                    int32_t sums[MCT_BLOCK_CHANNELS][MCT_BLOCK_PIXELS])
{
    int32_t s0 = sums[0][0], s1 = sums[1][0];

    for (; filter_0 != end; filter_0 += 4, filter_1 += 4, words += 2) {
        const int32_t w0 = mct_load_word(filter_0), w1 = mct_load_word(filter_1), even = words[0], odd = words[1];

        s0 = mct_smlad(odd, mct_sxtb16_ror8(w0), mct_smlad(even, mct_sxtb16(w0), s0));
        s1 = mct_smlad(odd, mct_sxtb16_ror8(w1), mct_smlad(even, mct_sxtb16(w1), s1));
    }
    sums[0][0] = s0;
    sums[1][0] = s1;
}

/* sums += the gathered block times two filters. Behind a filter that does not end with a word comes the next one, for the taps of the
 * gathered rows that are 0; behind the last one (is_last) nothing may be read. */
static void dot(const void *scratch, int32_t pixels, const int8_t *filter_0, const int8_t *filter_1, int32_t taps, bool is_last,
                mct_dot_2x3_block *block)
{
    const int32_t tail = is_last || taps < 2 ? taps % 4 : 0; /* the next single tap would not fill a word */
    const int32_t whole = tail != 0 ? taps - tail : (taps + 3) / 4 * 4;
    const int32_t *const words = scratch;

    if (whole > 0 && pixels == 1) {
        dot_2x1(words, filter_0, filter_1, filter_0 + whole, block->sums);
    } else if (whole > 0) {
        block->end = filter_0 + whole;
        mct_dot_2x3(words, filter_0, filter_1, block);
    }
    if (tail != 0) {
        const int32_t w0 = mct_load_tail_s8(filter_0 + whole, tail), w1 = mct_load_tail_s8(filter_1 + whole, tail);

        multiply_word(w0, w1, words + whole / 2 * pixels, pixels, block->sums);
    }
}

#else

static void gather(const mct_conv2d_s8_params *params, const int8_t *x, mct_taps rows, mct_taps columns, int16_t *row)
{
    const mct_window *w = &params->window;
    const int32_t run = (columns.end - columns.begin) * w->in_channels;
    const int32_t zero_point = params->input_zero_point;

    if (run * (rows.end - rows.begin) < mct_window_taps(w)) {
        memset(row, 0, (size_t)mct_window_taps(w) * sizeof *row);
    }
    for (int32_t k = rows.begin; k < rows.end; k++) {
        const int32_t pixel = (rows.origin + k) * w->in_width + columns.origin + columns.begin;
        const int8_t *restrict source = x + (size_t)pixel * (size_t)w->in_channels;
        int16_t *restrict target = row + (k * w->kernel_width + columns.begin) * w->in_channels;

        for (int32_t i = 0; i < run; i++) {
            target[i] = (int16_t)(source[i] - zero_point);
        }
    }
}

/* Gather `pixels` windows, 1 or MCT_BLOCK_PIXELS, from output pixel `first` on, one behind the other. */
static void gather_block(const mct_conv2d_s8_params *params, const int8_t *x, int32_t first, int32_t pixels, void *scratch)
{
    const mct_window *w = &params->window;

    for (int32_t p = 0; p < pixels; p++) {
        const int32_t row = (first + p) / w->out_width, column = (first + p) % w->out_width;

        gather(params, x, mct_rows_at(w, row), mct_columns_at(w, column), (int16_t *)scratch + p * mct_window_taps(w));
    }
}

/* sums += the gathered block times two filters. A last pixel alone stands in for the two others. */
static void dot(const void *scratch, int32_t pixels, const int8_t *restrict filter_0, const int8_t *restrict filter_1, int32_t taps,
                bool is_last, mct_dot_2x3_block *block)
{
    const int16_t *const row_0 = scratch;
    const int16_t *const row_1 = pixels == 1 ? row_0 : row_0 + taps;
    const int16_t *const row_2 = pixels == 1 ? row_0 : row_0 + 2 * taps;
    int32_t s00 = block->sums[0][0], s01 = block->sums[0][1], s02 = block->sums[0][2];
    int32_t s10 = block->sums[1][0], s11 = block->sums[1][1], s12 = block->sums[1][2];

    (void)is_last;
    for (int32_t i = 0; i < taps; i++) {
        const int16_t w0 = filter_0[i], w1 = filter_1[i];

        s00 += row_0[i] * w0;
        s01 += row_1[i] * w0;
        s02 += row_2[i] * w0;
        s10 += row_0[i] * w1;
        s11 += row_1[i] * w1;
        s12 += row_2[i] * w1;
    }
    const mct_dot_2x3_block result = {{{s00, s01, s02}, {s10, s11, s12}}, NULL};
    *block = result;
}

#endif

static MCT_NOINLINE bool valid(const mct_conv2d_s8_params *params, const int32_t *multiplier, const int32_t *shift)
{
    if (!mct_window_valid(&params->window) || !mct_code_valid(params->input_zero_point) ||
        (params->single_rounding != 0 && params->single_rounding != 1) ||
        !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max)) {
        return false;
    }
    uint32_t signs = 0; /* of what has to be 0 or more (mct_multiplier_valid), all at once: a small layer would notice the branches */
    for (const int32_t *const end = shift + params->window.out_channels; shift != end; shift++, multiplier++) {
        const uint32_t exponent = (uint32_t)*shift;

        signs |= (uint32_t)*multiplier | (exponent + 31u) | (30u - exponent);
    }
    return signs >> 31 == 0;
}

/* What finishing an output takes besides its sum and its channel's numbers. */
typedef struct {
    const mct_conv2d_s8_params *params;
    const int32_t *multiplier, *shift;
    int8_t *y;
    uint32_t *inside;
    mct_clamp clamp;
    bool is_small; /* every sum and scale (mct_is_preparable) */
} finish_context;

/* Whether no sum can leave the range of the short roundings, whatever the input. */
static MCT_NOINLINE bool sums_are_small(const mct_conv2d_s8_params *params, const int32_t *bias, const int32_t *multiplier,
                                        const int32_t *shift)
{
    const int32_t zero_point = params->input_zero_point;
    const int64_t products = (int64_t)mct_window_taps(&params->window) * 128 * (zero_point > 0 ? zero_point + 128 : 127 - zero_point + 1);

    if (params->single_rounding != 0) {
        return false;
    }
    for (int32_t c = 0; c < params->window.out_channels; c++) {
        if (!mct_is_preparable(products + (bias[c] < 0 ? -(int64_t)bias[c] : bias[c]), multiplier[c], shift[c])) {
            return false;
        }
    }
    return true;
}

static MCT_NOINLINE void finish(const finish_context *f, int32_t pixel, int32_t pixels, int32_t channel, int32_t filters,
                                const mct_dot_2x3_block *block)
{
    const int32_t channels = f->params->window.out_channels;

    for (int32_t c = channel; c < channel + filters; c++) {
        const int32_t multiplier = f->multiplier[c], shift = f->shift[c];

        for (int32_t p = 0; p < pixels; p++) {
            const int32_t sum = block->sums[c - channel][p];
            const size_t i = (size_t)(pixel + p) * (size_t)channels + (size_t)c;
            const int32_t value = f->is_small                       ? mct_requantise_prepared(sum, mct_prepare_scale(multiplier, shift), 0)
                                  : f->params->single_rounding != 0 ? mct_requantise_once(sum, multiplier, shift)
                                                                    : mct_requantise(sum, multiplier, shift);
            const uint32_t bit = mct_store_code(value, &f->clamp, &f->y[i]);

            if (f->inside != NULL) {
                f->inside[i / 32] |= bit << (i % 32);
            }
        }
    }
}

/* finish for two channels, of an even number, of small sums with a mask: both bits of a pixel at once. */
static MCT_NOINLINE void finish_masked(const finish_context *f, int32_t pixel, int32_t pixels, int32_t channel,
                                       const mct_dot_2x3_block *block)
{
    const int32_t channels = f->params->window.out_channels;
    const int32_t low = f->params->clamp_min, high = f->params->clamp_max, zero_point = f->params->output_zero_point;
    const mct_prepared_scale scale_0 = mct_prepare_scale(f->multiplier[channel], f->shift[channel]);
    const mct_prepared_scale scale_1 = mct_prepare_scale(f->multiplier[channel + 1], f->shift[channel + 1]);
    size_t i = (size_t)pixel * (size_t)channels + (size_t)channel;

    for (int32_t p = 0; p < pixels; p++, i += (size_t)channels) {
        const int32_t code_0 = mct_requantise_prepared(block->sums[0][p], scale_0, zero_point);
        const int32_t code_1 = mct_requantise_prepared(block->sums[1][p], scale_1, zero_point);
        const int32_t clamped_0 = mct_clamp_s32(code_0, low, high), clamped_1 = mct_clamp_s32(code_1, low, high);
        const uint32_t bits = (uint32_t)(clamped_0 == code_0) | (uint32_t)(clamped_1 == code_1) << 1;

        f->y[i] = (int8_t)clamped_0;
        f->y[i + 1] = (int8_t)clamped_1;
        f->inside[i / 32] |= bits << (i % 32);
    }
}

#if MCT_DSP

/* A whole block of small sums without a mask, most of an inference: the channels that have a partner, and may read behind their filters.
 * Returns how many these are. */
static MCT_NOINLINE int32_t convolve_block(const finish_context *f, const int8_t *weights, const int32_t *bias, const void *scratch,
                                           int32_t pixel)
{
    const mct_conv2d_s8_params *const p = f->params;
    const int32_t taps = mct_window_taps(&p->window), channels = p->window.out_channels;
    const int32_t pairs = (taps % 4 == 0 ? channels : channels - 1) / MCT_BLOCK_CHANNELS;
    const int32_t whole = mct_gathered_taps(&p->window), skip = -whole & 12;
    mct_convolve_2x3_task task = {
        .filter = weights - skip - 4,
        .filter_bytes = taps,
        .round_bytes = whole + skip,
        .skip_bytes = skip,
        .bias = bias,
        .pixels = (const int32_t *)scratch - skip / 4 * 2 * MCT_BLOCK_PIXELS - 1,
        .multiplier = f->multiplier,
        .shift = f->shift,
        .zero_point = p->output_zero_point,
        .y = f->y + (size_t)pixel * (size_t)channels,
        .channels = channels,
        .low = p->clamp_min,
        .high = p->clamp_max,
        .is_clamped = p->clamp_min > INT8_MIN || p->clamp_max < INT8_MAX,
        .pairs = pairs,
    };

    if (pairs > 0) {
        mct_convolve_2x3(&task);
    }
    return pairs * MCT_BLOCK_CHANNELS;
}

#else

/* Only the DSP form has this shorter way. */
static int32_t convolve_block(const finish_context *f, const int8_t *weights, const int32_t *bias, const void *scratch, int32_t pixel)
{
    (void)f, (void)weights, (void)bias, (void)scratch, (void)pixel;
    return 0;
}

#endif

/* A layer by blocks of pixels and channels, whatever its sums. */
static MCT_NOINLINE void convolve_blocks(const mct_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                                         const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside,
                                         bool is_small)
{
    const mct_window *w = &params->window;
    const int32_t taps = mct_window_taps(w), channels = w->out_channels, pixels = w->out_height * w->out_width;
    const finish_context f = {
        params, multiplier, shift, y, inside, mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max), is_small,
    };

    for (int32_t pixel = 0, block_pixels; pixel < pixels; pixel += block_pixels) {
        block_pixels = pixels - pixel < MCT_BLOCK_PIXELS ? 1 : MCT_BLOCK_PIXELS;
        gather_block(params, x, pixel, block_pixels, scratch);
        const int32_t done =
            block_pixels == MCT_BLOCK_PIXELS && f.is_small && inside == NULL ? convolve_block(&f, weights, bias, scratch, pixel) : 0;

        for (int32_t channel = done; channel < channels; channel += MCT_BLOCK_CHANNELS) {
            /* A last single channel is computed twice and stored once. */
            const int32_t filters = channels - channel < MCT_BLOCK_CHANNELS ? 1 : MCT_BLOCK_CHANNELS;
            const int8_t *const filter_0 = weights + (size_t)channel * (size_t)taps;
            const int32_t bias_0 = bias[channel], bias_1 = bias[channel + filters - 1];
            mct_dot_2x3_block block = {{{bias_0, bias_0, bias_0}, {bias_1, bias_1, bias_1}}, NULL};

            dot(scratch, block_pixels, filter_0, filter_0 + (filters - 1) * taps, taps, channel + MCT_BLOCK_CHANNELS >= channels, &block);
            if (f.is_small && inside != NULL && channels % MCT_BLOCK_CHANNELS == 0) {
                finish_masked(&f, pixel, block_pixels, channel, &block);
            } else {
                finish(&f, pixel, block_pixels, channel, filters, &block);
            }
        }
    }
}

mct_status mct_conv2d_s8(const mct_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                         const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside)
{
    if (params == NULL || x == NULL || weights == NULL || bias == NULL || multiplier == NULL || shift == NULL || scratch == NULL ||
        (uintptr_t)scratch % 4 != 0 || y == NULL || !valid(params, multiplier, shift)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *w = &params->window;

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)(w->out_height * w->out_width) * (size_t)w->out_channels) * sizeof *inside);
    }
#if MCT_DSP
    if (mct_takes_pixels(w)) {
        const mct_pixels q = {params, weights, bias, multiplier, shift, scratch, y, inside};

        mct_conv2d_pixels(&q, x);
        return MCT_OK;
    }
#endif
    const bool is_small = sums_are_small(params, bias, multiplier, shift);
#if MCT_DSP
    if (is_small && mct_quads_pixels(w) > 0) {
        mct_conv2d_quads(params, x, weights, bias, multiplier, shift, scratch, y, inside);
        return MCT_OK;
    }
#endif
    convolve_blocks(params, x, weights, bias, multiplier, shift, scratch, y, inside, is_small);
    return MCT_OK;
}
