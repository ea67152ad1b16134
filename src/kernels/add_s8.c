/* add: both inputs on a common finer scale, summed, rescaled to the output. */
#include "mcutrain/forward.h"

#include "add_linear.h"
#include "compiler.h"
#include "requantize.h"

enum { WORD_BITS = 32, MAX_LEFT_SHIFT = 22 };

static bool valid(const mct_add_s8_params *p)
{
    /* |code - zero point| <= 255, so that 255 * 2^22 and, with multipliers up to 1, the sum of two stay below 2^31. */
    return p->elements > 0 && mct_code_valid(p->a_zero_point) && mct_code_valid(p->b_zero_point) &&
           mct_clamp_valid(p->output_zero_point, p->clamp_min, p->clamp_max) && p->left_shift >= 0 && p->left_shift <= MAX_LEFT_SHIFT &&
           mct_multiplier_valid(p->a_multiplier, p->a_shift) && p->a_shift <= 0 && mct_multiplier_valid(p->b_multiplier, p->b_shift) &&
           p->b_shift <= 0 && mct_multiplier_valid(p->output_multiplier, p->output_shift);
}

/* requantise of (code - zero point) 2^left_shift, whose double stays below 2^31: one product that rounds, one division that does. */
typedef struct {
    int32_t zero_point, unit; /* 2^(left_shift + 1) */
    int32_t multiplier;
    int32_t shift, half, sign; /* of the division; sign: all bits where it divides, to turn half up into half away */
} fine_scale;

static fine_scale fine_scale_make(int32_t zero_point, int32_t left_shift, int32_t multiplier, int32_t shift)
{
    const fine_scale scale = {zero_point, 2 << left_shift, multiplier, -shift, shift < 0 ? 1 << (-shift - 1) : 0, shift < 0 ? -1 : 0};
    return scale;
}

static inline int32_t refine(int32_t code, const fine_scale *scale)
{
    const int32_t high = mct_high_rounded_s32((code - scale->zero_point) * scale->unit, scale->multiplier);
    return (high + scale->half + ((high >> 31) & scale->sign)) >> scale->shift;
}

/* What does not change from element to element. is_small: mct_is_small of the sums. */
typedef struct {
    fine_scale a, b;
    int32_t multiplier, shift, zero_point, low, high;
    bool is_small;
} add_context;

/* The output of one element before the clamp. */
static MCT_SPECIALISED int32_t add_codes(int32_t a, int32_t b, const add_context *add, bool is_small)
{
    const int32_t sum = refine(a, &add->a) + refine(b, &add->b);

    return is_small ? mct_requantise_twice(sum + sum, add->multiplier, add->shift, add->zero_point)
                    : mct_saturate_s32((int64_t)mct_requantise(sum, add->multiplier, add->shift) + add->zero_point);
}

/* Returns the mask's word of up to 32 elements. */
static MCT_SPECIALISED uint32_t add_word(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const add_context *context,
                                         bool is_small)
{
    const add_context add = *context; /* a copy: stores to y cannot change it */
    uint32_t inside = 0;

    for (int32_t i = 0; i < count; i++) {
        const int32_t code = add_codes(a[i], b[i], &add, is_small);
        const int32_t clamped = mct_clamp_s32(code, add.low, add.high);

        y[i] = (int8_t)clamped;
        inside |= (uint32_t)(code == clamped) << i;
    }
    return inside;
}

/* The input of the larger scale is only shifted: its multiplier is a half (docs/arithmetic.md). */
static bool is_shifted(const fine_scale *scale)
{
    return scale->multiplier == 1 << 30 && scale->shift == 0;
}

/* What add_shifted keeps in registers. */
typedef struct {
    int32_t zero_a, zero_b, multiplier_b, power_b, multiplier, power, zero_point;
} shifted_constants;

enum { LEFT_SHIFT = 20 }; /* of LiteRT: as a constant, a shift is part of an addition */

static MCT_SPECIALISED int32_t add_shifted_codes(int32_t a, int32_t b, const shifted_constants *c)
{
    const int32_t high_b = mct_high_rounded_s32(b * (2 << LEFT_SHIFT) - c->zero_b, c->multiplier_b);
    /* refine's division, by twice the dividend: a power of 2^31 would not fit */
    const int32_t twice_b = (high_b + (high_b >> 31)) * 2;
    const int32_t sum = mct_add_high_s32(twice_b, c->power_b, c->zero_a) + a * (1 << (LEFT_SHIFT - 1));
    const int32_t high = mct_high_rounded_s32(sum + sum, c->multiplier);

    return mct_add_high_s32(high + (high >> 31), c->power, c->zero_point);
}

