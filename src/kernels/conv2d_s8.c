/* conv2d and fully connected: gather two windows as int16 rows, then blocks of two pixels by two channels of dot products, each finished
 * in place (bias, requantise, clamp, mask). The forms differ in how they gather a row and in the dot product. */
#include "mcutrain/forward.h"

#include <string.h>

#include "dsp.h"
#include "requantize.h"
#include "window.h"

enum { PIXELS = 2, CHANNELS = 2 }; /* of a block */

static int32_t window_taps(const mct_window *w)
{
    return w->kernel_height * w->kernel_width * w->in_channels;
}

/* A gathered row is a whole number of the DSP form's words of four. */
static int32_t row_elements(const mct_window *w)
{
    return (window_taps(w) + 3) / 4 * 4;
}

size_t mct_conv2d_s8_scratch_bytes(const mct_conv2d_s8_params *params)
{
    const mct_window *w = &params->window;
    const size_t rows = w->out_height * w->out_width > 1 ? PIXELS : 1;

    return rows * (size_t)row_elements(w) * sizeof(int16_t);
}

#if MCT_DSP

/* Widen int8 to int16 minus the zero point, and swap elements 1 and 2 of every four: the order in which SXTB16 unpacks the weights. */
static void widen(const int8_t *source, int32_t elements, int32_t zero_points, int16_t *row)
{
    for (int32_t i = 0; i < elements; i += 4) {
        const int32_t word = mct_load_word(source + i);

        mct_store_word(row + i, mct_ssub16(mct_sxtb16(word), zero_points));
        mct_store_word(row + i + 2, mct_ssub16(mct_sxtb16_ror8(word), zero_points));
    }
}

static void gather(const mct_conv2d_s8_params *params, const int8_t *x, mct_taps rows, mct_taps columns, int16_t *row)
{
    const mct_window *w = &params->window;
    const int32_t elements = row_elements(w);
    const int32_t run = (columns.end - columns.begin) * w->in_channels;
    const int32_t zero_points = mct_pkhbt(params->input_zero_point, params->input_zero_point);
    const bool whole_words = w->in_channels % 4 == 0;
    /* Runs that are not whole words are first gathered as bytes, at the end of the row, and widened from its front: every step writes
     * behind what it has read. */
    int8_t *bytes = (int8_t *)row + elements;

    if (!whole_words) {
        memset(bytes, params->input_zero_point, (size_t)elements);
    } else if (run * (rows.end - rows.begin) < elements) {
        memset(row, 0, (size_t)elements * sizeof *row);
    }
    for (int32_t k = rows.begin; k < rows.end; k++) {
        const int32_t pixel = (rows.origin + k) * w->in_width + columns.origin + columns.begin;
        const int8_t *source = x + (size_t)pixel * (size_t)w->in_channels;
        const int32_t target = (k * w->kernel_width + columns.begin) * w->in_channels;

        if (whole_words) {
            widen(source, run, zero_points, row + target);
        } else {
            memcpy(bytes + target, source, (size_t)run);
        }
    }
    if (!whole_words) {
        widen(bytes, elements, zero_points, row);
    }
}

typedef struct {
    int32_t s00, s01, s10, s11; /* [pixel][channel] */
} block_sums;

/* Four taps: two gathered rows, one word of weights of either filter. In two halves, which leaves every value in a register. */
static inline void multiply_taps(int32_t w0, int32_t w1, const int16_t *row_0, const int16_t *row_1, block_sums *s)
{
    int32_t w = mct_sxtb16(w0), x0 = mct_load_word(row_0), x1 = mct_load_word(row_1);

    s->s00 = mct_smlad(w, x0, s->s00);
    s->s10 = mct_smlad(w, x1, s->s10);
    w = mct_sxtb16(w1);
    s->s01 = mct_smlad(w, x0, s->s01);
    s->s11 = mct_smlad(w, x1, s->s11);
    MCT_KEEP_LOADS_BEHIND();
    x0 = mct_load_word(row_0 + 2);
    x1 = mct_load_word(row_1 + 2);
    w = mct_sxtb16_ror8(w0);
    s->s00 = mct_smlad(w, x0, s->s00);
    s->s10 = mct_smlad(w, x1, s->s10);
    w = mct_sxtb16_ror8(w1);
    s->s01 = mct_smlad(w, x0, s->s01);
    s->s11 = mct_smlad(w, x1, s->s11);
}

