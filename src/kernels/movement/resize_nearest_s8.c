/* resize_nearest: each output pixel is the input pixel that two tables name. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/forward.h"

#include "kernels/movement/resize_nearest.h"

mct_status mct_resize_nearest_s8(const mct_resize_nearest_params *params, const int8_t *x, const int32_t *rows, const int32_t *columns,
                                 int8_t *y)
{
    if (!mct_resize_valid(params, rows, columns) || x == NULL || y == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const size_t channels = (size_t)params->channels, row_bytes = (size_t)params->out_width * channels;

    for (int32_t i = 0; i < params->out_height; i++, y += row_bytes) {
        if (i > 0 && rows[i] == rows[i - 1]) {
            memcpy(y, y - row_bytes, row_bytes);
            continue;
        }
        for (int32_t j = 0; j < params->out_width; j++) {
            memcpy(y + (size_t)j * channels, x + mct_pixel_at(params, rows[i], columns[j]), channels);
        }
    }
    return MCT_OK;
}
