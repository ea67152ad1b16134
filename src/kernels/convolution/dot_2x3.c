/* The DSP form's inner loop of convolutions whose filters are too long to be widened for quads (conv2d_s8): two filters, as they are, over
 * three gathered pixels, six sums.
 *
 * Gathered pixels lie interleaved. For every four taps: taps 0 and 2 of each pixel, three words of two int16, then taps 1 and 3 of each: the
 * order in which SXTB16 unpacks a word of weights. */
#include "kernels/common/exact.h"

#include "kernels/convolution/dot_2x3.h"

#include <stddef.h>

#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/common/requantize.h"

#if MCT_DSP

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* In assembly: the six sums, five operands and three pointers take every register but the stack pointer, and compilers then spill inside
 * of the loop. Weights are loaded again for their other half, which is cheaper than to keep them.
 *
 * r0: pixels, r1, r2: filters, each less 4, so that the last load of a round can move its pointer on. r4 to r9: sums. r10, r11: weights of
 * either filter; r3, r12, lr: a pair of taps of each pixel. A round is of sixteen taps, in four parts (MCT_DOT_WORD); MCT_DOT_BEGIN loads
 * what a part relies on. */
#if MCT_DUAL_ISSUE

/* Each load beside a multiplication, as soon as the last use of its register is over. The next part's first loads are in this one, but not
 * the next round's: there may be nothing behind it. */
/* clang-format off */
#define MCT_DOT_BEGIN(weights, x0, x1)                                                                                                     \
    "ldr r10, [r1, #" weights "]\n\t"                                                                                                      \
    "ldr r3, [r0, #" x0 "]\n\t"                                                                                                            \
    "ldr r12, [r0, #" x1 "]\n\t"
#define MCT_DOT_WORD(weights, writeback, x0, x1, x2, x3, x4, x5, next_weights, next_x0, next_x1)                                           \
    "sxtb16 r10, r10\n\t"                                                                                                                  \
    "ldr r11, [r2, #" weights "]\n\t"                                                                                                      \
    "smlad r4, r10, r3, r4\n\t"                                                                                                            \
    "ldr lr, [r0, #" x2 "]\n\t"                                                                                                            \
    "smlad r5, r10, r12, r5\n\t"                                                                                                           \
    "sxtb16 r11, r11\n\t"                                                                                                                  \
    "smlad r6, r10, lr, r6\n\t"                                                                                                            \
    "ldr r10, [r1, #" weights "]" writeback "\n\t"                                                                                         \
    "smlad r7, r11, r3, r7\n\t"                                                                                                            \
    "ldr r3, [r0, #" x3 "]\n\t"                                                                                                            \
    "smlad r8, r11, r12, r8\n\t"                                                                                                           \
    "ldr r12, [r0, #" x4 "]\n\t"                                                                                                           \
    "smlad r9, r11, lr, r9\n\t"                                                                                                            \
    "ldr r11, [r2, #" weights "]" writeback "\n\t"                                                                                         \
    "sxtb16 r10, r10, ror #8\n\t"                                                                                                          \
    "ldr lr, [r0, #" x5 "]" writeback "\n\t"                                                                                               \
    "smlad r4, r10, r3, r4\n\t"                                                                                                            \
    "smlad r5, r10, r12, r5\n\t"                                                                                                           \
    "sxtb16 r11, r11, ror #8\n\t"                                                                                                          \
    "smlad r6, r10, lr, r6\n\t"                                                                                                            \
    next_weights                                                                                                                           \
    "smlad r7, r11, r3, r7\n\t"                                                                                                            \
    next_x0                                                                                                                                \
    "smlad r8, r11, r12, r8\n\t"                                                                                                           \
    next_x1                                                                                                                                \
    "smlad r9, r11, lr, r9\n\t"
#define MCT_DOT_LOAD(target, base, offset) "ldr " target ", [" base ", #" offset "]\n\t"

#else