/* All elements of small sums, without a narrower clamp than int8, where a is only shifted and b is divided: as few constants as there are
 * registers. Two at a time, as each is a chain of results that wait for one another. */
static MCT_NOINLINE void add_shifted(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const add_context *add, uint32_t *inside)
{
    const shifted_constants constants = {
        .zero_a = -(add->a.zero_point * (1 << (LEFT_SHIFT - 1))),
        .zero_b = add->b.zero_point * (2 << LEFT_SHIFT),
        .multiplier_b = add->b.multiplier,
        .power_b = (int32_t)((uint32_t)1 << (31 - add->b.shift)),
        .multiplier = add->multiplier,
        .power = (int32_t)((uint32_t)1 << (32 + add->shift)),
        .zero_point = add->zero_point,
    };

    if (inside != NULL) {
        for (int32_t start = 0; start < count; start += WORD_BITS, inside++) {
            const int32_t rest = count - start > WORD_BITS ? WORD_BITS : count - start;
            uint32_t word = 0;

            for (int32_t i = 0; i < rest; i++) {
                const int32_t code = add_shifted_codes(a[start + i], b[start + i], &constants), clamped = mct_saturate_s8(code);

                y[start + i] = (int8_t)clamped;
                word |= (uint32_t)(code == clamped) << i;
            }
            *inside = word;
        }
        return;
    }
    for (const int8_t *const end = a + count / 2 * 2; a != end; a += 2, b += 2, y += 2) {
        const int32_t a0 = a[0], a1 = a[1], b0 = b[0], b1 = b[1];

        y[0] = (int8_t)mct_saturate_s8(add_shifted_codes(a0, b0, &constants));
        y[1] = (int8_t)mct_saturate_s8(add_shifted_codes(a1, b1, &constants));
    }
    if (count % 2 != 0) {
        *y = (int8_t)mct_saturate_s8(add_shifted_codes(*a, *b, &constants));
    }
}

mct_status mct_add_s8(const mct_add_s8_params *params, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *inside)
{
    if (params == NULL || a == NULL || b == NULL || y == NULL || !valid(params)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_add_s8_params *const p = params;
    const add_context add = {
        .a = fine_scale_make(p->a_zero_point, p->left_shift, p->a_multiplier, p->a_shift),
        .b = fine_scale_make(p->b_zero_point, p->left_shift, p->b_multiplier, p->b_shift),
        .multiplier = p->output_multiplier,
        .shift = p->output_shift,
        .zero_point = p->output_zero_point,
        .low = p->clamp_min,
        .high = p->clamp_max,
        .is_small = mct_is_small((int64_t)2 * UINT8_MAX << p->left_shift, p->output_shift),
    };

    if (p->a_factor != 0 || p->b_factor != 0) {
        const mct_linear_form form = {p->a_factor, p->b_factor, p->offset, p->clamp_min, p->clamp_max - p->clamp_min};

        mct_add_linear(a, b, y, p->elements, &form, inside);
        return MCT_OK;
    }
    const bool is_plain = add.is_small && p->left_shift == LEFT_SHIFT && p->clamp_min == INT8_MIN && p->clamp_max == INT8_MAX;

    if (is_plain && is_shifted(&add.a) && add.b.shift > 0) {
        add_shifted(a, b, y, p->elements, &add, inside);
        return MCT_OK;
    }
    if (is_plain && is_shifted(&add.b) && add.a.shift > 0) {
        add_context swapped = add;

        swapped.a = add.b;
        swapped.b = add.a;
        add_shifted(b, a, y, p->elements, &swapped, inside);
        return MCT_OK;
    }
    for (int32_t start = 0; start < p->elements; start += WORD_BITS) {
        const int32_t count = p->elements - start > WORD_BITS ? WORD_BITS : p->elements - start;
        const uint32_t word = add.is_small ? add_word(a + start, b + start, y + start, count, &add, true)
                                           : add_word(a + start, b + start, y + start, count, &add, false);

        if (inside != NULL) {
            inside[start / WORD_BITS] = word;
        }
    }
    return MCT_OK;
}
