/* error_sum: the errors of two branches that meet. */
#include "kernels/common/exact.h"

#include "mcutrain/backward.h"
#include "kernels/common/block_float.h"
#include "kernels/common/pairs.h"

#define LARGEST_SHIFT 31u

/* The summands, by their exponents: the mantissas of `far` are shifted to those of `near`. */
typedef struct {
    const int16_t *near, *far;
    uint32_t shift;
} summands;

static summands sort(const mct_b16 *a, const mct_b16 *b)
{
    const bool a_is_near = a->exponent >= b->exponent;
    const mct_b16 *const near = a_is_near ? a : b, *const far = a_is_near ? b : a;
    const uint32_t difference = (uint32_t)near->exponent - (uint32_t)far->exponent;

    return (summands){near->mantissa, far->mantissa, difference < LARGEST_SHIFT ? difference : LARGEST_SHIFT};
}

static inline int32_t sum_at(const summands *s, int32_t i)
{
    return s->near[i] + mct_halfaway(s->far[i], s->shift);
}

/* Two passes: the largest sum, then all of them rounded. Their shift is 0 or 1. */
static MCT_SPECIALISED uint32_t add_apart(const summands *s, int32_t elements, int16_t *out)
{
    uint32_t largest = 0;

    for (int32_t i = 0; i < elements; i++) {
        const uint32_t magnitude = mct_magnitude_s32(sum_at(s, i));
        largest = magnitude > largest ? magnitude : largest;
    }
    const uint32_t r = mct_fit(largest, 15);

    for (int32_t i = 0; i < elements; i++) {
        out[i] = (int16_t)mct_halfaway(sum_at(s, i), r);
    }
    return r;
}

#if MCT_DSP

/* mct_halfaway(half, shift) of both, shift > 0; k = 2^(31 - shift). The product has 15 bits behind the point, where a tie goes up: a half that
 * is not positive is made one less (0 still rounds to 0). From a shift of 16 on all are 0. */
static inline int32_t shift_pair(int32_t pair, int32_t k)
{
    const int32_t lower = mct_pair_lower(pair);

    return mct_pkhbt(mct_smlawb(k, lower, 1 << 14) >> 15, mct_smlawt(k, lower, 1 << 14) >> 15);
}

/* Sums modulo 2^16 into out; returns whether they are all within +-32767. k = 0: no shift. */
static MCT_SPECIALISED bool add_pairs(const int16_t *near, const int16_t *far, int32_t k, int32_t pairs, int16_t *out)
{
    int32_t lost = 0, least = 0;

    for (; pairs > 0; pairs--, near += 2, far += 2, out += 2) {
        const int32_t a = mct_load_word(near), given = mct_load_word(far), b = k == 0 ? given : shift_pair(given, k);
        const int32_t sum = mct_sadd16(a, b), saturated = mct_qadd16(a, b);

        lost |= sum ^ saturated;
        least = mct_pair_min(least, saturated);
        mct_store_word(out, sum);
    }
    return lost == 0 && (int16_t)least > INT16_MIN && least >> 16 > INT16_MIN;
}

/* The sums again, halved. One summand may be gone under the sums modulo 2^16: it is what they are more than the other. */
static void halve_pairs(const int16_t *left, int32_t k, int32_t pairs, int16_t *out)
{
    for (; pairs > 0; pairs--, left += 2, out += 2) {
        const int32_t given = mct_load_word(left), a = k == 0 ? given : shift_pair(given, k);
        const int32_t b = mct_ssub16(mct_load_word(out), a), down = mct_shadd16(a, b);
        /* Half away from zero: odd sums that are not negative go up. */
        const uint32_t up = (uint32_t)(a ^ b) & ~((uint32_t)down >> 15) & 0x00010001u;

        mct_store_word(out, mct_sadd16(down, (int32_t)up));
    }
}

static MCT_NOINLINE bool add_shifted_pairs(const summands *s, int32_t k, int32_t pairs, int16_t *out)
{
    return add_pairs(s->near, s->far, k, pairs, out);
}

static MCT_NOINLINE bool add_plain_pairs(const summands *s, int32_t pairs, int16_t *out)
{
    return add_pairs(s->near, s->far, 0, pairs, out);
}

static uint32_t add(const summands *s, int32_t elements, int16_t *out)
{
    const int32_t pairs = elements / 2, k = s->shift == 0 ? 0 : (int32_t)(1u << (31 - s->shift)), last = elements - 1;
    const int32_t odd = elements % 2 != 0 ? sum_at(s, last) : 0; /* before it may be overwritten */

    if (out == s->near && out == s->far) {
        return add_apart(s, elements, out);
    }
    const bool fits = s->shift == 0 ? add_plain_pairs(s, pairs, out) : add_shifted_pairs(s, k, pairs, out);
    const uint32_t r = fits && mct_magnitude_s32(odd) <= INT16_MAX ? 0 : 1;

    if (r != 0) {
        halve_pairs(out == s->near ? s->far : s->near, out == s->near ? k : 0, pairs, out);
    }
    if (elements % 2 != 0) {
        out[last] = (int16_t)mct_halfaway(odd, r);
    }
    return r;
}

#else

static uint32_t add(const summands *s, int32_t elements, int16_t *out)
{
    return add_apart(s, elements, out);
}

#endif

mct_status mct_error_sum_b16(const mct_elements_params *params, const mct_b16 *a, const mct_b16 *b, mct_b16 *out)
{
    if (params == NULL || a == NULL || b == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t exponent = a->exponent > b->exponent ? a->exponent : b->exponent;
    const summands s = sort(a, b);

    out->exponent = exponent + (int32_t)add(&s, params->elements, out->mantissa);
    return MCT_OK;
}

mct_status mct_error_sum_f32(const mct_elements_params *params, const float *a, const float *b, float *out)
{
    if (params == NULL || a == NULL || b == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; i < params->elements; i++) {
        out[i] = a[i] + b[i];
    }
    return MCT_OK;
}
