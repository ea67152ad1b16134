/* conv2d of a 1x1 kernel pixel by pixel, the DSP form of fully connected layers: four filters read as they are, by one pixel as int16. */
#include "kernels/common/exact.h"

#include "kernels/convolution/conv2d_pixel.h"

#include <stddef.h>
#include <string.h>

#include "mcutrain/forward.h"
#include "kernels/common/requantize.h"
#include "kernels/common/window.h"
#include "kernels/convolution/widen_s8.h"

#if MCT_DSP

enum { MCT_FILTERS = 4, MCT_PIXEL_SUMS = 16 /* finished at a time */ };

/* Four filters, or two. Offsets of members are known to assembly. */
typedef struct {
    const int32_t *bias; /* what sums start from */
    int32_t *sums;       /* the result */
    int32_t stride;      /* bytes from filter to filter */
    const int8_t *end;   /* of the first filter's words of four taps, at least one */
} mct_dot_task;

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

_Static_assert(offsetof(mct_dot_task, sums) == 4 && offsetof(mct_dot_task, stride) == 8 && offsetof(mct_dot_task, end) == 12,
               "the assembly below knows these offsets");

/* Words of two filters, in r9 and r10. r11: taps 0 and 2 of the pixel, r12: 1 and 3. On the M7 each SXTB16 issues with the SMLAD behind
 * it, which is not its own. */
/* clang-format off */
#define MCT_DOT_TWO(sum_0, sum_1)                                                                                                          \
    "sxtb16 lr, r9\n\t"                                                                                                                    \
    "sxtb16 r9, r9, ror #8\n\t"                                                                                                            \
    "smlad " sum_0 ", lr, r11, " sum_0 "\n\t"                                                                                              \
    "sxtb16 lr, r10\n\t"                                                                                                                   \
    "smlad " sum_0 ", r9, r12, " sum_0 "\n\t"                                                                                              \
    "sxtb16 r10, r10, ror #8\n\t"                                                                                                          \
    "smlad " sum_1 ", lr, r11, " sum_1 "\n\t"                                                                                              \
    "smlad " sum_1 ", r10, r12, " sum_1 "\n\t"
/* The first filter's load stands last, and moves on. */
#define MCT_DOT_2X1                                                                                                                        \
    "ldr r10, [r1, r2]\n\t"                                                                                                                \
    "ldr r9, [r1], #4\n\t"                                                                                                                 \
    "ldr r12, [r0, #4]\n\t"                                                                                                                \
    "ldr r11, [r0], #8\n\t"                                                                                                                \
    MCT_DOT_TWO("r5", "r6")
#define MCT_DOT_4X1                                                                                                                        \
    "ldr r9, [r1, r2]\n\t"                                                                                                                 \
    "ldr r10, [r1, r2, lsl #1]\n\t"                                                                                                        \
    "ldr r12, [r0, #4]\n\t"                                                                                                                \
    "ldr r11, [r0], #8\n\t"                                                                                                                \
    MCT_DOT_TWO("r6", "r7")                                                                                                                \
    "ldr r10, [r1, r3]\n\t"                                                                                                                \
    "ldr r9, [r1], #4\n\t"                                                                                                                 \
    MCT_DOT_TWO("r5", "r8")
/* A round of two words; an odd number of them begins with half a round. */
#define MCT_DOT_PIXEL(word, sums)                                                                                                          \
        "push {r2, r4-r11, lr}\n\t"                                                                                                        \
        "ldr r3, [r2]\n\t"                                                                                                                 \
        "ldr r4, [r2, #12]\n\t"                                                                                                            \
        "ldr r2, [r2, #8]\n\t"                                                                                                             \
        "ldm r3, {" sums "}\n\t"                                                                                                           \
        "add r3, r2, r2, lsl #1\n\t"                                                                                                       \
        "sub r9, r4, r1\n\t"                                                                                                               \
        "lsls r9, #29\n\t"                                                                                                                 \
        "bmi 2f\n"                                                                                                                         \
    "1:\n\t"                                                                                                                               \
        word                                                                                                                               \
    "2:\n\t"                                                                                                                               \
        word                                                                                                                               \
        "cmp r1, r4\n\t"                                                                                                                   \
        "bne 1b\n\t"                                                                                                                       \
        "pop {r2, r4}\n\t"                                                                                                                 \
        "ldr r2, [r2, #4]\n\t"                                                                                                             \
        "stm r2, {" sums "}\n\t"                                                                                                           \
        "pop {r5-r11, pc}\n"
