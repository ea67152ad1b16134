/* conv2d by quads of pixels, the DSP form of most layers: gather many windows as int16, then for each two filters, widened to int16 once,
 * all quads of these.
 *
 * Words of two int16 hold taps in the order in which SXTB16 unpacks a word of int8: of every four, 0 and 2, then 1 and 3. */
#include "kernels/common/exact.h"

#include "kernels/convolution/conv2d_quads.h"

#include <stddef.h>

#include "mcutrain/forward.h"
#include "kernels/common/requantize.h"
#include "kernels/convolution/dot_2x4.h"
#include "kernels/convolution/gather_window.h"
#include "kernels/convolution/widen_s8.h"

#if MCT_DSP

/* Two channels over quads of gathered pixels that follow each other, from operands as int16 to stored codes. Offsets of members are known
 * to assembly. */
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

enum { MCT_PAIRS_OF_A_BYTE = 4 }; /* of mask */

typedef struct {
    const mct_conv2d_s8_params *params;
    const int8_t *x, *weights;
    const int32_t *bias, *multiplier, *shift;
    int8_t *y;
    uint32_t *inside;
    int32_t offsets;     /* minus the zero point, twice */
    int32_t taps, steps; /* of a filter; of a gathered window */
    int32_t run, pitch;  /* bytes of a window's row, and of the image's */
    int8_t *bytes;       /* room for a window of int8, and three more: pixels that are not whole words are put together there */
    int32_t *columns, *rows, *flags;
} mct_quads;

/* Widen a filter into one of the rows. Behind the last filter nothing may be read, so a tail is read by bytes. */
static inline void mct_widen_filter(const int8_t *filter, int32_t taps, int32_t *row)
{
    const int32_t tail = taps & 3;
    int32_t *const behind = mct_widen_s8(filter, taps >> 2, 0, MCT_PAIR, row);

    if (tail != 0) {
        const int32_t word = mct_load_tail_s8(filter + (taps - tail), tail);

        behind[0] = mct_sxtb16(word);
        behind[MCT_PAIR] = mct_sxtb16_ror8(word);
    }
}

/* Copy rows of `words` words, `pitch` bytes apart, to where they are `run` bytes apart: what is too much, the next row replaces. */
static inline void mct_copy_rows(const int8_t *source, int32_t pitch, int32_t rows, int32_t words, int32_t run, int8_t *target)
{
    for (int32_t k = 0; k < rows; k++, source += pitch, target += run) {
        int32_t i = 0;

        for (; i + 3 <= words; i += 3) { /* three pixels of three channels in one go */
            const int32_t a = mct_load_word(source + 4 * i), b = mct_load_word(source + 4 * i + 4), c = mct_load_word(source + 4 * i + 8);

            MCT_LOAD_FENCE();
            mct_store_word(target + 4 * i, a);
            mct_store_word(target + 4 * i + 4, b);
            mct_store_word(target + 4 * i + 8, c);
        }
        for (; i < words; i++) {
            mct_store_word(target + 4 * i, mct_load_word(source + 4 * i));
        }
    }
}

/* Gather a window that lies inside the image into one column. */
static MCT_NOINLINE void mct_gather_inside(const mct_quads *q, const int8_t *source, int32_t *column)
{
    const mct_window *w = &q->params->window;
    const int32_t run = q->run, pitch = q->pitch;

    if (run % 4 != 0) {
        mct_copy_rows(source, pitch, w->kernel_height, (run + 3) / 4, run, q->bytes);
        mct_widen_s8(q->bytes, q->steps >> 1, q->offsets, MCT_QUAD, column);
        return;
    }
    for (int32_t k = 0; k < w->kernel_height; k++, source += pitch) {
        column = mct_widen_s8(source, run >> 2, q->offsets, MCT_QUAD, column);
    }
}

/* Gather a window of which a part is outside into one column. */
static MCT_NOINLINE void mct_gather_border(const mct_quads *q, int32_t row, int32_t column, int32_t *target)
{
    mct_gather_window(q->params, q->x, row, column, q->bytes, MCT_QUAD, target);
}

