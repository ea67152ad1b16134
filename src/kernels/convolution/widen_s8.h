/* int8 to words of two int16, for operands that conv2d reads more often than it widens them. Of every four, 0 and 2 make a word, then 1 and
 * 3: the order in which SXTB16 unpacks. */
#ifndef MCT_KERNELS_WIDEN_S8_H
#define MCT_KERNELS_WIDEN_S8_H

#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"

#if MCT_DSP

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && defined(__OPTIMIZE__)

/* In assembly for the order: on the M4 loads that stand together overlap, on the M7 each SXTAB16 issues with the store of its result. */
/* clang-format off */
#define MCT_WIDEN_WORD(word, even, odd)                                                                                                    \
    "sxtab16 %[t], %[offsets], " word "\n\t"                                                                                               \
    "str %[t], [%[target], %[pitch]*" even "]\n\t"                                                                                         \
    "sxtab16 " word ", %[offsets], " word ", ror #8\n\t"                                                                                   \
    "str " word ", [%[target], %[pitch]*" odd "]\n\t"
/* The last word, and on to the next. */
#define MCT_WIDEN_LAST(word, odd, words)                                                                                                   \
    "sxtab16 %[t], %[offsets], " word ", ror #8\n\t"                                                                                       \
    "str %[t], [%[target], %[pitch]*" odd "]\n\t"                                                                                          \
    "sxtab16 " word ", %[offsets], " word "\n\t"                                                                                           \
    "str " word ", [%[target]], %[pitch]*" words "\n\t"
/* clang-format on */

/* Widen `words` words, each half plus one of `offsets`, into words that are `pitch` apart (a constant). Returns where the next would go. */
static MCT_SPECIALISED int32_t *mct_widen_s8(const int8_t *source, int32_t words, int32_t offsets, const int32_t pitch, int32_t *target)
{
    int32_t a, b, c, d, t;

    /* clang-format off */
    __asm__ volatile(
            "subs %[words], #4\n\t"
            "blo 2f\n"
        "1:\n\t"
            "ldr %[b], [%[source], #4]\n\t"
            "ldr %[c], [%[source], #8]\n\t"
            "ldr %[d], [%[source], #12]\n\t"
            "ldr %[a], [%[source]], #16\n\t"
            "subs %[words], #4\n\t"
            MCT_WIDEN_WORD("%[b]", "2", "3")
            MCT_WIDEN_WORD("%[c]", "4", "5")
            MCT_WIDEN_WORD("%[d]", "6", "7")
            MCT_WIDEN_LAST("%[a]", "1", "8")
            "bhs 1b\n"
        "2:\n\t"
            "lsls %[words], #31\n\t" /* N: 1, C: 2 */
            "bcc 3f\n\t"
            "ldr %[b], [%[source], #4]\n\t"
            "ldr %[a], [%[source]], #8\n\t"
            MCT_WIDEN_WORD("%[b]", "2", "3")
            MCT_WIDEN_LAST("%[a]", "1", "4")
        "3:\n\t"
            "bpl 4f\n\t"
            "ldr %[a], [%[source]]\n\t"
            MCT_WIDEN_LAST("%[a]", "1", "2")
        "4:\n"
        : [source] "+r"(source), [words] "+r"(words), [target] "+r"(target), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d),
        [t] "=&r"(t)
        : [offsets] "r"(offsets), [pitch] "i"(4 * pitch)
        : "cc", "memory");
    /* clang-format on */
    return target;
}

#else

static MCT_SPECIALISED int32_t *mct_widen_s8(const int8_t *source, int32_t words, int32_t offsets, const int32_t pitch, int32_t *target)
{
    for (; words > 0; words--, source += 4, target += 2 * pitch) {
        const int32_t word = mct_load_word(source);

        target[0] = mct_sxtab16(offsets, word);
        target[pitch] = mct_sxtab16_ror8(offsets, word);
    }
    return target;
}

#endif
#endif /* MCT_DSP */
#endif
