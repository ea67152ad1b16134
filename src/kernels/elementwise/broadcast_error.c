/* The error of an operand of add or multiply that is repeated: the sum of the errors of all elements that read it, times what it was
 * multiplied by. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/requantize.h"

static bool is_valid(const mct_broadcast_error_params *params, const void *error, const void *out)
{
    return params != NULL && error != NULL && out != NULL && mct_broadcast_valid(&params->broadcast) &&
           mct_code_valid(params->other_zero_point) && (params->negates == 0 || params->negates == 1);
}

/* What element i of a row was multiplied by, with the sign. */
static inline int32_t factor_of(const mct_broadcast_error_params *params, const int8_t *other, int32_t i)
{
    const int32_t factor = other == NULL ? 1 : other[i * params->broadcast.b_step_3] - params->other_zero_point;

    return params->negates != 0 ? -factor : factor;
}

mct_status mct_broadcast_error_b16(const mct_broadcast_error_params *params, const mct_b16 *error, const int8_t *other, mct_b32 *sums)
{
    if (!is_valid(params, error, sums)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_broadcast *const shape = &params->broadcast;
    const int16_t *mantissa = error->mantissa;
    mct_broadcast_row row = {0, 0, 0, 0, 0};

    sums->exponent = error->exponent;
    memset(sums->mantissa, 0, mct_broadcast_elements_of_a(shape) * sizeof sums->mantissa[0]);
    do {
        int32_t *sum = sums->mantissa + row.a;
        const int8_t *factor = other == NULL ? NULL : other + row.b;

        /* The mantissas have so few bits that no sum of products overflows: whoever makes the plan has chosen them. */
        for (int32_t i = 0; i < shape->size_3; i++, sum += shape->a_step_3) {
            *sum += *mantissa++ * factor_of(params, factor, i);
        }
    } while (mct_broadcast_next(shape, &row));
    return MCT_OK;
}

/* In the output's order. */
mct_status mct_broadcast_error_f32(const mct_broadcast_error_params *params, const float *error, const int8_t *other, float *out)
{
    if (!is_valid(params, error, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_broadcast *const shape = &params->broadcast;
    mct_broadcast_row row = {0, 0, 0, 0, 0};

    for (size_t i = 0; i < mct_broadcast_elements_of_a(shape); i++) {
        out[i] = 0.0f;
    }
    do {
        float *sum = out + row.a;
        const int8_t *factor = other == NULL ? NULL : other + row.b;

        for (int32_t i = 0; i < shape->size_3; i++, sum += shape->a_step_3) {
            *sum += *error++ * (float)factor_of(params, factor, i);
        }
    } while (mct_broadcast_next(shape, &row));
    return MCT_OK;
}
