/* gradient_accumulate: the gradient of one sample is added to those of its minibatch (docs/arithmetic.md, "Minibatches"). */
#include "kernels/common/exact.h"

#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/update/wide_sums.h"
#include "mcutrain/update.h"

#include <stdbool.h>

#define LARGEST_FACTOR_BITS 30 /* check: 2^30 < 2^31 - 1 < 2^31 */

/* Mantissas of 63 bits: their two highest bits differ, and so does bit 31 of this. */
static inline uint32_t top_bits(int64_t v)
{
    const uint32_t high = (uint32_t)((uint64_t)v >> 32);

    return high ^ (high << 1);
}

/* Where sums and gradient are read and written, and what has been seen of the sums. */
typedef struct {
    int64_t *sums;
    const int32_t *gradient;
    int32_t factor;
    uint32_t top;
} addition;

static inline void add_one(addition *to)
{
    /* Of all ways to widen, shift and add an int32, SMLAL is the shortest. */
    *to->sums += (int64_t)*to->gradient++ * to->factor;
    to->top |= top_bits(*to->sums++);
}

#if MCT_DSP && defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && defined(__OPTIMIZE__)

/* In assembly: compilers do not put the loads in a row for the one core, or use what is loaded two steps later for the other, and need half as
 * many cycles again. r4, r5: gradient; r6 to r9: sums, whose higher words are looked at in the next step; r10, r11: their top bits. */
/* clang-format off */
#if MCT_DUAL_ISSUE
#define ADD_TWO                                                                                                                            \
    "ldrd r4, r5, [%[gradient]], #8\n\t"                                                                                                   \
    "eor r10, lr, lr, lsl #1\n\t"                                                                                                          \
    "ldrd r6, lr, [%[sums]]\n\t"                                                                                                           \
    "eor r11, r9, r9, lsl #1\n\t"                                                                                                          \
    "ldrd r8, r9, [%[sums], #8]\n\t"                                                                                                       \
    "orr %[top], %[top], r10\n\t"                                                                                                          \
    "smlal r6, lr, r4, %[factor]\n\t"                                                                                                      \
    "orr %[top], %[top], r11\n\t"                                                                                                          \
    "smlal r8, r9, r5, %[factor]\n\t"                                                                                                      \
    "strd r6, lr, [%[sums]], #8\n\t"                                                                                                       \
    "strd r8, r9, [%[sums]], #8\n\t"
#else
#define ADD_TWO                                                                                                                            \
    "eor r10, lr, lr, lsl #1\n\t"                                                                                                          \
    "eor r11, r9, r9, lsl #1\n\t"                                                                                                          \
    "ldr r5, [%[gradient], #4]\n\t"                                                                                                        \
    "ldr r4, [%[gradient]], #8\n\t"                                                                                                        \
    "ldr r6, [%[sums]]\n\t"                                                                                                                \
    "ldr lr, [%[sums], #4]\n\t"                                                                                                            \
    "ldr r8, [%[sums], #8]\n\t"                                                                                                            \
    "ldr r9, [%[sums], #12]\n\t"                                                                                                           \
    "smlal r6, lr, r4, %[factor]\n\t"                                                                                                      \
    "smlal r8, r9, r5, %[factor]\n\t"                                                                                                      \
    "orr %[top], %[top], r10\n\t"                                                                                                          \
    "orr %[top], %[top], r11\n\t"                                                                                                          \
    "str lr, [%[sums], #4]\n\t"                                                                                                            \
    "str r8, [%[sums], #8]\n\t"                                                                                                            \
    "str r9, [%[sums], #12]\n\t"                                                                                                           \
    "str r6, [%[sums]], #16\n\t"
#endif
/* clang-format on */

static MCT_NOINLINE void add_eights(addition *to, int32_t eights)
{
    if (eights == 0) {
        return;
    }
    __asm__ volatile("mov lr, #0\n\t"
                     "mov r9, #0\n"
                     "0:\n\t" ADD_TWO ADD_TWO ADD_TWO ADD_TWO "subs %[eights], %[eights], #1\n\t"
                     "bne 0b\n\t"
                     "eor r10, lr, lr, lsl #1\n\t"
                     "eor r11, r9, r9, lsl #1\n\t"
                     "orr %[top], %[top], r10\n\t"
                     "orr %[top], %[top], r11"
                     : [gradient] "+r"(to->gradient), [sums] "+r"(to->sums), [top] "+r"(to->top), [eights] "+r"(eights)
                     : [factor] "r"(to->factor)
                     : "r4", "r5", "r6", "lr", "r8", "r9", "r10", "r11", "cc", "memory");
}

#else

static inline void add_eights(addition *to, int32_t eights)
{
    for (int32_t i = 0; i < 8 * eights; i++) {
        add_one(to);
    }
}

#endif

/* sums += gradient * factor, |product| <= 2^31 * 2^30 = 2^61; |sum| <= 2^62 + 2^61. Returns whether a sum has become wider than 62 bits. */
static MCT_NOINLINE bool add_products(int64_t *sums, const int32_t *gradient, int32_t factor, int32_t elements)
{
    addition to = {sums, gradient, factor, 0};

    add_eights(&to, elements / 8);
    for (int32_t i = 0; i < elements % 8; i++) {
        add_one(&to);
    }
    return to.top >> 31 != 0;
}