/* All loads stand together: on the M4 each but the first of a row takes one cycle. */
#define MCT_DOT_BEGIN(weights, x0, x1) ""
#define MCT_DOT_HALF(weights, writeback, x0, x1, x2, unpack)                                                                               \
    "ldr r10, [r1, #" weights "]" writeback "\n\t"                                                                                         \
    "ldr r11, [r2, #" weights "]" writeback "\n\t"                                                                                         \
    "ldr r3, [r0, #" x0 "]\n\t"                                                                                                            \
    "ldr r12, [r0, #" x1 "]\n\t"                                                                                                           \
    "ldr lr, [r0, #" x2 "]" writeback "\n\t"                                                                                               \
    "sxtb16 r10, r10" unpack "\n\t"                                                                                                        \
    "sxtb16 r11, r11" unpack "\n\t"                                                                                                        \
    "smlad r4, r10, r3, r4\n\t"                                                                                                            \
    "smlad r5, r10, r12, r5\n\t"                                                                                                           \
    "smlad r6, r10, lr, r6\n\t"                                                                                                            \
    "smlad r7, r11, r3, r7\n\t"                                                                                                            \
    "smlad r8, r11, r12, r8\n\t"                                                                                                           \
    "smlad r9, r11, lr, r9\n\t"
#define MCT_DOT_WORD(weights, writeback, x0, x1, x2, x3, x4, x5, next_weights, next_x0, next_x1)                                           \
    MCT_DOT_HALF(weights, "", x0, x1, x2, "")                                                                                              \
    MCT_DOT_HALF(weights, writeback, x3, x4, x5, ", ror #8")
#define MCT_DOT_LOAD(target, base, offset) ""

#endif

/* The first round is entered where as many taps are left as make the rest whole: r10 bytes of filter into it. end: offset from the stack
 * pointer of the address where r1 stands behind the last round. */
#define MCT_DOT_ROUNDS(end)                                                                                                                \
        "cmp r10, #4\n\t"                                                                                                                  \
        "beq 11f\n\t"                                                                                                                      \
        "bhi 12f\n"                                                                                                                        \
    "0:\n\t"                                                                                                                               \
        MCT_DOT_BEGIN("4", "4", "8")                                                                                                       \
        MCT_DOT_WORD("4", "", "4", "8", "12", "16", "20", "24", MCT_DOT_LOAD("r10", "r1", "8"), MCT_DOT_LOAD("r3", "r0", "28"),            \
                     MCT_DOT_LOAD("r12", "r0", "32"))                                                                                      \
    "1:\n\t"                                                                                                                               \
        MCT_DOT_WORD("8", "", "28", "32", "36", "40", "44", "48", MCT_DOT_LOAD("r10", "r1", "12"), MCT_DOT_LOAD("r3", "r0", "52"),         \
                     MCT_DOT_LOAD("r12", "r0", "56"))                                                                                      \
    "2:\n\t"                                                                                                                               \
        MCT_DOT_WORD("12", "", "52", "56", "60", "64", "68", "72", MCT_DOT_LOAD("r10", "r1", "16"), MCT_DOT_LOAD("r3", "r0", "76"),        \
                     MCT_DOT_LOAD("r12", "r0", "80"))                                                                                      \
    "3:\n\t"                                                                                                                               \
        MCT_DOT_WORD("16", "!", "76", "80", "84", "88", "92", "96", "", "", "")                                                            \
        "ldr r12, [sp, #" end "]\n\t"                                                                                                      \
        "cmp r1, r12\n\t"                                                                                                                  \
        "bne 0b\n\t"

/* Where MCT_DOT_ROUNDS goes for a first round that is not whole; stands where nothing falls into it. */
#define MCT_DOT_ENTRIES                                                                                                                    \
    "11:\n\t"                                                                                                                              \
        MCT_DOT_BEGIN("8", "28", "32")                                                                                                     \
        "b 1b\n"                                                                                                                           \
    "12:\n\t"                                                                                                                              \
        "cmp r10, #8\n\t"                                                                                                                  \
        "bne 13f\n\t"                                                                                                                      \
        MCT_DOT_BEGIN("12", "52", "56")                                                                                                    \
        "b 2b\n"                                                                                                                           \
    "13:\n\t"                                                                                                                              \
        MCT_DOT_BEGIN("16", "76", "80")                                                                                                    \
        "b 3b\n"
/* clang-format on */

