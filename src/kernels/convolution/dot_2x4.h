/* The inner loop of convolutions whose operands are int16 by now: two rows by four columns, eight sums. Forward (conv2d_quads.c) rows are
 * filters and columns pixels; in the gradients (outer_2x4.h) rows are pixels or output channels, and columns input channels.
 *
 * Rows and columns are words of two taps and lie interleaved: for each step (a pair of taps) a word of either row, and a word of each of
 * the four columns. Which taps make a pair is free, as long as rows and columns agree. */
#ifndef MCT_KERNELS_DOT_2X4_H
#define MCT_KERNELS_DOT_2X4_H

#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"

enum { MCT_DOT_ROWS = 2, MCT_DOT_COLUMNS = 4, MCT_DOT_ROUND = 8 /* steps */ };

#if MCT_DSP

/* Steps of the first round that are left out, so that all others are whole. */
static inline int32_t mct_dot_skip(int32_t steps)
{
    return -steps & (MCT_DOT_ROUND - 1);
}

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* In assembly: eight sums, four operands and two pointers take every register but the stack pointer, and compilers then spill inside of the
 * loop.
 *
 *   MCT_DOT_2X4(end)      sums += rows x columns, over `steps` steps, at least one
 *   MCT_DOT_2X4_ENTRIES   stands behind it, once, where nothing falls into it
 *
 *   r0       columns - 2 - 4 * skip words, skip = mct_dot_skip(steps); changed
 *   r1       rows - 2 - 2 * skip words; changed
 *   r2       skip; changed
 *   r4-r7    sums of row 0 with columns 0 to 3
 *   r8-r11   sums of row 1
 *   r3, r12, lr, flags   changed
 *   [sp, #end]   the address rows - 2 + 2 * steps words, where r1 ends; end is a string
 *
 * Labels 20 to 37 are taken. Nothing behind the rows and columns is read. Both pointers are less two words so that the last load of a round
 * can move its pointer on; words 0 and 2 of either then lie in the other memory bank than 1 and 3, which the M7 loads together. */
#if MCT_DUAL_ISSUE

/* A multiplication each cycle, beside it each load, two cycles before its first use and as soon as the last use of its register is over.
 * The next step's first loads are in this one (next), but not the next round's: there may be nothing behind it. */
/* clang-format off */
#define MCT_2X4_BEGIN(i)                                                                                                                   \
    "ldr r12, [r0, #8+16*" #i "]\n\t"                                                                                                      \
    "ldr r3, [r1, #12+8*" #i "]\n\t"                                                                                                       \
    "ldr r2, [r1, #8+8*" #i "]\n\t"
#define MCT_2X4_STEP(i, writeback, next_0, next_1, next_2)                                                                                 \
    "2" #i ":\n\t"                                                                                                                         \
        "smlad r8, r3, r12, r8\n\t"                                                                                                        \
        "ldr lr, [r0, #12+16*" #i "]\n\t"                                                                                                  \
        "smlad r4, r2, r12, r4\n\t"                                                                                                        \
        "ldr r12, [r0, #20+16*" #i "]\n\t"                                                                                                 \
        "smlad r9, r3, lr, r9\n\t"                                                                                                         \
        "smlad r5, r2, lr, r5\n\t"                                                                                                         \
        "ldr lr, [r0, #16+16*" #i "]" writeback "\n\t"                                                                                     \
        "smlad r11, r3, r12, r11\n\t"                                                                                                      \
        "smlad r7, r2, r12, r7\n\t"                                                                                                        \
        next_0                                                                                                                             \
        "smlad r10, r3, lr, r10\n\t"                                                                                                       \
        next_1                                                                                                                             \
        "smlad r6, r2, lr, r6\n\t"                                                                                                         \
        next_2
#define MCT_2X4_MIDDLE(i, next, writeback)                                                                                                 \
    MCT_2X4_STEP(i, "", "ldr r12, [r0, #8+16*" #next "]\n\t", "ldr r3, [r1, #12+8*" #next "]\n\t",                                         \
                 "ldr r2, [r1, #8+8*" #next "]" writeback "\n\t")
#define MCT_2X4_ENTRY(i)                                                                                                                   \
    "3" #i ":\n\t"                                                                                                                         \
        MCT_2X4_BEGIN(i)                                                                                                                   \
        "b 2" #i "b\n"
#define MCT_2X4_LAST_ENTRY                                                                                                                 \
    "37:\n\t"                                                                                                                              \
        "ldr r12, [r0, #8+16*7]\n\t"                                                                                                       \
        "ldr r3, [r1, #12+8*7]\n\t"                                                                                                        \
        "ldr r2, [r1, #8+8*7]!\n\t"                                                                                                        \
        "b 27b\n"

#define MCT_DOT_2X4(end)                                                                                                                   \
        "tbh [pc, r2, lsl #1]\n"                                                                                                           \
    "28:\n\t"                                                                                                                              \
        ".hword (29f-28b)/2, (31f-28b)/2, (32f-28b)/2, (33f-28b)/2, (34f-28b)/2, (35f-28b)/2, (36f-28b)/2, (37f-28b)/2\n"                  \
    "29:\n\t"                                                                                                                              \
        MCT_2X4_BEGIN(0)                                                                                                                   \
        MCT_2X4_MIDDLE(0, 1, "")                                                                                                           \
        MCT_2X4_MIDDLE(1, 2, "")                                                                                                           \
        MCT_2X4_MIDDLE(2, 3, "")                                                                                                           \
        MCT_2X4_MIDDLE(3, 4, "")                                                                                                           \
        MCT_2X4_MIDDLE(4, 5, "")                                                                                                           \
        MCT_2X4_MIDDLE(5, 6, "")                                                                                                           \
        MCT_2X4_MIDDLE(6, 7, "!")                                                                                                          \
        MCT_2X4_STEP(7, "!", "ldr r12, [sp, #" end "]\n\t", "cmp r1, r12\n\t", "bne 29b\n\t")

#define MCT_DOT_2X4_ENTRIES                                                                                                                \
    MCT_2X4_ENTRY(1)                                                                                                                       \
    MCT_2X4_ENTRY(2)                                                                                                                       \
    MCT_2X4_ENTRY(3)                                                                                                                       \
    MCT_2X4_ENTRY(4)                                                                                                                       \
    MCT_2X4_ENTRY(5)                                                                                                                       \
    MCT_2X4_ENTRY(6)                                                                                                                       \
    MCT_2X4_LAST_ENTRY

#else

/* As many loads as there are registers stand together: on the M4 each but the first of a row takes one cycle. */
#define MCT_2X4_STEP(i, writeback)                                                                                                         \
    "2" #i ":\n\t"                                                                                                                         \
        "ldr r3, [r1, #12+8*" #i "]\n\t"                                                                                                   \
        "ldr r2, [r1, #8+8*" #i "]" writeback "\n\t"                                                                                       \
        "ldr r12, [r0, #8+16*" #i "]\n\t"                                                                                                  \
        "ldr lr, [r0, #12+16*" #i "]\n\t"                                                                                                  \
        "smlad r8, r3, r12, r8\n\t"                                                                                                        \
        "smlad r4, r2, r12, r4\n\t"                                                                                                        \
        "smlad r9, r3, lr, r9\n\t"                                                                                                         \
        "smlad r5, r2, lr, r5\n\t"                                                                                                         \
        "ldr r12, [r0, #20+16*" #i "]\n\t"                                                                                                 \
        "ldr lr, [r0, #16+16*" #i "]" writeback "\n\t"                                                                                     \
        "smlad r11, r3, r12, r11\n\t"                                                                                                      \
        "smlad r7, r2, r12, r7\n\t"                                                                                                        \
        "smlad r10, r3, lr, r10\n\t"                                                                                                       \
        "smlad r6, r2, lr, r6\n\t"

#define MCT_DOT_2X4(end)                                                                                                                   \
        "tbh [pc, r2, lsl #1]\n"                                                                                                           \
    "28:\n\t"                                                                                                                              \
        ".hword (20f-28b)/2, (21f-28b)/2, (22f-28b)/2, (23f-28b)/2, (24f-28b)/2, (25f-28b)/2, (26f-28b)/2, (27f-28b)/2\n"                  \
        MCT_2X4_STEP(0, "")                                                                                                                \
        MCT_2X4_STEP(1, "")                                                                                                                \
        MCT_2X4_STEP(2, "")                                                                                                                \
        MCT_2X4_STEP(3, "")                                                                                                                \
        MCT_2X4_STEP(4, "")                                                                                                                \
        MCT_2X4_STEP(5, "")                                                                                                                \
        MCT_2X4_STEP(6, "")                                                                                                                \
        MCT_2X4_STEP(7, "!")                                                                                                               \
        "ldr r12, [sp, #" end "]\n\t"                                                                                                      \
        "cmp r1, r12\n\t"                                                                                                                  \
        "bne 20b\n\t"
/* clang-format on */

#define MCT_DOT_2X4_ENTRIES ""

#endif

#else

/* What MCT_DOT_2X4 does: sums[row][column] += rows x columns, modulo 2^32. */
static inline void mct_dot_2x4(const int32_t *columns, const int32_t *rows, int32_t steps, int32_t sums[MCT_DOT_ROWS][MCT_DOT_COLUMNS])
{
    for (int32_t step = 0; step < steps; step++, rows += MCT_DOT_ROWS, columns += MCT_DOT_COLUMNS) {
        for (int32_t row = 0; row < MCT_DOT_ROWS; row++) {
            for (int32_t column = 0; column < MCT_DOT_COLUMNS; column++) {
                sums[row][column] = mct_smlad(rows[row], columns[column], sums[row][column]);
            }
        }
    }
}

#endif
#endif /* MCT_DSP */
#endif
