/* dX of max_pool: each output error to where the maximum stood. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/backward_window.h"
#include "kernels/common/compiler.h"

#define POSITIONS 256      /* that one byte of argmax can name */
#define MOST_MEETING 65536 /* windows in an element. check: MOST_MEETING * (2^15 - 1) < 2^31 */

/* Where the maxima stood: bytes, or words for windows of more than 256 taps. */
typedef struct {
    const uint8_t *bytes;
    const int32_t *words;
} maxima;

static int is_valid(const mct_max_pool_error_params *params, const void *error, maxima argmax, const void *out)
{
    if (params == NULL || error == NULL || (argmax.bytes == NULL && argmax.words == NULL) || out == NULL ||
        !mct_window_valid(&params->window) || params->window.out_channels != params->window.in_channels) {
        return 0;
    }
    const mct_window *const w = &params->window;
    const int64_t rows = (w->kernel_height + w->stride_height - 1) / w->stride_height;
    const int64_t columns = (w->kernel_width + w->stride_width - 1) / w->stride_width;

    return rows * columns <= MOST_MEETING && (argmax.bytes == NULL || (int64_t)w->kernel_height * w->kernel_width <= POSITIONS);
}

/* Input element of the maximum of output element i. `row` and `column` are the image position of the window's tap 0. */
static MCT_SPECIALISED size_t element_of(const mct_window *window, int32_t row, int32_t column, maxima argmax, size_t i, int32_t channel)
{
    const int32_t index = argmax.bytes != NULL ? argmax.bytes[i] : argmax.words[i];
    const int32_t kernel_row = index / window->kernel_width, kernel_column = index % window->kernel_width;

    return (size_t)(((row + kernel_row) * window->in_width + column + kernel_column) * window->in_channels + channel);
}

static MCT_SPECIALISED mct_status error_b16(const mct_max_pool_error_params *params, const mct_b16 *error, maxima argmax, mct_b32 *sums)
{
    if (!is_valid(params, error, argmax, sums)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    size_t i = 0;

    sums->exponent = error->exponent;
    memset(sums->mantissa, 0, mct_input_elements(window) * sizeof sums->mantissa[0]);
    for (int32_t row = 0; row < window->out_height; row++) {
        const int32_t top = row * window->stride_height - window->pad_top;

        for (int32_t column = 0; column < window->out_width; column++) {
            const int32_t left = column * window->stride_width - window->pad_left;

            for (int32_t c = 0; c < window->in_channels; c++, i++) {
                sums->mantissa[element_of(window, top, left, argmax, i, c)] += error->mantissa[i];
            }
        }
    }
    return MCT_OK;
}

static MCT_SPECIALISED mct_status error_f32(const mct_max_pool_error_params *params, const float *error, maxima argmax, float *out)
{
    if (!is_valid(params, error, argmax, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const window = &params->window;
    size_t i = 0;

    for (size_t element = 0; element < mct_input_elements(window); element++) {
        out[element] = 0.0f;
    }
    for (int32_t row = 0; row < window->out_height; row++) {
        const int32_t top = row * window->stride_height - window->pad_top;

        for (int32_t column = 0; column < window->out_width; column++) {
            const int32_t left = column * window->stride_width - window->pad_left;

            for (int32_t c = 0; c < window->in_channels; c++, i++) {
                out[element_of(window, top, left, argmax, i, c)] += error[i];
            }
        }
    }
    return MCT_OK;
}

mct_status mct_max_pool_error_b16(const mct_max_pool_error_params *params, const mct_b16 *error, const uint8_t *argmax, mct_b32 *sums)
{
    return error_b16(params, error, (maxima){argmax, NULL}, sums);
}

mct_status mct_max_pool_error_f32(const mct_max_pool_error_params *params, const float *error, const uint8_t *argmax, float *out)
{
    return error_f32(params, error, (maxima){argmax, NULL}, out);
}

mct_status mct_max_pool_wide_error_b16(const mct_max_pool_error_params *params, const mct_b16 *error, const int32_t *argmax, mct_b32 *sums)
{
    return error_b16(params, error, (maxima){NULL, argmax}, sums);
}

mct_status mct_max_pool_wide_error_f32(const mct_max_pool_error_params *params, const float *error, const int32_t *argmax, float *out)
{
    return error_f32(params, error, (maxima){NULL, argmax}, out);
}