/* sums[pixel][channel] += a row of taps times a filter, for two rows and two filters. */
static void dot_2x2(const int16_t *restrict row_0, const int16_t *restrict row_1, const int8_t *restrict filter_0,
                    const int8_t *restrict filter_1, int32_t taps, int32_t sums[PIXELS][CHANNELS])
{
    block_sums s = {sums[0][0], sums[0][1], sums[1][0], sums[1][1]};

    for (const int8_t *const end = filter_0 + taps / 4 * 4; filter_0 != end;) {
        multiply_taps(mct_load_word(filter_0), mct_load_word(filter_1), row_0, row_1, &s);
        filter_0 += 4;
        filter_1 += 4;
        row_0 += 4;
        row_1 += 4;
    }
    if (taps % 4 != 0) {
        multiply_taps(mct_load_tail_s8(filter_0, taps % 4), mct_load_tail_s8(filter_1, taps % 4), row_0, row_1, &s);
    }
    sums[0][0] = s.s00;
    sums[0][1] = s.s01;
    sums[1][0] = s.s10;
    sums[1][1] = s.s11;
}

#else

static void gather(const mct_conv2d_s8_params *params, const int8_t *x, mct_taps rows, mct_taps columns, int16_t *row)
{
    const mct_window *w = &params->window;
    const int32_t run = (columns.end - columns.begin) * w->in_channels;
    const int32_t zero_point = params->input_zero_point;

    if (run * (rows.end - rows.begin) < window_taps(w)) {
        memset(row, 0, (size_t)window_taps(w) * sizeof *row);
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

/* sums[pixel][channel] += a row of taps times a filter, for two rows and two filters. */
static void dot_2x2(const int16_t *restrict row_0, const int16_t *restrict row_1, const int8_t *restrict filter_0,
                    const int8_t *restrict filter_1, int32_t taps, int32_t sums[PIXELS][CHANNELS])
{
    int32_t s00 = sums[0][0], s01 = sums[0][1], s10 = sums[1][0], s11 = sums[1][1];

    for (int32_t i = 0; i < taps; i++) {
        const int16_t w0 = filter_0[i], w1 = filter_1[i];

        s00 += row_0[i] * w0;
        s01 += row_0[i] * w1;
        s10 += row_1[i] * w0;
        s11 += row_1[i] * w1;
    }
    sums[0][0] = s00;
    sums[0][1] = s01;
    sums[1][0] = s10;
    sums[1][1] = s11;
}

#endif

static bool valid(const mct_conv2d_s8_params *params, const int32_t *multiplier, const int32_t *shift)
{
    if (!mct_window_valid(&params->window) || !mct_code_valid(params->input_zero_point) ||
        (params->single_rounding != 0 && params->single_rounding != 1) ||
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

mct_status mct_conv2d_s8(const mct_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                         const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside)
{
    if (params == NULL || x == NULL || weights == NULL || bias == NULL || multiplier == NULL || shift == NULL || scratch == NULL ||
        (uintptr_t)scratch % 4 != 0 || y == NULL || !valid(params, multiplier, shift)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *w = &params->window;
    const mct_clamp clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max);
    const int32_t taps = window_taps(w), channels = w->out_channels;
    const int32_t pixels = w->out_height * w->out_width;
    int16_t *const row_0 = scratch;

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)pixels * (size_t)channels) * sizeof *inside);
    }
    for (int32_t pixel = 0; pixel < pixels; pixel += PIXELS) {
        const int32_t block = pixels - pixel < PIXELS ? 1 : PIXELS;
        /* A last single pixel, or channel, is computed twice and stored once. */
        int16_t *const row_1 = block == 1 ? row_0 : row_0 + row_elements(w);

        for (int32_t p = 0; p < block; p++) {
            const int32_t out_row = (pixel + p) / w->out_width, out_column = (pixel + p) % w->out_width;

            gather(params, x, mct_rows_at(w, out_row), mct_columns_at(w, out_column), p == 0 ? row_0 : row_1);
        }
        for (int32_t channel = 0; channel < channels; channel += CHANNELS) {
            const int32_t filters = channels - channel < CHANNELS ? 1 : CHANNELS;
            const int8_t *filter_0 = weights + (size_t)channel * (size_t)taps;
            const int32_t bias_0 = bias[channel], bias_1 = bias[channel + filters - 1];
            int32_t sums[PIXELS][CHANNELS] = {{bias_0, bias_1}, {bias_0, bias_1}};

            dot_2x2(row_0, row_1, filter_0, filter_0 + (filters - 1) * taps, taps, sums);
            for (int32_t p = 0; p < block; p++) {
                for (int32_t f = 0; f < filters; f++) {
                    const int32_t c = channel + f;
                    const size_t i = (size_t)(pixel + p) * (size_t)channels + (size_t)c;
                    const int32_t value = params->single_rounding != 0 ? mct_requantise_once(sums[p][f], multiplier[c], shift[c])
                                                                       : mct_requantise(sums[p][f], multiplier[c], shift[c]);
                    const uint32_t bit = mct_store_code(value, &clamp, &y[i]);

                    if (inside != NULL) {
                        inside[i / 32] |= bit << (i % 32);
                    }
                }
            }
        }
    }
    return MCT_OK;
}
