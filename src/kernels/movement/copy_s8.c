/* copy: a box of codes from one tensor into another; what a concatenation, a slice, a pad of any axis and a transpose do. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"

#include "kernels/common/requantize.h"
#include "kernels/movement/copy.h"

mct_status mct_copy_s8(const mct_copy_params *params, const int8_t *x, int8_t *y)
{
    if (!mct_copy_valid(params) || x == NULL || y == NULL || !mct_code_valid(params->value)) {
        return MCT_ERROR_ARGUMENT;
    }
    if (!mct_copy_covers(params)) {
        memset(y, params->value, (size_t)params->target_elements);
    }
    mct_copy_elements(params, sizeof *y, x, y);
    return MCT_OK;
}

mct_status mct_copy_into_s8(const mct_copy_params *params, const int8_t *x, int8_t *y)
{
    if (!mct_copy_valid(params) || x == NULL || y == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    mct_copy_elements(params, sizeof *y, x, y);
    return MCT_OK;
}