/* Gather a quad of windows from an output pixel on. */
static MCT_NOINLINE void mct_gather_quad(const mct_quads *q, int32_t pixel, int32_t *target)
{
    const mct_window *w = &q->params->window;
    const int32_t width = w->out_width, stride = w->stride_width, channels = w->in_channels;
    const int32_t last_top = w->in_height - w->kernel_height, last_left = w->in_width - w->kernel_width;
    /* A window's last row may be copied in words up to here. */
    const int32_t last_source = w->in_height * q->pitch - (w->kernel_height - 1) * q->pitch - (q->run + 3) / 4 * 4;
    int32_t row = pixel / width, column = pixel - row * width;

    for (int32_t i = 0; i < MCT_QUAD; i++, target++) {
        const int32_t top = row * w->stride_height - w->pad_top, left = column * stride - w->pad_left;
        const int32_t source = top * q->pitch + left * channels;

        if (top >= 0 && left >= 0 && top <= last_top && left <= last_left && source <= last_source) {
            mct_gather_inside(q, q->x + source, target);
        } else {
            mct_gather_border(q, row, column, target);
        }
        if (++column == width) {
            column = 0;
            row++;
        }
    }
}

/* The first pixel of a quad: the last quad of an image that has no whole number of them begins earlier, and repeats some of the one
 * before. */
static inline int32_t mct_quad_pixel(const mct_window *w, int32_t pixel)
{
    const int32_t last = w->out_height * w->out_width - MCT_QUAD;

    return pixel < last ? pixel : last;
}

/* Write the collected mask of eight channels, whole bytes of it: these lie in memory in the order of a word's. */
static inline void mct_write_mask_bytes(const mct_quads *q, int32_t pixel, int32_t quads, int32_t channel)
{
    const mct_window *w = &q->params->window;
    const int32_t stride = w->out_channels / 8, *flags = q->flags;

    for (int32_t quad = 0; quad < quads; quad++, flags++) {
        const uint32_t low = (uint32_t)flags[0] | (uint32_t)flags[quads] << 2;
        const uint32_t word = low | (uint32_t)flags[2 * quads] << 4 | (uint32_t)flags[3 * quads] << 6;
        uint8_t *const byte = (uint8_t *)q->inside + mct_quad_pixel(w, pixel + quad * MCT_QUAD) * stride + channel / 8;

        byte[0] = (uint8_t)word;
        byte[stride] = (uint8_t)(word >> 8);
        byte[2 * stride] = (uint8_t)(word >> 16);
        byte[3 * stride] = (uint8_t)(word >> 24);
    }
}

/* Write the collected mask of up to four pairs of channels, from `channel` on, for the quads from `pixel` on. */
static MCT_NOINLINE void mct_write_mask(const mct_quads *q, int32_t pixel, int32_t quads, int32_t channel, int32_t pairs)
{
    const mct_window *w = &q->params->window;

    if (w->out_channels % 8 == 0) {
        mct_write_mask_bytes(q, pixel, quads, channel);
        return;
    }
    for (int32_t quad = 0; quad < quads; quad++) {
        uint32_t word = 0;
        for (int32_t pair = 0; pair < pairs; pair++) {
            word |= (uint32_t)q->flags[pair * quads + quad] << (MCT_PAIR * pair);
        }
        uint32_t i = (uint32_t)mct_quad_pixel(w, pixel + quad * MCT_QUAD) * (uint32_t)w->out_channels + (uint32_t)channel;
        for (int32_t p = 0; p < MCT_QUAD; p++, i += (uint32_t)w->out_channels, word >>= 8) {
            const uint32_t bits = word & 0xFFu, at = i % 32;

            q->inside[i / 32] |= bits << at;
            if (at > 24 && bits >> (32 - at) != 0) {
                q->inside[i / 32 + 1] |= bits >> (32 - at);
            }
        }
    }
}