/* clang-format on */

__attribute__((naked, noinline)) static void mct_dot_2x1(const int32_t *pixel __attribute__((unused)),
                                                         const int8_t *filter __attribute__((unused)),
                                                         const mct_dot_task *task __attribute__((unused)))
{
    __asm__ volatile(MCT_DOT_PIXEL(MCT_DOT_2X1, "r5, r6"));
}

__attribute__((naked, noinline)) static void mct_dot_4x1(const int32_t *pixel __attribute__((unused)),
                                                         const int8_t *filter __attribute__((unused)),
                                                         const mct_dot_task *task __attribute__((unused)))
{
    __asm__ volatile(MCT_DOT_PIXEL(MCT_DOT_4X1, "r5-r8"));
}

#else

static inline void mct_dot_pixel(const int32_t *pixel, const int8_t *filter, const mct_dot_task *task, int32_t filters)
{
    memcpy(task->sums, task->bias, (size_t)filters * sizeof *task->sums);
    for (; filter != task->end; filter += 4, pixel += 2) {
        for (int32_t i = 0; i < filters; i++) {
            const int32_t word = mct_load_word(filter + i * task->stride);
            const int32_t sum = mct_smlad(mct_sxtb16(word), pixel[0], task->sums[i]);

            task->sums[i] = mct_smlad(mct_sxtb16_ror8(word), pixel[1], sum);
        }
    }
}

static inline void mct_dot_2x1(const int32_t *pixel, const int8_t *filter, const mct_dot_task *task)
{
    mct_dot_pixel(pixel, filter, task, 2);
}

static inline void mct_dot_4x1(const int32_t *pixel, const int8_t *filter, const mct_dot_task *task)
{
    mct_dot_pixel(pixel, filter, task, 4);
}

#endif

/* Not inlined: what few sums need would cost all others their registers. */
static MCT_NOINLINE int32_t mct_requantise_long(int32_t sum, int32_t multiplier, int32_t shift, bool is_once)
{
    return is_once ? mct_requantise_once(sum, multiplier, shift) : mct_requantise(sum, multiplier, shift);
}

/* Rescale `count` sums of the channels from c on, in place. */
static MCT_NOINLINE void mct_rescale_sums(const mct_pixels *q, int32_t c, int32_t count, int32_t *sums)
{
    const int32_t *multiplier = q->multiplier + c, *shift = q->shift + c;
    const bool is_once = q->params->single_rounding != 0;
    const int32_t longest = is_once ? -2 : INT32_MIN; /* shift of the short way */

    for (const int32_t *const end = sums + count; sums != end; sums++) {
        const int32_t sum = *sums, factor = *multiplier++, exponent = *shift++;

        *sums =
            exponent <= longest ? mct_requantise_once_short(sum, factor, exponent) : mct_requantise_long(sum, factor, exponent, is_once);
    }
}

/* Store the outputs of `count` rescaled sums; `at`: index of the first of them in y and the mask. */
static MCT_NOINLINE void mct_store_sums(const mct_pixels *q, int32_t count, const int32_t *sums, uint32_t at)
{
    const mct_clamp clamp = mct_clamp_make(q->params->output_zero_point, q->params->clamp_min, q->params->clamp_max);
    int8_t *y = q->y + at;

    for (const int32_t *sum = sums, *const end = sums + count; sum != end; sum++) {
        mct_store_code(*sum, &clamp, y++);
    }
    for (int32_t i = 0; q->inside != NULL && i < count; i++, at++) {
        q->inside[at / 32] |= (uint32_t)(sums[i] >= clamp.low && sums[i] <= clamp.high) << (at % 32);
    }
}

