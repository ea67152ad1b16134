/* error_scale: the clip mask, and a factor for each channel. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/block_float.h"
#include "kernels/common/pairs.h"

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

static inline uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Mantissas of several channels: pixels rows of `channels`, each channel with its scale. */
typedef struct {
    const int32_t *scale;
    int32_t pixels, channels;
} grid;

/* One channel: the largest |scaled|. Scaling is monotonic, so only the largest and the smallest mantissa are scaled. */
static uint32_t largest_of_channel(const int16_t *mantissa, const grid *grid, int32_t scale)
{
    int32_t most = 0, least = 0;

    for (int32_t p = 0; p < grid->pixels; p++, mantissa += grid->channels) {
        most = *mantissa > most ? *mantissa : most;
        least = *mantissa < least ? *mantissa : least;
    }
    return larger(mct_magnitude_s32(scaled(most, scale)), mct_magnitude_s32(scaled(least, scale)));
}

static void round_channel(const int16_t *mantissa, const grid *grid, int32_t scale, uint32_t r, int16_t *out)
{
    for (int32_t p = 0; p < grid->pixels; p++, mantissa += grid->channels, out += grid->channels) {
        *out = (int16_t)mct_halfaway(scaled(*mantissa, scale), r);
    }
}

/* `count` mantissas, those outside 0. */
static void keep_bits(const int16_t *mantissa, uint32_t word, int32_t count, int16_t *out)
{
    for (int32_t i = 0; i < count; i++, word >>= 1) {
        out[i] = (word & 1u) != 0 ? mantissa[i] : 0;
    }
}

#if MCT_DSP

/* 32 mantissas, those outside 0. */
static inline void keep_word(const int16_t *mantissa, uint32_t word, int16_t *out)
{
    const int16_t *const end = mantissa + WORD_BITS;
    uint32_t bits = mct_pairs_of_mask(word);

    do {
        const int32_t x0 = mct_load_word(mantissa), x1 = mct_load_word(mantissa + 2);
        const int32_t x2 = mct_load_word(mantissa + 4), x3 = mct_load_word(mantissa + 6);

        mantissa += 8;
        MCT_LOAD_FENCE();
        mct_store_word(out, mct_pair_inside(&bits, x0));
        mct_store_word(out + 2, mct_pair_inside(&bits, x1));
        mct_store_word(out + 4, mct_pair_inside(&bits, x2));
        mct_store_word(out + 6, mct_pair_inside(&bits, x3));
        out += 8;
    } while (mantissa != end);
}

/* The largest |scaled| of the two channels of a word. */
static inline uint32_t largest_of_range(int32_t most, int32_t least, const int32_t *scale)
{
    const uint32_t low = larger(mct_magnitude_s32(mct_smulwb(scale[0], most)), mct_magnitude_s32(mct_smulwb(scale[0], least)));
    const uint32_t high = larger(mct_magnitude_s32(mct_smulwt(scale[1], most)), mct_magnitude_s32(mct_smulwt(scale[1], least)));

    return larger(low, high);
}

static MCT_NOINLINE uint32_t largest_of_four_channels(const int16_t *mantissa, const grid *grid, const int32_t *scale)
{
    const int32_t step = grid->channels;
    int32_t most0 = 0, least0 = 0, most1 = 0, least1 = 0, p = grid->pixels;

    if (p % 2 != 0) {
        most0 = mct_load_word(mantissa);
        most1 = mct_load_word(mantissa + 2);
        least0 = mct_pair_min(most0, 0);
        least1 = mct_pair_min(most1, 0);
        most0 = mct_pair_max(most0, 0);
        most1 = mct_pair_max(most1, 0);
        mantissa += step;
    }
    for (p /= 2; p > 0; p--, mantissa += step) {
        const int32_t x0 = mct_load_word(mantissa), x1 = mct_load_word(mantissa + 2);
        mantissa += step;
        const int32_t x2 = mct_load_word(mantissa), x3 = mct_load_word(mantissa + 2);

        most0 = mct_pair_max(most0, x0);
        least0 = mct_pair_min(least0, x0);
        most1 = mct_pair_max(most1, x1);
        least1 = mct_pair_min(least1, x1);
        most0 = mct_pair_max(most0, x2);
        least0 = mct_pair_min(least0, x2);
        most1 = mct_pair_max(most1, x3);
        least1 = mct_pair_min(least1, x3);
    }
    return larger(largest_of_range(most0, least0, scale), largest_of_range(most1, least1, scale + 2));
}

/* r > 0 and |scaled| < 2^30. */
static inline int32_t round_pair(int32_t pair, int32_t scale0, int32_t scale1, int32_t half, uint32_t r)
{
    return mct_pkhbt(mct_halfaway_within(mct_smulwb(scale0, pair), half, r), mct_halfaway_within(mct_smulwt(scale1, pair), half, r));
}

