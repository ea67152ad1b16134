/* add: both inputs on a common finer scale, summed, rescaled to the output. */
#include "kernels/common/exact.h"

#include <stdbool.h>
#include <stddef.h>

#include "mcutrain/forward.h"
#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/common/requantize.h"

/* The linear form of an add (mct_add_s8_params): codes four at a time, as the upper bytes of halfwords, which SMLAWB and SMLAWT multiply.
 * The sums' upper halfwords are the codes minus the clamp's lower end, so that both ends are one unsigned comparison. */

#if MCT_DSP
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* Offsets of members are known to assembly. */
typedef struct {
    int32_t a_factor, b_factor, offset;
    const int8_t *end; /* of the rounds, and four more */
} mct_add_task;

/* Rounds of sixteen elements, clamped to int8, with four more elements behind the last: they are read already. In assembly, for the order
 * that the M7 likes: a four's sums are made while the four before becomes codes, and the four behind is loaded.
 *
 * r0: a, r1: b, r2: y, r4 and r5: their factors, r6: offset, r7: 0xFF00FF00. A, B: odd codes of a and b, E, F: even ones, then sums, as is S;
 * P, Q: even and odd sums of the four before, then the words of the next. They change places from four to four, and are back after four. */
/* clang-format off */
#define MCT_ADD_FIRST(A, B, E, F, S, P, Q)                                                                                                 \
    "usat16 " P ", #8, " P "\n\t"                                                                                                          \
    "smlawb " S ", r4, " E ", r6\n\t"                                                                                                      \
    "usat16 " Q ", #8, " Q "\n\t"                                                                                                          \
    "smlawt " E ", r4, " E ", r6\n\t"                                                                                                      \
    "smlawb " S ", r5, " F ", " S "\n\t"                                                                                                   \
    "smlawt " E ", r5, " F ", " E "\n\t"                                                                                                   \
    "orr " P ", " P ", " Q ", lsl #8\n\t"                                                                                                  \
    "eor " P ", " P ", #0x80808080\n\t"                                                                                                    \
    "str " P ", [r2], #4\n"
#define MCT_ADD_SECOND(A, B, E, F, S, P, Q)                                                                                                \
    "smlawb " F ", r4, " A ", r6\n\t"                                                                                                      \
    "ldr " Q ", [r0], #4\n\t"                                                                                                              \
    "ldr " P ", [r1], #4\n\t"                                                                                                              \
    "smlawt " A ", r4, " A ", r6\n\t"                                                                                                      \
    "pkhtb " S ", " E ", " S ", asr #16\n\t"                                                                                               \
    "smlawb " F ", r5, " B ", " F "\n\t"                                                                                                   \
    "smlawt " A ", r5, " B ", " A "\n\t"                                                                                                   \
    "and " E ", r7, " Q ", lsl #8\n\t"                                                                                                     \
    "and " Q ", " Q ", r7\n\t"                                                                                                             \
    "and " B ", r7, " P ", lsl #8\n\t"                                                                                                     \
    "pkhtb " A ", " A ", " F ", asr #16\n\t"                                                                                               \
    "and " P ", " P ", r7\n\t"
/* clang-format on */
#define MCT_ADD_FOUR(A, B, E, F, S, P, Q) MCT_ADD_FIRST(A, B, E, F, S, P, Q) MCT_ADD_SECOND(A, B, E, F, S, P, Q)

