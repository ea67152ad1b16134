/* average_pool: mean over the part of the window inside the image. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include <string.h>

#include "kernels/common/requantize.h"
#include "kernels/common/window.h"

/* Sum of one channel over the taps inside; x is at the first of them. |sum| <= 128 * taps, and taps < 2^24 (checked). */
static int32_t sum_taps(const int8_t *x, mct_taps rows, mct_taps columns, size_t row_step, size_t column_step)
{
    int32_t sum = 0;

    for (int32_t kh = rows.begin; kh < rows.end; kh++, x += row_step) {
        const int8_t *tap = x;

        for (int32_t kw = columns.begin; kw < columns.end; kw++, tap += column_step) {
            sum += *tap;
        }
    }
    return sum;
}

mct_status mct_average_pool_s8(const mct_pool_s8_params *params, const int8_t *restrict x, int8_t *restrict y)
{
    if (params == NULL || x == NULL || y == NULL || !mct_window_valid(&params->window) ||
        params->window.out_channels != params->window.in_channels ||
        (int64_t)params->window.kernel_height * params->window.kernel_width >= 1 << 24) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *w = &params->window;
    const size_t channels = (size_t)w->in_channels, row_step = (size_t)w->in_width * channels;

    for (int32_t out_row = 0; out_row < w->out_height; out_row++) {
        const mct_taps rows = mct_rows_at(w, out_row);

        for (int32_t out_column = 0; out_column < w->out_width; out_column++) {
            const mct_taps columns = mct_columns_at(w, out_column);
            const int8_t *first = x + (size_t)(rows.origin + rows.begin) * row_step + (size_t)(columns.origin + columns.begin) * channels;
            const int32_t count = (rows.end - rows.begin) * (columns.end - columns.begin);
            const int32_t half = count / 2;

            for (size_t c = 0; c < channels; c++) {
                const int32_t sum = sum_taps(first + c, rows, columns, row_step, channels);

                *y++ = (int8_t)((sum > 0 ? sum + half : sum - half) / count);
            }
        }
    }
    return MCT_OK;
}

/* Where the rescale of windows with `count` pixels inside stands among params->counts, or -1. */
static int32_t find_count(const mct_average_pool_rescale_s8_params *params, const int32_t *count, int32_t pixels)
{
    for (int32_t i = 0; i < params->counts; i++) {
        if (count[i] == pixels) {
            return i;
        }
    }
    return -1;
}

mct_status mct_average_pool_rescale_s8(const mct_average_pool_rescale_s8_params *params, const int8_t *restrict x,
                                       const int32_t *restrict count, const int32_t *restrict multiplier, const int32_t *restrict shift,
                                       int8_t *restrict y, uint32_t *restrict inside)
{
    if (params == NULL || x == NULL || count == NULL || multiplier == NULL || shift == NULL || y == NULL ||
        !mct_window_valid(&params->window) || params->window.out_channels != params->window.in_channels ||
        (int64_t)params->window.kernel_height * params->window.kernel_width >= 1 << 23 || params->counts < 1 ||
        !mct_code_valid(params->input_zero_point) || !mct_clamp_valid(params->output_zero_point, params->clamp_min, params->clamp_max)) {
        return MCT_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; i < params->counts; i++) {
        if (!mct_multiplier_valid(multiplier[i], shift[i])) {
            return MCT_ERROR_ARGUMENT;
        }
    }
    const mct_window *w = &params->window;
    const mct_clamp clamp = mct_clamp_make(params->output_zero_point, params->clamp_min, params->clamp_max);
    const size_t channels = (size_t)w->in_channels, row_step = (size_t)w->in_width * channels;
    size_t at = 0;

    if (inside != NULL) {
        memset(inside, 0, mct_mask_words((size_t)w->out_height * (size_t)w->out_width * channels) * sizeof *inside);
    }
    for (int32_t out_row = 0; out_row < w->out_height; out_row++) {
        const mct_taps rows = mct_rows_at(w, out_row);

        for (int32_t out_column = 0; out_column < w->out_width; out_column++) {
            const mct_taps columns = mct_columns_at(w, out_column);
            const int8_t *first = x + (size_t)(rows.origin + rows.begin) * row_step + (size_t)(columns.origin + columns.begin) * channels;
            const int32_t pixels = (rows.end - rows.begin) * (columns.end - columns.begin);
            const int32_t zero = pixels * params->input_zero_point, i = find_count(params, count, pixels);

            if (i < 0) {
                return MCT_ERROR_ARGUMENT;
            }
            for (size_t c = 0; c < channels; c++, at++) {
                const int32_t sum = sum_taps(first + c, rows, columns, row_step, channels) - zero; /* |sum| < 2^8 * 2^23 */
                const uint32_t bit = mct_store_code(mct_requantise_once(sum, multiplier[i], shift[i]), &clamp, y + at);

                if (inside != NULL) {
                    inside[at / 32] |= bit << (at % 32);
                }
            }
        }
    }
    return MCT_OK;
}