static MCT_NOINLINE void round_four_channels(const int16_t *mantissa, const grid *grid, const int32_t *scale, uint32_t r, int16_t *out)
{
    const int32_t s0 = scale[0], s1 = scale[1], s2 = scale[2], s3 = scale[3];
    const int32_t step = grid->channels, half = (int32_t)((1u << r) >> 1);

    for (int32_t p = grid->pixels; p > 0; p--, mantissa += step, out += step) {
        const int32_t x0 = mct_load_word(mantissa), x1 = mct_load_word(mantissa + 2);

        MCT_LOAD_FENCE();
        mct_store_word(out, round_pair(x0, s0, s1, half, r));
        mct_store_word(out + 2, round_pair(x1, s2, s3, half, r));
    }
}

static uint32_t largest_scaled(const int16_t *mantissa, const grid *grid)
{
    uint32_t largest = 0;
    int32_t c = 0;

    for (; c + 4 <= grid->channels; c += 4) {
        largest = larger(largest, largest_of_four_channels(mantissa + c, grid, grid->scale + c));
    }
    for (; c < grid->channels; c++) {
        largest = larger(largest, largest_of_channel(mantissa + c, grid, grid->scale[c]));
    }
    return largest;
}

static void round_all(const int16_t *mantissa, const grid *grid, uint32_t r, int16_t *out)
{
    int32_t c = 0;

    for (; c + 4 <= grid->channels && r > 0; c += 4) {
        round_four_channels(mantissa + c, grid, grid->scale + c, r, out + c);
    }
    for (; c < grid->channels; c++) {
        round_channel(mantissa + c, grid, grid->scale[c], r, out + c);
    }
}

#else

static inline void keep_word(const int16_t *mantissa, uint32_t word, int16_t *out)
{
    keep_bits(mantissa, word, WORD_BITS, out);
}

static uint32_t largest_scaled(const int16_t *mantissa, const grid *grid)
{
    uint32_t largest = 0;

    for (int32_t c = 0; c < grid->channels; c++) {
        largest = larger(largest, largest_of_channel(mantissa + c, grid, grid->scale[c]));
    }
    return largest;
}

static void round_all(const int16_t *mantissa, const grid *grid, uint32_t r, int16_t *out)
{
    for (int32_t c = 0; c < grid->channels; c++) {
        round_channel(mantissa + c, grid, grid->scale[c], r, out + c);
    }
}

#endif

/* Mantissas, those outside 0. out may be mantissa. */
static MCT_NOINLINE void keep_inside(const int16_t *mantissa, const uint32_t *inside, int32_t elements, int16_t *out)
{
    for (; elements >= WORD_BITS; elements -= WORD_BITS, mantissa += WORD_BITS, out += WORD_BITS) {
        const uint32_t word = *inside++;

        if (word != ~0u) {
            keep_word(mantissa, word, out);
        } else if (mantissa != out) {
            memcpy(out, mantissa, WORD_BITS * sizeof *out);
        }
    }
    if (elements > 0) {
        keep_bits(mantissa, *inside, elements, out);
    }
}

/* The mask is applied first, into out, and what follows goes channel by channel with its scale in a register. */
mct_status mct_error_scale_b16(const mct_error_scale_params *params, const mct_b16 *error, const uint32_t *inside, const int32_t *scale,
                               mct_b16 *out)
{
    if (!is_valid(params, error, scale, out) || params->mantissa_bits < 1 || params->mantissa_bits > 15) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements, exponent = error->exponent;
    /* One scale for all elements is four channels of that scale, and up to three elements more. */
    const int32_t four[4] = {scale[0], scale[0], scale[0], scale[0]};
    const int32_t behind = params->channels == 1 ? elements % 4 : 0;
    const grid channels = {scale, elements / params->channels, params->channels}, fours = {four, elements / 4, 4};
    const grid *const main = params->channels == 1 ? &fours : &channels;
    const grid rest = {scale, behind, 1};
    const int16_t *mantissa = error->mantissa;

    if (inside != NULL) {
        keep_inside(mantissa, inside, elements, out->mantissa);
        mantissa = out->mantissa;
    }
    const uint32_t largest = larger(largest_scaled(mantissa, main), largest_scaled(mantissa + elements - behind, &rest));
    const uint32_t r = mct_fit(largest, (uint32_t)params->mantissa_bits);

    round_all(mantissa, main, r, out->mantissa);
    round_all(mantissa + elements - behind, &rest, r, out->mantissa + elements - behind);
    out->exponent = exponent + params->scale_exponent + 16 + (int32_t)r;
    return MCT_OK;
}

mct_status mct_error_scale_f32(const mct_error_scale_params *params, const float *error, const uint32_t *inside, const float *scale,
                               float *out)
{
    if (!is_valid(params, error, scale, out)) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements, channels = params->channels;

    for (int32_t i = 0, c = 0; i < elements; i++, c = c + 1 < channels ? c + 1 : 0) {
        const bool is_inside = inside == NULL || (inside[i / WORD_BITS] >> (i % WORD_BITS) & 1u) != 0;

        out[i] = is_inside ? error[i] * scale[c] : 0.0f;
    }
    return MCT_OK;
}
