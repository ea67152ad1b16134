/* The errors of what copy moves: a box of them, and zeros where none came from. */
#include "kernels/common/exact.h"

#include "mcutrain/backward.h"

#include "kernels/movement/copy.h"

mct_status mct_copy_error_b16(const mct_copy_params *params, const mct_b16 *error, mct_b16 *out)
{
    if (!mct_copy_valid(params) || error == NULL || out == NULL || params->value != 0) {
        return MCT_ERROR_ARGUMENT;
    }
    out->exponent = error->exponent;
    if (!mct_copy_covers(params)) {
        memset(out->mantissa, 0, (size_t)params->target_elements * sizeof out->mantissa[0]);
    }
    mct_copy_elements(params, sizeof out->mantissa[0], error->mantissa, out->mantissa);
    return MCT_OK;
}

mct_status mct_copy_error_f32(const mct_copy_params *params, const float *error, float *out)
{
    if (!mct_copy_valid(params) || error == NULL || out == NULL || params->value != 0) {
        return MCT_ERROR_ARGUMENT;
    }
    if (!mct_copy_covers(params)) {
        for (int32_t i = 0; i < params->target_elements; i++) {
            out[i] = 0.0f;
        }
    }
    mct_copy_elements(params, sizeof *out, error, out);
    return MCT_OK;
}
