/* dX of resize_nearest: the sum of the errors of a pixel's copies, in raster order of the output. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"

#include "kernels/movement/resize_nearest.h"

mct_status mct_resize_nearest_error_b16(const mct_resize_nearest_params *params, const mct_b16 *error, const int32_t *rows,
                                        const int32_t *columns, mct_b32 *sums)
{
    if (!mct_resize_valid(params, rows, columns) || error == NULL || sums == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    const int16_t *mantissa = error->mantissa;

    sums->exponent = error->exponent;
    memset(sums->mantissa, 0, mct_resized_elements(params) * sizeof sums->mantissa[0]);
    for (int32_t i = 0; i < params->out_height; i++) {
        for (int32_t j = 0; j < params->out_width; j++) {
            int32_t *const pixel = sums->mantissa + mct_pixel_at(params, rows[i], columns[j]);

            for (int32_t c = 0; c < params->channels; c++) {
                pixel[c] += *mantissa++; /* planning: copies * 32767 <= 2^31 - 1 */
            }
        }
    }
    return MCT_OK;
}

mct_status mct_resize_nearest_error_f32(const mct_resize_nearest_params *params, const float *error, const int32_t *rows,
                                        const int32_t *columns, float *out)
{
    if (!mct_resize_valid(params, rows, columns) || error == NULL || out == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    for (size_t i = 0; i < mct_resized_elements(params); i++) {
        out[i] = 0.0f;
    }
    for (int32_t i = 0; i < params->out_height; i++) {
        for (int32_t j = 0; j < params->out_width; j++) {
            float *const pixel = out + mct_pixel_at(params, rows[i], columns[j]);

            for (int32_t c = 0; c < params->channels; c++) {
                pixel[c] += *error++;
            }
        }
    }
    return MCT_OK;
}
