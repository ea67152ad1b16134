/* pad: a border of one code round an image. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include <string.h>

#include "kernels/common/requantize.h"

mct_status mct_pad_s8(const mct_pad_s8_params *params, const int8_t *restrict x, int8_t *restrict y)
{
    if (params == NULL || x == NULL || y == NULL || params->in_height <= 0 || params->in_width <= 0 || params->channels <= 0 ||
        params->top < 0 || params->bottom < 0 || params->left < 0 || params->right < 0 || !mct_code_valid(params->value)) {
        return MCT_ERROR_ARGUMENT;
    }
    const size_t channels = (size_t)params->channels;
    const size_t row = (size_t)params->in_width * channels;
    const size_t left = (size_t)params->left * channels, right = (size_t)params->right * channels;
    const size_t top = (size_t)params->top * (left + row + right), bottom = (size_t)params->bottom * (left + row + right);

    memset(y, params->value, top);
    y += top;
    for (int32_t i = 0; i < params->in_height; i++) {
        memset(y, params->value, left);
        memcpy(y + left, x, row);
        memset(y + left + row, params->value, right);
        x += row;
        y += left + row + right;
    }
    memset(y, params->value, bottom);
    return MCT_OK;
}