/* Two channels from `channel` on, of the gathered quads from `pixel` on. Task holds what all channels share. */
static void mct_convolve_pair(const mct_quads *q, mct_convolve_2x4_task *task, int32_t pixel, int32_t quads, int32_t channel)
{
    const mct_window *w = &q->params->window;
    const int8_t *const filter = q->weights + (size_t)channel * (size_t)q->taps;
    const int32_t last = mct_quad_pixel(w, pixel + (quads - 1) * MCT_QUAD);
    const int32_t in_line = last == pixel + (quads - 1) * MCT_QUAD ? quads : quads - 1;
    const int32_t quad_words = q->steps * MCT_QUAD;
    mct_convolve_2x4_task *const t = task;

    for (int32_t i = 0; i < MCT_PAIR; i++) {
        const mct_prepared_scale scale = mct_prepare_scale(q->multiplier[channel + i], q->shift[channel + i]);

        t->bias[i] = q->bias[channel + i];
        t->multiplier[i] = scale.multiplier;
        t->power[i] = scale.power;
        mct_widen_filter(filter + i * q->taps, q->taps, q->rows + i);
    }
    if (in_line > 0) {
        t->y = q->y + (size_t)pixel * (size_t)w->out_channels + (size_t)channel;
        t->columns = q->columns - 2 - t->skip * MCT_QUAD;
        t->end = q->columns - 2 + in_line * quad_words;
        mct_convolve_2x4(t);
    }
    if (in_line < quads) {
        t->y = q->y + (size_t)last * (size_t)w->out_channels + (size_t)channel;
        t->columns = q->columns - 2 - t->skip * MCT_QUAD + in_line * quad_words;
        t->end = q->columns - 2 + quads * quad_words;
        mct_convolve_2x4(t);
    }
}

/* Gather `count` windows from output pixel `pixel` on, and all their outputs. */
static void mct_convolve_quads(const mct_quads *q, int32_t pixel, int32_t count)
{
    const mct_conv2d_s8_params *const p = q->params;
    const int32_t channels = p->window.out_channels, quads = (count + MCT_QUAD - 1) / MCT_QUAD;
    const int32_t skip = mct_dot_skip(q->steps);
    mct_convolve_2x4_task task = {
        .rows = q->rows - 2 - skip * MCT_PAIR,
        .skip = skip,
        .zero_point = p->output_zero_point,
        .channels = channels,
        .is_clamped = p->clamp_min > INT8_MIN || p->clamp_max < INT8_MAX,
        .low = q->inside == NULL ? mct_each_byte(p->clamp_min) : mct_both(p->clamp_min),
        .high = q->inside == NULL ? mct_each_byte(p->clamp_max) : mct_both(p->clamp_max),
        .skip_bytes = skip * MCT_QUAD * (int32_t)sizeof(int32_t),
        .row_end = q->rows - 2 + q->steps * MCT_PAIR,
    };

    for (int32_t quad = 0; quad < quads; quad++) {
        mct_gather_quad(q, mct_quad_pixel(&p->window, pixel + quad * MCT_QUAD), q->columns + quad * q->steps * MCT_QUAD);
    }
    for (int32_t channel = 0, pairs = 0; channel < channels; channel += MCT_PAIR) {
        /* A last single channel is computed together with the one before, again. */
        const bool is_single = channel + 1 == channels;

        if (is_single && pairs > 0) {
            mct_write_mask(q, pixel, quads, channel - pairs * MCT_PAIR, pairs);
            pairs = 0;
        }
        task.inside = q->inside == NULL ? NULL : q->flags + pairs * quads;
        mct_convolve_pair(q, &task, pixel, quads, is_single ? channel - 1 : channel);
        if (q->inside != NULL && (++pairs == MCT_PAIRS_OF_A_BYTE || channel + MCT_PAIR >= channels)) {
            mct_write_mask(q, pixel, quads, (is_single ? channel - 1 : channel) - (pairs - 1) * MCT_PAIR, pairs);
            pairs = 0;
        }
    }
}

void mct_conv2d_quads(const mct_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                      const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside)
{
    const mct_window *w = &params->window;
    const int32_t pixels = w->out_height * w->out_width, gathered = mct_quads_pixels(w), taps = mct_gathered_taps(w);
    const int32_t steps = taps / 2;
    int32_t *const columns = scratch, *const rows = columns + gathered * steps, *const flags = rows + MCT_PAIR * steps;
    const mct_quads q = {
        .params = params,
        .x = x,
        .weights = weights,
        .bias = bias,
        .multiplier = multiplier,
        .shift = shift,
        .y = y,
        .inside = inside,
        .offsets = mct_both(-params->input_zero_point),
        .taps = mct_window_taps(w),
        .steps = steps,
        .run = w->kernel_width * w->in_channels,
        .pitch = w->in_width * w->in_channels,
        .bytes = (int8_t *)rows, /* which are not widened yet */
        .columns = columns,
        .rows = rows,
        .flags = flags,
    };

    for (int32_t pixel = 0; pixel < pixels; pixel += gathered) {
        mct_convolve_quads(&q, pixel, pixels - pixel < gathered ? pixels - pixel : gathered);
    }
}

#endif
