#include "block_float.h"
#include "mcutrain/backward.h"

#define WORD_BITS 32

static int is_valid(const mct_error_scale_params *params, const void *error, const void *scale, const void *out)
{
    return params != NULL && error != NULL && scale != NULL && out != NULL && params->elements > 0 && params->channels > 0 &&
           params->elements % params->channels == 0;
}

/* floor(mantissa * scale / 2^16), which |mantissa| <= 2^15 and |scale| <= 2^31 keep within int32. */
static inline int32_t scaled(int32_t mantissa, int32_t scale)
{
    return (int32_t)(((int64_t)mantissa * scale) >> 16);
}

/* Mask word of the 32 elements from i, which is a multiple of 32. */
static inline uint32_t mask_word(const uint32_t *inside, int32_t i)
{
    return inside == NULL ? ~0u : inside[i / WORD_BITS];
}

static inline int32_t word_end(int32_t i, int32_t elements)
{
    return elements - i > WORD_BITS ? i + WORD_BITS : elements;
}

static inline int32_t next_channel(int32_t c, int32_t channels)
{
    return c + 1 < channels ? c + 1 : 0;
}

mct_status mct_error_scale_b16(const mct_error_scale_params *params, const mct_b16 *error, const uint32_t *inside, const int32_t *scale,
                               mct_b16 *out)
{
    if (!is_valid(params, error, scale, out) || params->mantissa_bits < 1 || params->mantissa_bits > 15) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements, channels = params->channels;
    uint32_t largest = 0;

    for (int32_t i = 0, c = 0; i < elements;) {
        uint32_t word = mask_word(inside, i);
        for (const int32_t end = word_end(i, elements); i < end; i++, word >>= 1, c = next_channel(c, channels)) {
            if ((word & 1u) != 0) {
                const uint32_t magnitude = mct_magnitude_s32(scaled(error->mantissa[i], scale[c]));
                largest = magnitude > largest ? magnitude : largest;
            }
        }
    }
    const uint32_t r = mct_fit(largest, (uint32_t)params->mantissa_bits);

    for (int32_t i = 0, c = 0; i < elements;) {
        uint32_t word = mask_word(inside, i);
        for (const int32_t end = word_end(i, elements); i < end; i++, word >>= 1, c = next_channel(c, channels)) {
            int32_t mantissa = 0;
            if ((word & 1u) != 0) {
                mantissa = mct_halfaway(scaled(error->mantissa[i], scale[c]), r);
            }
            out->mantissa[i] = (int16_t)mantissa;
        }
    }
    out->exponent = error->exponent + params->scale_exponent + 16 + (int32_t)r;
    return MCT_OK;
}

mct_status mct_error_scale_f32(const mct_error_scale_params *params, const float *error, const uint32_t *inside, const float *scale,
                               float *out)
{
    if (!is_valid(params, error, scale, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements, channels = params->channels;

    for (int32_t i = 0, c = 0; i < elements;) {
        uint32_t word = mask_word(inside, i);
        for (const int32_t end = word_end(i, elements); i < end; i++, word >>= 1, c = next_channel(c, channels)) {
            out[i] = (word & 1u) != 0 ? error[i] * scale[c] : 0.0f;
        }
    }
    return MCT_OK;
}
