/* A channel of a depthwise 3x3 convolution of stride 1 or 2 (depthwise_conv2d_s8), in assembly: four neighbouring sums and what they need
 * next take every register, and become codes without leaving theirs. Compilers spill half of them. */
#include "kernels/common/exact.h"

#include "kernels/depthwise/depthwise_3x3.h"

#if MCT_HAS_DEPTHWISE_3X3

/* r0: the window in the plane, r1: task, r2: y, r3: mask. r4 to r7: sums. r8 to r10: words of the plane's row, r11 and r12: the filter's.
 * Loads stand in groups, which the M4 likes, behind the last use of their registers, so that the M7 issues them beside multiplications. */
/* clang-format off */
#define MCT_3X3_BEGIN                                                                                                                      \
    "ldr lr, [r1, #28]\n\t"                                                                                                                \
    "ldr r7, [r1, #24]\n\t"                                                                                                                \
    "ldr r8, [r0]\n\t"                                                                                                                     \
    "ldr r11, [r1]\n\t"                                                                                                                    \
    "ldr r9, [r0, #4]\n\t"                                                                                                                 \
    "ldr r12, [r1, #4]\n\t"                                                                                                                \
    "ldr r10, [r0, #8]\n\t"

/* The row's sums are the addends plus its products; next: what is loaded for the next row once r8, r9 and r11, then r10 and r12 are free. */
#define MCT_3X3_ROW_STRIDE_1(add4, add5, add6, next_row, next_8_9_11, next_10_12)                                                          \
    "smlad r4, r8, r11, " add4 "\n\t"                                                                                                      \
    next_row                                                                                                                               \
    "smlatb r5, r8, r11, " add5 "\n\t"                                                                                                     \
    "smlabt r4, r9, r12, r4\n\t"                                                                                                           \
    "smlad r6, r9, r11, " add6 "\n\t"                                                                                                      \
    "smlad r5, r9, r12, r5\n\t"                                                                                                            \
    "smlatb r7, r9, r11, r7\n\t"                                                                                                           \
    next_8_9_11                                                                                                                            \
    "smlabt r6, r10, r12, r6\n\t"                                                                                                          \
    "smlad r7, r10, r12, r7\n\t"                                                                                                           \
    next_10_12

#define MCT_3X3_ROW_STRIDE_2(add4, add5, add6, next_row, next_8_9_11, next_10_12)                                                          \
    "smlad r4, r8, r11, " add4 "\n\t"                                                                                                      \
    "smlad r5, r9, r11, " add5 "\n\t"                                                                                                      \
    "smlabt r4, r9, r12, r4\n\t"                                                                                                           \
    "ldr r8, [r0, #12]\n\t"                                                                                                                \
    "ldr r9, [r0, #16]\n\t"                                                                                                                \
    next_row                                                                                                                               \
    "smlad r6, r10, r11, " add6 "\n\t"                                                                                                     \
    "smlabt r5, r10, r12, r5\n\t"                                                                                                          \
    "smlad r7, r8, r11, r7\n\t"                                                                                                            \
    "smlabt r6, r8, r12, r6\n\t"                                                                                                           \
    "smlabt r7, r9, r12, r7\n\t"                                                                                                           \
    next_8_9_11                                                                                                                            \
    next_10_12

#define MCT_3X3_SUMS(ROW)                                                                                                                  \
    MCT_3X3_BEGIN                                                                                                                          \
    ROW("r7", "r7", "r7", "add r0, lr\n\t", "ldr r8, [r0]\n\tldr r11, [r1, #8]\n\tldr r9, [r0, #4]\n\t",                                   \
        "ldr r10, [r0, #8]\n\tldr r12, [r1, #12]\n\t")                                                                                     \
    ROW("r4", "r5", "r6", "add r0, lr\n\t", "ldr r8, [r0]\n\tldr r11, [r1, #16]\n\tldr r9, [r0, #4]\n\t",                                  \
        "ldr r10, [r0, #8]\n\tldr r12, [r1, #20]\n\t")                                                                                     \
    ROW("r4", "r5", "r6", "sub r0, r0, lr, lsl #1\n\t", "ldr r8, [r1, #32]\n\tldr r9, [r1, #36]\n\tldr r11, [r1, #44]\n\t",                \
        "ldr r10, [r1, #40]\n\t")

