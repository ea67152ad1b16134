#include "mcutrain/backward.h"

#define BLOCK 4 /* channels whose sums are kept in registers */

mct_status mct_bias_gradient_b16(const mct_bias_gradient_params *params, const mct_b16 *g, mct_b32 *gradient)
{
    if (params == NULL || g == NULL || gradient == NULL || params->pixels <= 0 || params->channels <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t pixels = params->pixels, channels = params->channels;
    int32_t c = 0;

    for (; c + BLOCK <= channels; c += BLOCK) {
        const int16_t *pixel = g->mantissa + c;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0; /* planning: pixels * (2^mantissa_bits - 1) < 2^31 */

        for (int32_t p = 0; p < pixels; p++, pixel += channels) {
            s0 += pixel[0];
            s1 += pixel[1];
            s2 += pixel[2];
            s3 += pixel[3];
        }
        gradient->mantissa[c] = s0;
        gradient->mantissa[c + 1] = s1;
        gradient->mantissa[c + 2] = s2;
        gradient->mantissa[c + 3] = s3;
    }
    for (; c < channels; c++) {
        int32_t sum = 0;

        for (int32_t p = 0; p < pixels; p++) {
            sum += g->mantissa[p * channels + c];
        }
        gradient->mantissa[c] = sum;
    }
    gradient->exponent = g->exponent;
    return MCT_OK;
}

mct_status mct_bias_gradient_f32(const mct_bias_gradient_params *params, const float *g, float *gradient)
{
    if (params == NULL || g == NULL || gradient == NULL || params->pixels <= 0 || params->channels <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t pixels = params->pixels, channels = params->channels;

    for (int32_t c = 0; c < channels; c++) {
        gradient[c] = 0.0f;
    }
    for (int32_t p = 0; p < pixels; p++) {
        for (int32_t c = 0; c < channels; c++) {
            gradient[c] += g[p * channels + c];
        }
    }
    return MCT_OK;
}
