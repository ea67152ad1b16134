/* The DSP form of convolutions: two channels over quads of gathered pixels, from operands as int16 to stored codes.
 *
 * Words of two int16 hold taps in the order in which SXTB16 unpacks a word of int8: of every four, 0 and 2, then 1 and 3. */
#ifndef MCT_KERNELS_CONVOLVE_2X4_H
#define MCT_KERNELS_CONVOLVE_2X4_H

#include <stddef.h>

#include "dot_2x4.h"
#include "requantize.h"

/* Two channels, and quads of pixels that follow each other. Offsets of members are known to assembly. */
typedef struct {
    const int32_t *rows;    /* both channels' weights (dot_2x4.h); less 2 words and those of the skipped steps */
    int32_t skip;           /* mct_dot_skip of a quad's steps */
    int32_t bias[2];        /* what sums start from */
    int32_t multiplier[2];  /* mct_prepared_scale */
    int32_t power[2];       /* mct_prepared_scale */
    int32_t zero_point;     /* of the output */
    int8_t *y;              /* the first pixel's two codes; moves on */
    int32_t channels;       /* bytes from pixel to pixel */
    int32_t is_clamped;     /* low and high are not all of int8 */
    int32_t low, high;      /* of the clamp: four bytes; with a mask two int16 */
    int32_t *inside;        /* clip mask: a word for each quad, byte p: bits of pixel p's channels; moves on; or NULL */
    const int32_t *columns; /* quads of gathered pixels (dot_2x4.h); less 2 words and those of the skipped steps */
    const int32_t *end;     /* of the quads, less 2 words */
    int32_t skip_bytes;     /* of columns: 16 * skip */
    const int32_t *row_end; /* of both rows, less 2 words */
} mct_convolve_2x4_task;

#if MCT_DSP

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

_Static_assert(offsetof(mct_convolve_2x4_task, bias) == 8 && offsetof(mct_convolve_2x4_task, multiplier) == 16 &&
                   offsetof(mct_convolve_2x4_task, power) == 24 && offsetof(mct_convolve_2x4_task, zero_point) == 32 &&
                   offsetof(mct_convolve_2x4_task, y) == 36 && offsetof(mct_convolve_2x4_task, is_clamped) == 44 &&
                   offsetof(mct_convolve_2x4_task, low) == 48 && offsetof(mct_convolve_2x4_task, inside) == 56 &&
                   offsetof(mct_convolve_2x4_task, columns) == 60 && offsetof(mct_convolve_2x4_task, row_end) == 72,
               "the assembly below knows these offsets");

/* mct_requantise_prepared of eight sums and their saturation, in an order in which each second instruction issues with the one before it.
 * r1, r2: multipliers; r3, r12: powers; lr: zero point. */
#define MCT_SCALE(sum, multiplier) "smmlar " sum ", " sum ", " multiplier ", " sum "\n\t"
#define MCT_AWAY(sum) "add " sum ", " sum ", " sum ", asr #31\n\t"
#define MCT_SHIFT(sum, power) "smmlar " sum ", " sum ", " power ", lr\n\t"
#define MCT_SATURATE(sum, bits) "ssat " sum ", #" bits ", " sum "\n\t"
/* clang-format off */
#define MCT_SCALE_4(a, b, c, d, multiplier)                                                                                                \
    MCT_SCALE(a, multiplier)                                                                                                               \
    MCT_SCALE(b, multiplier)                                                                                                               \
    MCT_SCALE(c, multiplier)                                                                                                               \
    MCT_SCALE(d, multiplier)
#define MCT_SCALE_AWAY(sum, before) MCT_SCALE(sum, "r2") MCT_AWAY(before)
#define MCT_SHIFT_AWAY(sum, behind) MCT_SHIFT(sum, "r3") MCT_AWAY(behind)
#define MCT_SATURATE_SHIFT(sum, behind, bits) MCT_SATURATE(sum, bits) MCT_SHIFT(behind, "r12")
#define MCT_SCALE_6 MCT_SCALE_4("r4", "r5", "r6", "r7", "r1") MCT_SCALE_AWAY("r8", "r4") MCT_SCALE_AWAY("r9", "r5")
#define MCT_SCALE_8 MCT_SCALE_6 MCT_SCALE_AWAY("r10", "r6") MCT_SCALE_AWAY("r11", "r7")
#define MCT_SHIFT_4 MCT_SHIFT_AWAY("r4", "r8") MCT_SHIFT_AWAY("r5", "r9") MCT_SHIFT_AWAY("r6", "r10") MCT_SHIFT_AWAY("r7", "r11")
#define MCT_SHIFT_6(bits) MCT_SHIFT_4 MCT_SATURATE_SHIFT("r4", "r8", bits) MCT_SATURATE_SHIFT("r5", "r9", bits)
#define MCT_SHIFT_8(bits) MCT_SHIFT_6(bits) MCT_SATURATE_SHIFT("r6", "r10", bits) MCT_SATURATE_SHIFT("r7", "r11", bits)
#define MCT_SATURATE_4(bits) MCT_SATURATE("r8", bits) MCT_SATURATE("r9", bits) MCT_SATURATE("r10", bits) MCT_SATURATE("r11", bits)
#define MCT_FINISH_8(bits) MCT_SCALE_8 MCT_SHIFT_8(bits) MCT_SATURATE_4(bits)