/* task: a_factor, b_factor, offset, and a's end plus four. */
__attribute__((naked, noinline)) static void mct_add_sixteens(const int8_t *a __attribute__((unused)),
                                                              const int8_t *b __attribute__((unused)), int8_t *y __attribute__((unused)),
                                                              const mct_add_task *task __attribute__((unused)))
{
    /* clang-format off */
    __asm__ volatile(
            "push {r4-r11, lr}\n\t"
            "ldm r3, {r4-r7}\n\t"
            "push {r7}\n\t"
            "mov r7, #0xFF00FF00\n\t"
            "ldr r8, [r0], #4\n\t"
            "ldr r9, [r1], #4\n\t"
            "and r10, r7, r8, lsl #8\n\t"
            "and r8, r8, r7\n\t"
            "and r11, r7, r9, lsl #8\n\t"
            "and r9, r9, r7\n\t"
            "smlawb r12, r4, r10, r6\n\t"
            "smlawt r10, r4, r10, r6\n\t"
            "smlawb r12, r5, r11, r12\n\t"
            "smlawt r10, r5, r11, r10\n\t"
            "b 1f\n"
        "0:\n\t"
            MCT_ADD_FIRST("r8", "r9", "r10", "r11", "r12", "lr", "r3")
        "1:\n\t"
            MCT_ADD_SECOND("r8", "r9", "r10", "r11", "r12", "lr", "r3")
            MCT_ADD_FOUR("r3", "lr", "r10", "r9", "r11", "r12", "r8")
            MCT_ADD_FOUR("r8", "r12", "r10", "lr", "r9", "r11", "r3")
            MCT_ADD_FOUR("r3", "r11", "r10", "r12", "lr", "r9", "r8")
            "ldr r12, [sp]\n\t"
            "cmp r0, r12\n\t"
            "bne 0b\n\t"
            "usat16 lr, #8, lr\n\t"
            "usat16 r3, #8, r3\n\t"
            "orr lr, lr, r3, lsl #8\n\t"
            "eor lr, lr, #0x80808080\n\t"
            "str lr, [r2]\n\t"
            "add sp, #4\n\t"
            "pop {r4-r11, pc}\n");
    /* clang-format on */
}

#endif
#endif

/* The linear form. lowest: clamp_min; widest: clamp_max - clamp_min. */
typedef struct {
    int32_t a_factor, b_factor, offset;
    int32_t lowest, widest;
} mct_linear_form;

/* One element; returns whether it lay inside the clamp. */
static inline uint32_t mct_add_one(int32_t a, int32_t b, const mct_linear_form *form, int8_t *y)
{
    const uint32_t products = (uint32_t)(((int64_t)a * form->a_factor) >> 8) + (uint32_t)(((int64_t)b * form->b_factor) >> 8);
    const int32_t above = (int32_t)(products + (uint32_t)form->offset) >> 16;
    const int32_t clamped = above < 0 ? 0 : above > form->widest ? form->widest : above;

    *y = (int8_t)(clamped + form->lowest);
    return above == clamped;
}

/* Up to 32 elements: a word of the mask. */
static uint32_t mct_add_few(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const mct_linear_form *form)
{
    uint32_t inside = 0;

    for (int32_t i = 0; i < count; i++) {
        inside |= mct_add_one(a[i], b[i], form, &y[i]) << i;
    }
    return inside;
}

#if MCT_DSP
/* Four elements as two pairs of halfwords: codes minus the lowest, before the clamp. */
typedef struct {
    int32_t even, odd;
} mct_four_sums;

static MCT_SPECIALISED mct_four_sums mct_add_four(const int8_t *a, const int8_t *b, int32_t a_factor, int32_t b_factor, int32_t offset,
                                                  int32_t upper)
{
    const int32_t a4 = mct_load_word(a), b4 = mct_load_word(b);
    const int32_t a_even = (int32_t)((uint32_t)a4 << 8) & upper, a_odd = a4 & upper;
    const int32_t b_even = (int32_t)((uint32_t)b4 << 8) & upper, b_odd = b4 & upper;
    const int32_t s0 = mct_smlawb(b_factor, b_even, mct_smlawb(a_factor, a_even, offset));
    const int32_t s1 = mct_smlawb(b_factor, b_odd, mct_smlawb(a_factor, a_odd, offset));
    const int32_t s2 = mct_smlawt(b_factor, b_even, mct_smlawt(a_factor, a_even, offset));
    const int32_t s3 = mct_smlawt(b_factor, b_odd, mct_smlawt(a_factor, a_odd, offset));
    const mct_four_sums sums = {mct_pkhtb(s2, s0), mct_pkhtb(s3, s1)};

    return sums;
}

/* What clamps four bytes of sums: saturated to 255 with `up` added, so that codes above the highest meet there; `down` then leads to codes. */
typedef struct {
    int32_t up, down;
} mct_four_clamps;

static mct_four_clamps mct_clamps_of(const mct_linear_form *form)
{
    const mct_four_clamps clamps = {mct_each_byte(UINT8_MAX - form->widest), mct_each_byte(UINT8_MAX - form->widest - form->lowest)};

    return clamps;
}

static MCT_SPECIALISED int32_t mct_codes_of(mct_four_sums sums, mct_four_clamps clamps, bool is_full)
{
    const int32_t above = mct_usat16_8(sums.even) | (int32_t)((uint32_t)mct_usat16_8(sums.odd) << 8);

    return is_full ? above ^ (int32_t)0x80808080u : mct_usub8(mct_uqadd8(above, clamps.up), clamps.down);
}

