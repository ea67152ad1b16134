/* dX of average_pool: each output error, shared among the taps of its window that lie inside the image. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/backward_window.h"

static int is_valid(const mct_average_pool_error_params *params, const void *error, const void *out)
{
    return params != NULL && error != NULL && out != NULL && mct_window_valid(&params->window) &&
           params->window.out_channels == params->window.in_channels && params->headroom_bits >= 0 && params->headroom_bits <= 31;
}

/* 2^30 / count to nearest. There are no ties: half an integer times count is 2^30 only for a count of 2^31. */
static int32_t reciprocal(int32_t count)
{
    return ((1 << 30) + count / 2) / count;
}

mct_status mct_average_pool_error_b16(const mct_average_pool_error_params *params, const mct_b16 *error, mct_b32 *sums)
{
    if (!is_valid(params, error, sums)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    const int32_t channels = window->in_channels, shift = 16 + params->headroom_bits;
    const int16_t *mantissa = error->mantissa;

    sums->exponent = error->exponent - 14 + params->headroom_bits;
    memset(sums->mantissa, 0, mct_input_elements(window) * sizeof sums->mantissa[0]);
    for (int32_t row = 0; row < window->out_height; row++) {
        const mct_taps rows = mct_rows_at(window, row);

        for (int32_t column = 0; column < window->out_width; column++, mantissa += channels) {
            const mct_taps columns = mct_columns_at(window, column);
            const int32_t factor = reciprocal((rows.end - rows.begin) * (columns.end - columns.begin));

            for (int32_t c = 0; c < channels; c++) {
                const int32_t share = (int32_t)(((int64_t)mantissa[c] * factor) >> shift);

                for (int32_t kh = rows.begin; kh < rows.end; kh++) {
                    int32_t *sum = sums->mantissa + ((rows.origin + kh) * window->in_width + columns.origin + columns.begin) * channels + c;
                    for (int32_t kw = columns.begin; kw < columns.end; kw++, sum += channels) {
                        *sum += share;
                    }
                }
            }
        }
    }
    return MCT_OK;
}

mct_status mct_average_pool_error_f32(const mct_average_pool_error_params *params, const float *error, float *out)
{
    if (!is_valid(params, error, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    const int32_t channels = window->in_channels;

    for (size_t i = 0; i < mct_input_elements(window); i++) {
        out[i] = 0.0f;
    }
    for (int32_t row = 0; row < window->out_height; row++) {
        const mct_taps rows = mct_rows_at(window, row);

        for (int32_t column = 0; column < window->out_width; column++, error += channels) {
            const mct_taps columns = mct_columns_at(window, column);
            const float factor = 1.0f / (float)((rows.end - rows.begin) * (columns.end - columns.begin));

            for (int32_t c = 0; c < channels; c++) {
                const float share = error[c] * factor;

                for (int32_t kh = rows.begin; kh < rows.end; kh++) {
                    float *sum = out + ((rows.origin + kh) * window->in_width + columns.origin + columns.begin) * channels + c;
                    for (int32_t kw = columns.begin; kw < columns.end; kw++, sum += channels) {
                        *sum += share;
                    }
                }
            }
        }
    }
    return MCT_OK;
}