/* sums = sums * factor + gradient, where that is at most 62 bits wide before the gradient: UMULL, MLA and SMLAL. */
static MCT_NOINLINE bool add_to_products(int64_t *restrict sums, const int32_t *restrict gradient, uint32_t factor, int32_t elements)
{
    uint32_t top = 0;

    MCT_UNROLL(4)
    for (int32_t i = 0; i < elements; i++) {
        sums[i] = (int64_t)((uint64_t)sums[i] * factor) + gradient[i];
        top |= top_bits(sums[i]);
    }
    return top >> 31 != 0;
}

/* v * 2^shift, rounded half away from zero; nothing is lost to the left: shift <= 62 - the width of v. */
static inline int64_t scaled(int64_t v, int64_t shift)
{
    if (shift >= 0) {
        return (int64_t)((uint64_t)v << shift);
    }
    return shift < -63 ? 0 : mct_halfaway_s64(v, (uint32_t)-shift);
}

static void rescale(int64_t *sums, int64_t shift, int32_t elements)
{
    for (int32_t i = 0; i < elements; i++) {
        sums[i] = scaled(sums[i], shift);
    }
}

/* Both scaled, and added: neither is then more than 62 bits wide. Far exponents only, so it may take its time. */
static bool add_scaled(int64_t *sums, int64_t sums_shift, const int32_t *gradient, int64_t gradient_shift, int32_t elements)
{
    uint32_t top = 0;

    for (int32_t i = 0; i < elements; i++) {
        sums[i] = scaled(sums[i], sums_shift) + scaled(gradient[i], gradient_shift);
        top |= top_bits(sums[i]);
    }
    return top >> 31 != 0;
}

static uint32_t width_of_sums(const int64_t *sums, int32_t elements)
{
    uint64_t spread = 0;

    MCT_UNROLL(4)
    for (int32_t i = 0; i < elements; i++) {
        spread |= mct_spread_s64(sums[i]);
    }
    return mct_width_u64(spread);
}

static uint32_t width_of_gradient(const int32_t *gradient, int32_t elements)
{
    uint32_t spread = 0;

    MCT_UNROLL(4)
    for (int32_t i = 0; i < elements; i++) {
        spread |= (uint32_t)(gradient[i] ^ (gradient[i] >> 31));
    }
    return mct_width_u64(spread);
}

/* Whether there are only zeros. It ends with the first mantissa that is none: for most sums that is the first. */
static bool is_zero_s32(const int32_t *values, int32_t elements)
{
    int32_t i = 0;

    while (i < elements && values[i] == 0) {
        i++;
    }
    return i == elements;
}

static bool is_zero_s64(const int64_t *values, int32_t elements)
{
    int32_t i = 0;

    while (i < elements && values[i] == 0) {
        i++;
    }
    return i == elements;
}

static inline int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

mct_status mct_gradient_accumulate_b16(const mct_elements_params *params, const mct_b32 *gradient, mct_b64 *accumulator)
{
    if (params == NULL || gradient == NULL || accumulator == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements;
    int64_t *const sums = accumulator->mantissa;
    const int64_t exponent = gradient->exponent;
    int64_t common = accumulator->exponent;
    bool is_wide;

    if (is_zero_s32(gradient->mantissa, elements)) {
        return MCT_OK;
    }
    if (is_zero_s64(sums, elements)) {
        common = exponent;
    }
    const int64_t own = common;

    if (exponent >= own && exponent - own <= LARGEST_FACTOR_BITS) {
        /* The gradient is at most 31 + 30 bits wide here, and the sums at most 62: nothing has to be measured. */
        is_wide = add_products(sums, gradient->mantissa, (int32_t)(1u << (exponent - own)), elements);
    } else {
        const int64_t least_for_sums = own + width_of_sums(sums, elements) - MCT_WIDEST_SUM;
        const int64_t least_for_gradient = exponent + width_of_gradient(gradient->mantissa, elements) - MCT_WIDEST_SUM;

        common = larger(own < exponent ? own : exponent, larger(least_for_sums, least_for_gradient));
        is_wide = common == exponent && own - common <= LARGEST_FACTOR_BITS
                      ? add_to_products(sums, gradient->mantissa, 1u << (own - common), elements)
                      : add_scaled(sums, own - common, gradient->mantissa, exponent - common, elements);
    }
    if (is_wide) {
        rescale(sums, -1, elements);
        common++;
    }
    accumulator->exponent = (int32_t)common;
    return MCT_OK;
}

mct_status mct_gradient_accumulate_f32(const mct_elements_params *params, const float *restrict gradient, float *restrict accumulator)
{
    if (params == NULL || gradient == NULL || accumulator == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; i < params->elements; i++) {
        accumulator[i] = accumulator[i] + gradient[i];
    }
    return MCT_OK;
}