/* r4 to r7 become what is clamped next. */
#define MCT_3X3_RESCALE                                                                                                                    \
    "smmulr r4, r4, r8\n\t"                                                                                                                \
    "smmulr r5, r5, r8\n\t"                                                                                                                \
    "smmulr r6, r6, r8\n\t"                                                                                                                \
    "smmulr r7, r7, r8\n\t"                                                                                                                \
    "add r4, r4, r4, asr #31\n\t"                                                                                                          \
    "add r5, r5, r5, asr #31\n\t"                                                                                                          \
    "smmlar r4, r4, r9, r10\n\t"                                                                                                           \
    "add r6, r6, r6, asr #31\n\t"                                                                                                          \
    "smmlar r5, r5, r9, r10\n\t"                                                                                                           \
    "add r7, r7, r7, asr #31\n\t"                                                                                                          \
    "smmlar r6, r6, r9, r10\n\t"                                                                                                           \
    "add r8, r2, r11, lsl #1\n\t"                                                                                                          \
    "smmlar r7, r7, r9, r10\n\t"

#define MCT_3X3_STORE                                                                                                                      \
    "strb r4, [r2]\n\t"                                                                                                                    \
    "strb r5, [r2, r11]\n\t"                                                                                                               \
    "add r2, r2, r11, lsl #2\n\t"                                                                                                          \
    "strb r6, [r8]\n\t"                                                                                                                    \
    "strb r7, [r8, r11]\n\t"

#define MCT_3X3_FINISH_FULL                                                                                                                \
    MCT_3X3_RESCALE                                                                                                                        \
    "ssat r4, #8, r4\n\t"                                                                                                                  \
    "ssat r5, #8, r5\n\t"                                                                                                                  \
    "ssat r6, #8, r6\n\t"                                                                                                                  \
    "ssat r7, #8, r7\n\t"                                                                                                                  \
    MCT_3X3_STORE

/* Two pixels of the mask: bits of codes outside of the clamp are cleared. */
#define MCT_3X3_MASK(first, second)                                                                                                        \
    "ldrb r12, [r3]\n\t"                                                                                                                   \
    "ldrb lr, [r3, r9]\n\t"                                                                                                                \
    "cmp " first ", r11\n\t"                                                                                                               \
    "it hi\n\t"                                                                                                                            \
    "bichi r12, r12, r10\n\t"                                                                                                              \
    "cmp " second ", r11\n\t"                                                                                                              \
    "it hi\n\t"                                                                                                                            \
    "bichi lr, lr, r10\n\t"                                                                                                                \
    "strb r12, [r3]\n\t"                                                                                                                   \
    "strb lr, [r3, r9]\n\t"                                                                                                                \
    "add r3, r3, r9, lsl #1\n\t"

#define MCT_3X3_CLAMP(sum)                                                                                                                 \
    "usat " sum ", #8, " sum "\n\t"                                                                                                        \
    "uqadd8 " sum ", " sum ", r9\n\t"                                                                                                      \
    "sub " sum ", " sum ", r10\n\t"

#define MCT_3X3_FINISH_CLAMPED                                                                                                             \
        MCT_3X3_RESCALE                                                                                                                    \
        "ldr r9, [r1, #68]\n\t"                                                                                                            \
        "ldr r10, [r1, #72]\n\t"                                                                                                           \
        "ldr r11, [r1, #64]\n\t"                                                                                                           \
        "cmp r9, #0\n\t"                                                                                                                   \
        "beq 2f\n\t"                                                                                                                       \
        MCT_3X3_MASK("r4", "r5")                                                                                                           \
        MCT_3X3_MASK("r6", "r7")                                                                                                           \
    "2:\n\t"                                                                                                                               \
        "ldr r9, [r1, #76]\n\t"                                                                                                            \
        "ldr r10, [r1, #80]\n\t"                                                                                                           \
        "ldr r11, [r1, #44]\n\t"                                                                                                           \
        MCT_3X3_CLAMP("r4")                                                                                                                \
        MCT_3X3_CLAMP("r5")                                                                                                                \
        MCT_3X3_CLAMP("r6")                                                                                                                \
        MCT_3X3_CLAMP("r7")                                                                                                                \
        MCT_3X3_STORE