/* sums of `count` filters, two or more, from channel c on. Where no whole block is left, the last begins earlier, and sums what is known
 * again. */
static inline void mct_sum_filters(const mct_pixels *q, int32_t c, int32_t count, int32_t taps, int32_t *sums)
{
    const int8_t *filter = q->weights + (size_t)c * (size_t)taps;
    mct_dot_task task = {q->bias + c, sums, taps, filter + (taps - taps % 4)};

    for (int32_t left = count; left > 0;) {
        const int32_t filters = left > 2 && count >= MCT_FILTERS ? MCT_FILTERS : 2;

        if (left < filters) {
            const int32_t back = filters - left;

            filter -= back * taps;
            task.end -= back * taps;
            task.bias -= back;
            task.sums -= back;
        }
        if (filters == 2) {
            mct_dot_2x1(q->words, filter, &task);
        } else {
            mct_dot_4x1(q->words, filter, &task);
        }
        filter += filters * taps;
        task.end += filters * taps;
        task.bias += filters;
        task.sums += filters;
        left -= filters;
    }
}

/* sums += the taps behind the words, less than four, of `count` filters from c on. */
static MCT_NOINLINE void mct_sum_tails(const mct_pixels *q, int32_t c, int32_t count, int32_t taps, int32_t *sums)
{
    const int32_t tail = taps % 4, *const pixel = q->words + (taps - tail) / 2;
    const int8_t *filter = q->weights + (size_t)c * (size_t)taps + (taps - tail);

    for (int32_t i = 0; i < count; i++, filter += taps) {
        const int32_t word = mct_load_tail_s8(filter, tail);

        sums[i] = mct_smlad(mct_sxtb16_ror8(word), pixel[1], mct_smlad(mct_sxtb16(word), pixel[0], sums[i]));
    }
}

/* All outputs of the pixel x; `at`: index of the first of them in y and the mask. */
static inline void mct_convolve_pixel(const mct_pixels *q, const int8_t *x, uint32_t at)
{
    const mct_conv2d_s8_params *const params = q->params;
    const int32_t taps = params->window.in_channels, channels = params->window.out_channels, tail = taps % 4;
    const int32_t offsets = mct_both(-params->input_zero_point);
    int32_t *const behind = mct_widen_s8(x, taps >> 2, offsets, 1, q->words);

    if (tail != 0) {
        const int32_t word = mct_load_tail_s8(x + (taps - tail), tail);

        behind[0] = mct_sxtab16(offsets, word);
        behind[1] = mct_sxtab16_ror8(offsets, word);
    }
    for (int32_t c = 0, count; c < channels; c += count) {
        const int32_t left = channels - c;
        int32_t sums[MCT_PIXEL_SUMS];

        count = left <= MCT_PIXEL_SUMS ? left : MCT_PIXEL_SUMS - (left == MCT_PIXEL_SUMS + 1); /* none is left alone */
        if (taps >= 4) {
            mct_sum_filters(q, c, count, taps, sums);
        } else {
            memcpy(sums, q->bias + c, (size_t)count * sizeof *sums);
        }
        if (tail != 0) {
            mct_sum_tails(q, c, count, taps, sums);
        }
        mct_rescale_sums(q, c, count, sums);
        mct_store_sums(q, count, sums, at + (uint32_t)c);
    }
}

void mct_conv2d_pixels(const mct_pixels *q, const int8_t *x)
{
    const mct_window *w = &q->params->window;

    uint32_t at = 0;

    for (int32_t row = 0; row < w->out_height; row++) {
        for (int32_t column = 0; column < w->out_width; column++, at += (uint32_t)w->out_channels) {
            const int32_t pixel = row * w->stride_height * w->in_width + column * w->stride_width;

            mct_convolve_pixel(q, x + (size_t)pixel * (size_t)w->in_channels, at);
        }
    }
}

#endif
