/* The linear form of an add (mct_add_s8_params): codes four at a time, as the upper bytes of halfwords, which SMLAWB and SMLAWT multiply.
 * The sums' upper halfwords are the codes minus the clamp's lower end, so that both ends are one unsigned comparison. */
#ifndef MCT_KERNELS_ADD_LINEAR_H
#define MCT_KERNELS_ADD_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "compiler.h"
#include "dsp.h"

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

#endif
