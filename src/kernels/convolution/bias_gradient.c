/* bias_gradient: the sum of errors over all pixels, by channel. */
#include "kernels/common/exact.h"

#include "mcutrain/backward.h"
#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"

/* The sum of one channel over all pixels. Planning: pixels * (2^mantissa_bits - 1) < 2^31. */
static int32_t sum_channel(const mct_bias_gradient_params *params, const int16_t *g)
{
    int32_t sum = 0;

    for (int32_t p = 0; p < params->pixels; p++, g += params->channels) {
        sum += *g;
    }
    return sum;
}

#if MCT_DSP

/* Of two pixels and two channels: each channel's halves side by side, and their sum is a dot product with ones. */
static inline void add_square(int32_t here, int32_t next, int32_t *sum0, int32_t *sum1)
{
    const int32_t ones = 0x00010001;

    *sum0 = mct_smlad(mct_pkhbt(here, next), ones, *sum0);
    *sum1 = mct_smlad(mct_pkhtb(next, here), ones, *sum1);
}

static MCT_NOINLINE void sum_four_channels(const mct_bias_gradient_params *params, const int16_t *g, int32_t *gradient)
{
    const int32_t step = params->channels;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;

    if (params->pixels % 2 != 0) {
        s0 = g[0];
        s1 = g[1];
        s2 = g[2];
        s3 = g[3];
        g += step;
    }
    for (int32_t p = params->pixels / 2; p > 0; p--, g += step) {
        const int32_t here0 = mct_load_word(g), here1 = mct_load_word(g + 2);
        g += step;
        const int32_t next0 = mct_load_word(g), next1 = mct_load_word(g + 2);

        add_square(here0, next0, &s0, &s1);
        add_square(here1, next1, &s2, &s3);
    }
    gradient[0] = s0;
    gradient[1] = s1;
    gradient[2] = s2;
    gradient[3] = s3;
}

/* As many as there are fours of: the number of channels summed. */
static int32_t sum_fours(const mct_bias_gradient_params *params, const int16_t *g, int32_t *gradient)
{
    const int32_t fours = params->channels / 4 * 4;

    for (int32_t c = 0; c < fours; c += 4) {
        sum_four_channels(params, g + c, gradient + c);
    }
    return fours;
}

#else

static int32_t sum_fours(const mct_bias_gradient_params *params, const int16_t *g, int32_t *gradient)
{
    (void)params;
    (void)g;
    (void)gradient;
    return 0;
}

#endif

mct_status mct_bias_gradient_b16(const mct_bias_gradient_params *params, const mct_b16 *g, mct_b32 *gradient)
{
    if (params == NULL || g == NULL || gradient == NULL || params->pixels <= 0 || params->channels <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    for (int32_t c = sum_fours(params, g->mantissa, gradient->mantissa); c < params->channels; c++) {
        gradient->mantissa[c] = sum_channel(params, g->mantissa + c);
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