/* A whole number of fours. is_full: the clamp is all of int8. */
static MCT_SPECIALISED void mct_add_fours(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const mct_linear_form *form,
                                          bool is_full)
{
    const int32_t a_factor = form->a_factor, b_factor = form->b_factor, offset = form->offset;
    const mct_four_clamps clamps = mct_clamps_of(form);
    int32_t upper = (int32_t)0xFF00FF00u;

#if defined(__GNUC__)
    __asm__("" : "+r"(upper)); /* in a register, it masks and shifts in one instruction; as a constant, in two */
#endif
    for (const int8_t *const end = a + count; a != end; a += 4, b += 4, y += 4) {
        mct_store_word(y, mct_codes_of(mct_add_four(a, b, a_factor, b_factor, offset, upper), clamps, is_full));
    }
}

static MCT_NOINLINE void mct_add_full(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const mct_linear_form *form)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    if (count >= 20) {
        const int32_t done = (count - 4) / 16 * 16;
        const mct_add_task task = {form->a_factor, form->b_factor, form->offset, a + done + 4};

        mct_add_sixteens(a, b, y, &task);
        a += done;
        b += done;
        y += done;
        count -= done;
    }
#endif
    mct_add_fours(a, b, y, count, form, true);
}

static MCT_NOINLINE void mct_add_narrow(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const mct_linear_form *form)
{
    mct_add_fours(a, b, y, count, form, false);
}

/* The signs of both halfwords that lie outside of the clamp. */
static MCT_SPECIALISED uint32_t mct_outside_of(int32_t sums, int32_t widest2)
{
    return (uint32_t)(mct_ssub16(widest2, sums) | sums) & 0x80008000u;
}

/* A whole number of words of the mask. The halfwords' signs of a four are its bits 1 and 3 (odd) and 0 and 2 (even); four fours fill both
 * halfwords, which then are put into one. */
static MCT_NOINLINE void mct_add_masked(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const mct_linear_form *form,
                                        uint32_t *inside)
{
    const int32_t a_factor = form->a_factor, b_factor = form->b_factor, offset = form->offset, widest2 = form->widest * 0x10001;
    const mct_four_clamps clamps = mct_clamps_of(form);

    for (uint32_t *const end = inside + count / 32; inside != end; inside++) {
        uint32_t word = 0;

        for (int32_t half = 0; half < 2; half++) {
            uint32_t outside = 0;

            MCT_UNROLL(4)
            for (int32_t i = 0; i < 4; i++, a += 4, b += 4, y += 4) {
                const mct_four_sums sums = mct_add_four(a, b, a_factor, b_factor, offset, (int32_t)0xFF00FF00u);

                outside = outside >> 4 | mct_outside_of(sums.odd, widest2) | mct_outside_of(sums.even, widest2) >> 1;
                mct_store_word(y, mct_codes_of(sums, clamps, false));
            }
            word = word >> 16 | ((outside >> 16 | (outside & 0xFFFFu) >> 2) << 16);
        }
        *inside = ~word;
    }
}
#endif

static void mct_add_linear(const int8_t *a, const int8_t *b, int8_t *y, int32_t count, const mct_linear_form *form, uint32_t *inside)
{
    int32_t done = 0;

#if MCT_DSP
    if (inside != NULL) {
        done = count / 32 * 32;
        mct_add_masked(a, b, y, done, form, inside);
    } else {
        done = count / 4 * 4;
        if (form->widest == UINT8_MAX) {
            mct_add_full(a, b, y, done, form);
        } else {
            mct_add_narrow(a, b, y, done, form);
        }
    }
#endif
    for (; done < count; done += 32) {
        const int32_t rest = count - done < 32 ? count - done : 32;
        const uint32_t word = mct_add_few(a + done, b + done, y + done, rest, form);

        if (inside != NULL) {
            inside[done / 32] = word;
        }
    }
}

enum { WORD_BITS = 32, MAX_LEFT_SHIFT = 22 };

static bool valid(const mct_add_s8_params *p)
{
    /* |code - zero point| <= 255: with multipliers up to 1 the sum of two stays within int32. check: 2 * 255 * 2^MAX_LEFT_SHIFT < 2^31 */
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