__attribute__((naked)) void mct_dot_2x3(const int32_t *pixels __attribute__((unused)), const int8_t *filter_0 __attribute__((unused)),
                                        const int8_t *filter_1 __attribute__((unused)), mct_dot_2x3_block *block __attribute__((unused)))
{
    /* clang-format off */
    __asm__ volatile(
            "push {r4-r11, lr}\n\t"
            "ldr r12, [r3, #24]\n\t"
            "ldm r3, {r4-r9}\n\t"
            "sub r10, r1, r12\n\t" /* minus the bytes of a filter */
            "sub r12, #4\n\t"
            "push {r3, r12}\n\t"
            "and r10, #12\n\t"
            "sub r1, r10\n\t"
            "sub r1, #4\n\t"
            "sub r2, r10\n\t"
            "sub r2, #4\n\t"
            "add r11, r10, r10, lsl #1\n\t"
            "sub r0, r0, r11, lsl #1\n\t"
            "sub r0, #4\n\t"
            MCT_DOT_ROUNDS("4")
            "pop {r3, r12}\n\t"
            "stm r3, {r4-r9}\n\t"
            "pop {r4-r11, pc}\n"
            MCT_DOT_ENTRIES);
    /* clang-format on */
}

_Static_assert(offsetof(mct_dot_2x3_block, end) == 24 && offsetof(mct_convolve_2x3_task, bias) == 16 &&
                   offsetof(mct_convolve_2x3_task, multiplier) == 24 && offsetof(mct_convolve_2x3_task, zero_point) == 32 &&
                   offsetof(mct_convolve_2x3_task, low) == 44 && offsetof(mct_convolve_2x3_task, pairs) == 56,
               "the assembly below knows these offsets");

/* A sum to an output: mct_requantise_prepared with the multiplier, the power and the zero point in r12. */
/* clang-format off */
#define MCT_FINISH(sum, multiplier, power)                                                                                                 \
    "smmlar " sum ", " sum ", " multiplier ", " sum "\n\t"                                                                                 \
    "add " sum ", " sum ", " sum ", asr #31\n\t"                                                                                           \
    "smmlar " sum ", " sum ", " power ", r12\n\t"                                                                                          \
    "ssat " sum ", #8, " sum "\n\t"
#define MCT_CLAMP(code)                                                                                                                    \
    "cmp " code ", r1\n\t"                                                                                                                 \
    "it lt\n\t"                                                                                                                            \
    "movlt " code ", r1\n\t"                                                                                                               \
    "cmp " code ", r2\n\t"                                                                                                                 \
    "it gt\n\t"                                                                                                                            \
    "movgt " code ", r2\n\t"
/* clang-format on */

__attribute__((naked)) void mct_convolve_2x3(mct_convolve_2x3_task *task __attribute__((unused)))
{
    /* clang-format off */
    __asm__ volatile(
            "push {r4-r11, lr}\n\t"
            "sub sp, #12\n\t"
            "str r0, [sp]\n"
        "6:\n\t"
            "ldrd r1, r2, [r0, #0]\n\t" /* filter, bytes to the next */
            "ldr r12, [r0, #8]\n\t" /* bytes of the rounds */
            "ldr r3, [r0, #16]\n\t"
            "ldr r10, [r0, #12]\n\t"
            "ldr r4, [r3], #4\n\t"
            "ldr r7, [r3], #4\n\t"
            "add r12, r1\n\t"
            "add r2, r1\n\t"
            "str r3, [r0, #16]\n\t"
            "str r12, [sp, #4]\n\t"
            "mov r5, r4\n\t"
            "mov r6, r4\n\t"
            "mov r8, r7\n\t"
            "mov r9, r7\n\t"
            "ldr r0, [r0, #20]\n\t"
            MCT_DOT_ROUNDS("4")
            /* two channels' multipliers and shifts */
            "ldr r0, [sp]\n\t"
            "ldrd r1, r2, [r0, #24]\n\t"
            "ldr r12, [r0, #32]\n\t"
            "ldr r10, [r1], #4\n\t"
            "ldr r11, [r1], #4\n\t"
            "ldr r3, [r2], #4\n\t"
            "ldr lr, [r2], #4\n\t"
            "strd r1, r2, [r0, #24]\n\t"
            "add r10, r10\n\t" /* as mct_prepare_scale */
            "add r11, r11\n\t"
            "add r3, #32\n\t"
            "add lr, #32\n\t"
            "mov r1, #1\n\t"
            "lsl r3, r1, r3\n\t"
            "lsl lr, r1, lr\n\t"
            MCT_FINISH("r4", "r10", "r3")
            MCT_FINISH("r7", "r11", "lr")
            MCT_FINISH("r5", "r10", "r3")
            MCT_FINISH("r8", "r11", "lr")
            MCT_FINISH("r6", "r10", "r3")
            MCT_FINISH("r9", "r11", "lr")
            "ldr r3, [r0, #52]\n\t"
            "cmp r3, #0\n\t"
            "bne 15f\n"
        "7:\n\t"
            "ldr r1, [r0, #36]\n\t" /* y, channels */
            "ldr r2, [r0, #40]\n\t"
            "ldr r3, [r0, #56]\n\t"
            "bfi r4, r7, #8, #8\n\t"
            "bfi r5, r8, #8, #8\n\t"
            "bfi r6, r9, #8, #8\n\t"
            "strh r5, [r1, r2]\n\t"
            "add r10, r1, r2, lsl #1\n\t"
            "strh r4, [r1], #2\n\t"
            "strh r6, [r10]\n\t"
            "str r1, [r0, #36]\n\t"
            /* on to the next two filters, if there are any */
            "ldrd r1, r2, [r0, #0]\n\t"
            "add r1, r1, r2, lsl #1\n\t"
            "str r1, [r0, #0]\n\t"
            "subs r3, #1\n\t"
            "str r3, [r0, #56]\n\t"
            "bne 6b\n\t"
            "add sp, #12\n\t"
            "pop {r4-r11, pc}\n"
            MCT_DOT_ENTRIES
        "15:\n\t"
            "ldrd r1, r2, [r0, #44]\n\t"
            MCT_CLAMP("r4")
            MCT_CLAMP("r7")
            MCT_CLAMP("r5")
            MCT_CLAMP("r8")
            MCT_CLAMP("r6")
            MCT_CLAMP("r9")
            "b 7b\n\t");
    /* clang-format on */
}

