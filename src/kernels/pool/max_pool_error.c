/* dX of max_pool: each output error to where the maximum stood. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/backward_window.h"

#define POSITIONS 256 /* that one byte of argmax can name */

static int is_valid(const mct_max_pool_error_params *params, const void *error, const void *argmax, const void *out)
{
    return params != NULL && error != NULL && argmax != NULL && out != NULL && mct_window_valid(&params->window) &&
           params->window.out_channels == params->window.in_channels && params->window.kernel_height <= POSITIONS &&
           params->window.kernel_height * params->window.kernel_width <= POSITIONS;
}

/* Input element of a window's maximum. `row` and `column` are the image position of the window's tap 0. */
static inline int32_t element_of(const mct_window *window, int32_t row, int32_t column, uint8_t argmax, int32_t channel)
{
    const int32_t kernel_row = argmax / window->kernel_width, kernel_column = argmax % window->kernel_width;

    return ((row + kernel_row) * window->in_width + column + kernel_column) * window->in_channels + channel;
}

mct_status mct_max_pool_error_b16(const mct_max_pool_error_params *params, const mct_b16 *error, const uint8_t *argmax, mct_b32 *sums)
{
    if (!is_valid(params, error, argmax, sums)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    const int16_t *mantissa = error->mantissa;

    sums->exponent = error->exponent;
    memset(sums->mantissa, 0, mct_input_elements(window) * sizeof sums->mantissa[0]);
    for (int32_t row = 0; row < window->out_height; row++) {
        const int32_t top = row * window->stride_height - window->pad_top;

        for (int32_t column = 0; column < window->out_width; column++) {
            const int32_t left = column * window->stride_width - window->pad_left;

            /* At most 256 windows meet in an element: its sum stays below 2^8 * 2^15. */
            for (int32_t c = 0; c < window->in_channels; c++) {
                sums->mantissa[element_of(window, top, left, *argmax++, c)] += *mantissa++;
            }
        }
    }
    return MCT_OK;
}

mct_status mct_max_pool_error_f32(const mct_max_pool_error_params *params, const float *error, const uint8_t *argmax, float *out)
{
    if (!is_valid(params, error, argmax, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;

    for (size_t i = 0; i < mct_input_elements(window); i++) {
        out[i] = 0.0f;
    }
    for (int32_t row = 0; row < window->out_height; row++) {
        const int32_t top = row * window->stride_height - window->pad_top;

        for (int32_t column = 0; column < window->out_width; column++) {
            const int32_t left = column * window->stride_width - window->pad_left;

            for (int32_t c = 0; c < window->in_channels; c++) {
                out[element_of(window, top, left, *argmax++, c)] += *error++;
            }
        }
    }
    return MCT_OK;
}