/* Two pixels, both channels of each as int16 of one word: MCT_JOIN; saturated or clamped between r2 and r3 into code_0 and code_1; and then 1
 * and 2 in the halves of value_0 and value_1 where that changed nothing. r1: 0, lr: 1 and 2. */
#define MCT_JOIN(value_0, code_0, value_1, code_1)                                                                                         \
    "pkhbt " value_0 ", " value_0 ", " code_0 ", lsl #16\n\t"                                                                              \
    "pkhbt " value_1 ", " value_1 ", " code_1 ", lsl #16\n\t"
#define MCT_SATURATE_PAIRS(value_0, code_0, value_1, code_1)                                                                               \
    MCT_JOIN(value_0, code_0, value_1, code_1)                                                                                             \
    "ssat16 " code_0 ", #8, " value_0 "\n\t"                                                                                               \
    "ssat16 " code_1 ", #8, " value_1 "\n\t"
#define MCT_CLAMP_PAIR(value, code)                                                                                                        \
    "ssub16 r12, " value ", r3\n\t"                                                                                                        \
    "sel " code ", r3, " value "\n\t"                                                                                                      \
    "ssub16 r12, " code ", r2\n\t"                                                                                                         \
    "sel " code ", " code ", r2\n\t"
#define MCT_CLAMP_PAIRS(value_0, code_0, value_1, code_1)                                                                                  \
    MCT_JOIN(value_0, code_0, value_1, code_1)                                                                                             \
    MCT_CLAMP_PAIR(value_0, code_0)                                                                                                        \
    MCT_CLAMP_PAIR(value_1, code_1)
#define MCT_FLAG_PAIRS(value_0, code_0, value_1, code_1)                                                                                   \
    "eor " value_0 ", " value_0 ", " code_0 "\n\t"                                                                                         \
    "usub16 " value_0 ", r1, " value_0 "\n\t"                                                                                              \
    "eor " value_1 ", " value_1 ", " code_1 "\n\t"                                                                                         \
    "sel " value_0 ", lr, r1\n\t"                                                                                                          \
    "usub16 " value_1 ", r1, " value_1 "\n\t"                                                                                              \
    "sel " value_1 ", lr, r1\n\t"
/* The low bytes of both halves of code, in the low half of value. */
#define MCT_PACK_PAIR(value, code)                                                                                                         \
    "uxtb16 " code ", " code "\n\t"                                                                                                        \
    "orr " value ", " code ", " code ", lsr #8\n\t"
/* Four codes between r2 and r3. */
#define MCT_CLAMP_QUAD(codes)                                                                                                              \
    "ssub8 r12, " codes ", r3\n\t"                                                                                                         \
    "sel " codes ", r3, " codes "\n\t"                                                                                                     \
    "ssub8 r12, " codes ", r2\n\t"                                                                                                         \
    "sel " codes ", " codes ", r2\n\t"
/* clang-format on */

