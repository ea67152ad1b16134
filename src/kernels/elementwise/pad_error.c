/* dX of pad: the errors without the border. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"

static int is_valid(const mct_pad_error_params *params, const void *error, const void *out)
{
    return params != NULL && error != NULL && out != NULL && params->in_height > 0 && params->in_width > 0 && params->channels > 0 &&
           params->top >= 0 && params->bottom >= 0 && params->left >= 0 && params->right >= 0;
}

static void crop(const mct_pad_error_params *params, size_t element_bytes, const void *padded, void *image)
{
    const size_t pixel_bytes = (size_t)params->channels * element_bytes;
    const size_t row_bytes = (size_t)params->in_width * pixel_bytes;
    const size_t padded_row_bytes = ((size_t)params->left + (size_t)params->in_width + (size_t)params->right) * pixel_bytes;
    const uint8_t *from = (const uint8_t *)padded + (size_t)params->top * padded_row_bytes + (size_t)params->left * pixel_bytes;
    uint8_t *to = image;

    for (int32_t row = 0; row < params->in_height; row++, from += padded_row_bytes, to += row_bytes) {
        memcpy(to, from, row_bytes);
    }
}

mct_status mct_pad_error_b16(const mct_pad_error_params *params, const mct_b16 *error, mct_b16 *out)
{
    if (!is_valid(params, error, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    out->exponent = error->exponent;
    crop(params, sizeof out->mantissa[0], error->mantissa, out->mantissa);
    return MCT_OK;
}

mct_status mct_pad_error_f32(const mct_pad_error_params *params, const float *error, float *out)
{
    if (!is_valid(params, error, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    crop(params, sizeof *out, error, out);
    return MCT_OK;
}