/* All rows, four sums at a time. A row that is no whole number of fours begins its last four among those before: they are made twice.
 * four_bytes: what four sums move the window by; shift: 2^shift bytes for one. */
#define MCT_3X3_CHANNEL(ROW, FINISH, four_bytes, shift)                                                                                    \
        "push {r4-r11, lr}\n"                                                                                                              \
    "0:\n\t"                                                                                                                               \
        MCT_3X3_SUMS(ROW)                                                                                                                  \
        FINISH                                                                                                                             \
        "ldr r8, [r1, #48]\n\t"                                                                                                            \
        "add r0, #" four_bytes "\n\t"                                                                                                      \
        "cmp r0, r8\n\t"                                                                                                                   \
        "bls 0b\n\t"                                                                                                                       \
        "sub r9, r0, r8\n\t"                                                                                                               \
        "cmp r9, #" four_bytes "\n\t"                                                                                                      \
        "beq 1f\n\t"                                                                                                                       \
        "lsr r9, r9, #" shift "\n\t"                                                                                                       \
        "ldr r10, [r1, #44]\n\t"                                                                                                           \
        "ldr r11, [r1, #68]\n\t"                                                                                                           \
        "mov r0, r8\n\t"                                                                                                                   \
        "mls r2, r9, r10, r2\n\t"                                                                                                          \
        "mls r3, r9, r11, r3\n\t"                                                                                                          \
        "b 0b\n"                                                                                                                           \
    "1:\n\t"                                                                                                                               \
        "ldr r9, [r1, #52]\n\t"                                                                                                            \
        "ldr r10, [r1, #56]\n\t"                                                                                                           \
        "ldr r11, [r1, #60]\n\t"                                                                                                           \
        "add r0, r9\n\t"                                                                                                                   \
        "add r8, r10\n\t"                                                                                                                  \
        "subs r11, #1\n\t"                                                                                                                 \
        "str r8, [r1, #48]\n\t"                                                                                                            \
        "str r11, [r1, #60]\n\t"                                                                                                           \
        "bne 0b\n\t"                                                                                                                       \
        "pop {r4-r11, pc}\n"
/* clang-format on */

__attribute__((naked)) void mct_depthwise_3x3_full_1(const int16_t *x __attribute__((unused)),
                                                     mct_depthwise_3x3_task *task __attribute__((unused)),
                                                     int8_t *y __attribute__((unused)), uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_1, MCT_3X3_FINISH_FULL, "8", "1"));
}

__attribute__((naked)) void mct_depthwise_3x3_full_2(const int16_t *x __attribute__((unused)),
                                                     mct_depthwise_3x3_task *task __attribute__((unused)),
                                                     int8_t *y __attribute__((unused)), uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_2, MCT_3X3_FINISH_FULL, "16", "2"));
}

__attribute__((naked)) void mct_depthwise_3x3_clamped_1(const int16_t *x __attribute__((unused)),
                                                        mct_depthwise_3x3_task *task __attribute__((unused)),
                                                        int8_t *y __attribute__((unused)), uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_1, MCT_3X3_FINISH_CLAMPED, "8", "1"));
}

__attribute__((naked)) void mct_depthwise_3x3_clamped_2(const int16_t *x __attribute__((unused)),
                                                        mct_depthwise_3x3_task *task __attribute__((unused)),
                                                        int8_t *y __attribute__((unused)), uint8_t *mask __attribute__((unused)))
{
    __asm__ volatile(MCT_3X3_CHANNEL(MCT_3X3_ROW_STRIDE_2, MCT_3X3_FINISH_CLAMPED, "16", "2"));
}

#endif
