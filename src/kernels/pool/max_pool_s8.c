/* max_pool: the largest code of the window's part inside the image, and where it stood. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include "kernels/common/compiler.h"
#include "kernels/common/window.h"

typedef struct {
    int8_t code;
    int32_t index; /* kernel_row * kernel_width + kernel_column */
} maximum;

/* The first maximum of one channel over the taps inside; x is at the first of them. */
static maximum find_maximum(const int8_t *x, mct_taps rows, mct_taps columns, int32_t kernel_width, size_t row_step, size_t column_step)
{
    maximum best = {*x, rows.begin * kernel_width + columns.begin};

    for (int32_t kh = rows.begin; kh < rows.end; kh++, x += row_step) {
        const int8_t *tap = x;

        for (int32_t kw = columns.begin; kw < columns.end; kw++, tap += column_step) {
            if (*tap > best.code) {
                best.code = *tap;
                best.index = kh * kernel_width + kw;
            }
        }
    }
    return best;
}

/* Only one of bytes and words may be there. */
static MCT_SPECIALISED mct_status max_pool(const mct_pool_s8_params *params, const int8_t *restrict x, int8_t *restrict y,
                                           uint8_t *restrict bytes, int32_t *restrict words)
{
    if (params == NULL || x == NULL || y == NULL || !mct_window_valid(&params->window) ||
        params->window.out_channels != params->window.in_channels ||
        (bytes != NULL && (int64_t)params->window.kernel_height * params->window.kernel_width > UINT8_MAX + 1)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *w = &params->window;
    const size_t channels = (size_t)w->in_channels, row_step = (size_t)w->in_width * channels;

    for (int32_t out_row = 0; out_row < w->out_height; out_row++) {
        const mct_taps rows = mct_rows_at(w, out_row);

        for (int32_t out_column = 0; out_column < w->out_width; out_column++) {
            const mct_taps columns = mct_columns_at(w, out_column);
            const int8_t *first = x + (size_t)(rows.origin + rows.begin) * row_step + (size_t)(columns.origin + columns.begin) * channels;

            for (size_t c = 0; c < channels; c++) {
                const maximum best = find_maximum(first + c, rows, columns, w->kernel_width, row_step, channels);

                *y++ = best.code;
                if (bytes != NULL) {
                    *bytes++ = (uint8_t)best.index;
                }
                if (words != NULL) {
                    *words++ = best.index;
                }
            }
        }
    }
    return MCT_OK;
}

mct_status mct_max_pool_s8(const mct_pool_s8_params *params, const int8_t *restrict x, int8_t *restrict y, uint8_t *restrict argmax)
{
    return max_pool(params, x, y, argmax, NULL);
}

mct_status mct_max_pool_wide_s8(const mct_pool_s8_params *params, const int8_t *restrict x, int8_t *restrict y, int32_t *restrict argmax)
{
    return max_pool(params, x, y, NULL, argmax);
}
