/* The DSP form's inner loop of convolutions: two filters over three gathered pixels, six sums.
 *
 * Gathered pixels lie interleaved. For every four taps: taps 0 and 2 of each pixel, three words of two int16, then taps 1 and 3 of each: the
 * order in which SXTB16 unpacks a word of weights. */
#ifndef MCT_KERNELS_DOT_2X3_H
#define MCT_KERNELS_DOT_2X3_H

#include "compiler.h"
#include "dsp.h"

enum { MCT_DOT_PIXELS = 3, MCT_DOT_FILTERS = 2 };

typedef struct {
    int32_t sums[MCT_DOT_FILTERS][MCT_DOT_PIXELS]; /* what they start from, then the result */
    const int8_t *end;                             /* of the first filter's whole words */
} mct_dot_2x3_block;

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* In assembly: the six sums, five operands and three pointers take every register but the stack pointer, and compilers then spill inside
 * of the loop. Weights are loaded again for their other half, which is cheaper than to keep them. All loads stand together: on the M4 each
 * but the first of a row takes one cycle.
 *
 * r0: pixels, r1, r2: filters, each less 4, so that the last load of a round can move its pointer on. r4 to r9: sums. */
#define MCT_DOT_HALF(word, weights_0, weights_1, x0, x1, x2, unpack)                                                                       \
    "ldr r10, [r1, #" weights_0 "\n\t"                                                                                                     \
    "ldr r11, [r2, #" weights_1 "\n\t"                                                                                                     \
    "ldr r3, [r0, #" x0 "]\n\t"                                                                                                            \
    "ldr r12, [r0, #" x1 "]\n\t"                                                                                                           \
    "ldr lr, [r0, #" x2 "\n\t"                                                                                                             \
    "sxtb16 r10, r10" unpack "\n\t"                                                                                                        \
    "sxtb16 r11, r11" unpack "\n\t"                                                                                                        \
    "smlad r4, r10, r3, r4\n\t"                                                                                                            \
    "smlad r5, r10, r12, r5\n\t"                                                                                                           \
    "smlad r6, r10, lr, r6\n\t"                                                                                                            \
    "smlad r7, r11, r3, r7\n\t"                                                                                                            \
    "smlad r8, r11, r12, r8\n\t"                                                                                                           \
    "smlad r9, r11, lr, r9\n\t"
#define MCT_DOT_EVEN(weights, x0, x1, x2) MCT_DOT_HALF("", weights "]", weights "]", x0, x1, x2 "]", "")
#define MCT_DOT_ODD(weights, x0, x1, x2) MCT_DOT_HALF("", weights, weights, x0, x1, x2, ", ror #8")

/* The rounds are of sixteen taps; the first is entered where as many are left as make the rest whole. */
__attribute__((naked, noinline)) static void mct_dot_2x3(const int32_t *pixels __attribute__((unused)),
                                                         const int8_t *filter_0 __attribute__((unused)),
                                                         const int8_t *filter_1 __attribute__((unused)),
                                                         mct_dot_2x3_block *block __attribute__((unused)))
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldr r12, [r3, #24]\n\t"
                     "ldm r3, {r4-r9}\n\t"
                     "sub r10, r1, r12\n\t" /* minus the bytes of a filter */
                     "sub r12, #4\n\t"
                     "push {r3, r12}\n\t"
                     "and r10, #12\n\t" /* how far into a round it begins */
                     "sub r1, r10\n\t"
                     "sub r1, #4\n\t"
                     "sub r2, r10\n\t"
                     "sub r2, #4\n\t"
                     "add r11, r10, r10, lsl #1\n\t"
                     "sub r0, r0, r11, lsl #1\n\t"
                     "sub r0, #4\n\t"
                     "cmp r10, #8\n\t"
                     "beq 2f\n\t"
                     "bhi 3f\n\t"
                     "cmp r10, #4\n\t"
                     "beq 1f\n"
                     "0:\n\t" MCT_DOT_EVEN("4", "4", "8", "12") MCT_DOT_ODD("4]", "16", "20", "24]")                                       //
                     "1:\n\t" MCT_DOT_EVEN("8", "28", "32", "36") MCT_DOT_ODD("8]", "40", "44", "48]")                                     //
                     "2:\n\t" MCT_DOT_EVEN("12", "52", "56", "60") MCT_DOT_ODD("12]", "64", "68", "72]")                                   //
                     "3:\n\t" MCT_DOT_EVEN("16", "76", "80", "84") MCT_DOT_ODD("16]!", "88", "92", "96]!")                                 //
                     "ldr r12, [sp, #4]\n\t"
                     "cmp r1, r12\n\t"
                     "bne 0b\n\t"
                     "pop {r3, r12}\n\t"
                     "stm r3, {r4-r9}\n\t"
                     "pop {r4-r11, pc}\n\t");
}

#else

static inline void mct_dot_2x3(const int32_t *pixels, const int8_t *filter_0, const int8_t *filter_1, mct_dot_2x3_block *block)
{
    for (; filter_0 != block->end; filter_0 += 4, filter_1 += 4, pixels += 2 * MCT_DOT_PIXELS) {
        const int32_t w0 = mct_load_word(filter_0), w1 = mct_load_word(filter_1);
        const int32_t even[MCT_DOT_FILTERS] = {mct_sxtb16(w0), mct_sxtb16(w1)};
        const int32_t odd[MCT_DOT_FILTERS] = {mct_sxtb16_ror8(w0), mct_sxtb16_ror8(w1)};

        for (int32_t f = 0; f < MCT_DOT_FILTERS; f++) {
            for (int32_t p = 0; p < MCT_DOT_PIXELS; p++) {
                const int32_t sum = mct_smlad(even[f], pixels[p], block->sums[f][p]);
                block->sums[f][p] = mct_smlad(odd[f], pixels[MCT_DOT_PIXELS + p], sum);
            }
        }
    }
}

#endif
#endif