#else

void mct_dot_2x3(const int32_t *pixels, const int8_t *filter_0, const int8_t *filter_1, mct_dot_2x3_block *block)
{
    for (; filter_0 != block->end; filter_0 += 4, filter_1 += 4, pixels += 2 * MCT_BLOCK_PIXELS) {
        const int32_t w0 = mct_load_word(filter_0), w1 = mct_load_word(filter_1);
        const int32_t even[MCT_BLOCK_CHANNELS] = {mct_sxtb16(w0), mct_sxtb16(w1)};
        const int32_t odd[MCT_BLOCK_CHANNELS] = {mct_sxtb16_ror8(w0), mct_sxtb16_ror8(w1)};

        for (int32_t f = 0; f < MCT_BLOCK_CHANNELS; f++) {
            for (int32_t p = 0; p < MCT_BLOCK_PIXELS; p++) {
                const int32_t sum = mct_smlad(even[f], pixels[p], block->sums[f][p]);
                block->sums[f][p] = mct_smlad(odd[f], pixels[MCT_BLOCK_PIXELS + p], sum);
            }
        }
    }
}

void mct_convolve_2x3(mct_convolve_2x3_task *task)
{
    const int8_t *filter = task->filter + 4 + task->skip_bytes;
    const int32_t *const pixels = task->pixels + 1 + task->skip_bytes / 4 * 6;
    const int32_t bytes = task->round_bytes - task->skip_bytes;

    for (int32_t c = 0; c < 2 * task->pairs; c += MCT_BLOCK_CHANNELS, filter += 2 * task->filter_bytes) {
        const int32_t bias_0 = task->bias[c], bias_1 = task->bias[c + 1];
        mct_dot_2x3_block block = {{{bias_0, bias_0, bias_0}, {bias_1, bias_1, bias_1}}, filter + bytes};

        mct_dot_2x3(pixels, filter, filter + task->filter_bytes, &block);
        for (int32_t i = 0; i < MCT_BLOCK_CHANNELS * MCT_BLOCK_PIXELS; i++) {
            const int32_t f = i % MCT_BLOCK_CHANNELS, p = i / MCT_BLOCK_CHANNELS;
            const mct_prepared_scale scale = mct_prepare_scale(task->multiplier[c + f], task->shift[c + f]);
            const int32_t code = mct_requantise_prepared(block.sums[f][p], scale, task->zero_point);

            task->y[p * task->channels + c + f] = (int8_t)mct_clamp_s32(code, task->low, task->high);
        }
    }
}

#endif
#endif /* MCT_DSP */