__attribute__((naked, noinline)) static void mct_convolve_2x4(mct_convolve_2x4_task *task __attribute__((unused)))
{
    /* clang-format off */
    __asm__ volatile(
            "push {r4-r11, lr}\n\t"
            "mov r3, r0\n\t"
            "ldr r0, [r3, #60]\n\t"
            "ldr r1, [r3, #72]\n\t"
            "sub sp, #12\n\t"
            "strd r3, r1, [sp]\n" /* the task, the end of the rows; then the end of a quad's columns */
        "1:\n\t"
            "ldr r1, [r3]\n\t"
            "ldr r2, [r3, #4]\n\t"
            "ldr r4, [r3, #8]\n\t"
            "ldr r8, [r3, #12]\n\t"
            "mov r5, r4\n\t"
            "mov r6, r4\n\t"
            "mov r7, r4\n\t"
            "mov r9, r8\n\t"
            "mov r10, r8\n\t"
            "mov r11, r8\n\t"
            MCT_DOT_2X4("4")
            "str r0, [sp, #8]\n\t"
            "ldr r0, [sp]\n\t"
            "ldr r1, [r0, #16]\n\t"
            "ldr r2, [r0, #20]\n\t"
            "ldr r3, [r0, #56]\n\t"
            "ldr r12, [r0, #28]\n\t"
            "ldr lr, [r0, #32]\n\t"
            "cmp r3, #0\n\t"
            "ldr r3, [r0, #24]\n\t"
            "bne 5f\n\t"
            MCT_FINISH_8("8")
            "ldr r12, [r0, #44]\n\t"
            "ldr r1, [r0, #36]\n\t"
            "ldr r2, [r0, #40]\n\t"
            "bfi r4, r8, #8, #8\n\t"
            "bfi r5, r9, #8, #8\n\t"
            "bfi r6, r10, #8, #8\n\t"
            "bfi r7, r11, #8, #8\n\t"
            "cmp r12, #0\n\t"
            "bne 4f\n"
        "2:\n\t"
            "add r3, r1, r2, lsl #1\n\t"
            "strh r4, [r1]\n\t"
            "strh r5, [r1, r2]\n\t"
            "add r1, r1, r2, lsl #2\n\t"
            "strh r6, [r3]\n\t"
            "strh r7, [r3, r2]\n\t"
            "str r1, [r0, #36]\n\t"
            "mov r3, r0\n\t"
            "ldr r0, [sp, #8]\n\t"
            "ldr r1, [r3, #64]\n\t"
            "ldr r2, [r3, #68]\n\t"
            "cmp r0, r1\n\t"
            "sub r0, r2\n\t"
            "bne 1b\n\t"
            "add sp, #12\n\t"
            "pop {r4-r11, pc}\n"
        "4:\n\t"
            "pkhbt r4, r4, r5, lsl #16\n\t"
            "pkhbt r6, r6, r7, lsl #16\n\t"
            "ldrd r2, r3, [r0, #48]\n\t"
            MCT_CLAMP_QUAD("r4")
            MCT_CLAMP_QUAD("r6")
            "ldr r2, [r0, #40]\n\t"
            "lsr r5, r4, #16\n\t"
            "lsr r7, r6, #16\n\t"
            "b 2b\n"
        "5:\n\t"
            MCT_FINISH_8("16")
            "ldr r12, [r0, #44]\n\t"
            "mov lr, #0x20002\n\t"
            "sub lr, #1\n\t"
            "mov r1, #0\n\t"
            "cmp r12, #0\n\t"
            "bne 7f\n\t"
            MCT_SATURATE_PAIRS("r4", "r8", "r5", "r9")
            MCT_FLAG_PAIRS("r4", "r8", "r5", "r9")
            MCT_SATURATE_PAIRS("r6", "r10", "r7", "r11")
            MCT_FLAG_PAIRS("r6", "r10", "r7", "r11")
        "6:\n\t"
            "ldr r1, [r0, #56]\n\t"
            "orr r4, r4, r5, lsl #8\n\t"
            "orr r6, r6, r7, lsl #8\n\t"
            "pkhbt r5, r4, r6, lsl #16\n\t"
            "pkhtb r7, r6, r4, asr #16\n\t"
            "orr r5, r7\n\t"
            "str r5, [r1], #4\n\t"
            "str r1, [r0, #56]\n\t"
            MCT_PACK_PAIR("r4", "r8")
            MCT_PACK_PAIR("r5", "r9")
            MCT_PACK_PAIR("r6", "r10")
            MCT_PACK_PAIR("r7", "r11")
            "ldr r1, [r0, #36]\n\t"
            "ldr r2, [r0, #40]\n\t"
            "b 2b\n"
        "7:\n\t"
            "ldrd r2, r3, [r0, #48]\n\t"
            MCT_CLAMP_PAIRS("r4", "r8", "r5", "r9")
            MCT_FLAG_PAIRS("r4", "r8", "r5", "r9")
            MCT_CLAMP_PAIRS("r6", "r10", "r7", "r11")
            MCT_FLAG_PAIRS("r6", "r10", "r7", "r11")
            "b 6b\n"
            MCT_DOT_2X4_ENTRIES);
    /* clang-format on */
}

#else

static inline void mct_convolve_2x4(mct_convolve_2x4_task *task)
{
    const int32_t skip = task->skip, steps = (int32_t)(task->row_end - task->rows) / MCT_DOT_ROWS - skip;
    const int32_t *const rows = task->rows + 2 + MCT_DOT_ROWS * skip;
    const int32_t *columns = task->columns + 2 + MCT_DOT_COLUMNS * skip;
    const mct_prepared_scale scale[2] = {{task->multiplier[0], task->power[0]}, {task->multiplier[1], task->power[1]}};
    const int32_t low = (int8_t)(uint8_t)task->low, high = (int8_t)(uint8_t)task->high;

    for (; columns != task->end + 2; columns += MCT_DOT_COLUMNS * steps, task->y += 4 * task->channels) {
        int32_t sums[2][4];
        uint32_t bits = 0;

        for (int32_t i = 0; i < 8; i++) {
            sums[i / 4][i % 4] = task->bias[i / 4];
        }
        mct_dot_2x4(columns, rows, steps, sums);
        for (int32_t i = 0; i < 8; i++) {
            const int32_t code = mct_requantise_prepared(sums[i / 4][i % 4], scale[i / 4], task->zero_point);
            const int32_t clamped = mct_clamp_s32(code, low, high);

            task->y[i % 4 * task->channels + i / 4] = (int8_t)clamped;
            bits |= (uint32_t)(clamped == code) << (8 * (i % 4) + i / 4);
        }
        if (task->inside != NULL) {
            *task->inside++ = (int32_t)bits;
        }
    }
}

#endif
#endif /* MCT_DSP */
#endif
